"""A submission: one POST to the provider, the jobs it is for, and what became of it.

The unit of money: a task id is known for all its jobs or for none. Every change is a new `Submission`, made
by `core.job.submission_table`. Times are trusted time in milliseconds since the epoch, but for `sealed_ms`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from service.contract.models import is_synchronous
from service.core.job.identity import JobRef, SubmissionKey


class SubmissionState(StrEnum):
    """Where a submission stands; docs/states.md draws the way between them."""

    WAITING = "waiting"
    """To be posted, not before `due_ms`; over where no job is left. In the journal only once it was tried."""
    INTENDED = "intended"
    """The intent is in the journal; the POST may be on the wire."""
    RUNNING = "running"
    """The provider has a task for it. It is over when no job is in it and its bill is known."""
    UNCERTAIN = "uncertain"
    """The POST's answer is lost, so there may be a task: it is looked for, from `due_ms` on."""


class Counters(NamedTuple):
    """What its jobs have been through: a successor goes on counting.

    `refusals` counts POSTs that were refused for a reason which the table bounds, `tasks_made` those that
    were accepted, `lost_calls` calls of a synchronous model whose answers were lost. What may still be tried
    depends on these, not on `submits`, which throttling drives up as well.
    """

    submits: int = 0
    refusals: int = 0
    tasks_made: int = 0
    lost_calls: int = 0


class Intent(NamedTuple):
    """When a POST may have gone out.

    `sealed_ms` is when the intent was made, by the service's time; `vendor_offset_ms` how far the
    vendor's clock was ahead of it then, None where that was not known. `files_digest` is of the POST's URLs
    (`core.job.file_matching.files_digest`), by which anybody can tell the task that it made.
    """

    sealed_ms: int
    vendor_offset_ms: int | None
    files: int
    files_digest: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One submission at one moment.

    `jobs` may be of several requests; no two have the same URL, percent escapes aside. `intent` is set from
    INTENDED on, and stays with a RUNNING one. `submitted_ms` is when its task was made, as far as is known.
    `is_followed`: no job waits for its task any
    more, but the bill is not known yet; without jobs and without this it is over. `is_billed` (its task is
    finished, or lost), `unfinished_ms` (when a poll last found it at work), `poll_attempts` and
    `unknown_since_ms` are not journalled.
    """

    key: SubmissionKey
    model: str
    jobs: tuple[JobRef, ...]
    created_ms: int
    state: SubmissionState = SubmissionState.WAITING
    due_ms: int = 0
    counters: Counters = Counters()
    intent: Intent | None = None
    task_id: str | None = None
    submitted_ms: int | None = None
    is_billed: bool = False
    is_followed: bool = False
    poll_attempts: int = 0
    unfinished_ms: int | None = None
    unknown_since_ms: int | None = None

    @property
    def made_ms(self) -> int:
        """When its task was made, as far as is known; else when it was."""
        sealed_ms = 0 if self.intent is None else self.intent.sealed_ms
        return max(self.created_ms, sealed_ms, self.submitted_ms or 0)

    @property
    def task_files(self) -> int:
        """How many files its POST holds."""
        return len(self.jobs) if self.intent is None else self.intent.files

    @property
    def is_synchronous(self) -> bool:
        """Whether its model answers the POST with the transcript."""
        return is_synchronous(self.model)
