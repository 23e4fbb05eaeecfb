"""What a verdict on a trouble is made of; `core.verdicts` holds the table of them."""

from dataclasses import dataclass
from enum import StrEnum

from service.errors import FailureCode


class Action(StrEnum):
    """What the job does next."""

    RETRY = "retry"
    """The same call again, later."""
    RESUBMIT = "resubmit"
    """A new submit, later: the old task is over and gave nothing."""
    LOOK = "look"
    """Another look at the task, which may give a fresh URL for its result."""
    HOLD = "hold"
    """Stop submitting for a reason that others meet as well, and keep the job; a look is repeated."""
    FAIL = "fail"
    """End the job with a failure of the verdict's code."""
    EMPTY = "empty"
    """End the job with an empty transcript: there was no speech."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one trouble.

    `code` is the failure's code if the job ends here or when `max_attempts` is used up. `max_attempts`
    counts all attempts of the call, the first included (for RESUBMIT all submits of the job, for LOOK the
    looks for a fresh URL); None lasts until the deadline. `retryable` says whether the same work
    may succeed when it is replayed.
    """

    action: Action
    code: FailureCode
    retryable: bool = False
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The verdicts on one code where it answers a submit, and where it stands on a file or its task."""

    on_submit: Verdict
    on_file: Verdict
