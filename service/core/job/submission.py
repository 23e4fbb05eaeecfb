"""A submission: one POST to the provider, the jobs it is for, and what became of it.

It is the unit of billing: the task id is known for all its jobs or for none. Every change is a new
`Submission`, made by `core.job.submission_table`. Times are trusted time in milliseconds since the epoch.
"""

from enum import StrEnum
from typing import NamedTuple

from service.contract.models import is_synchronous
from service.core.job.identity import JobRef, SubmissionKey
from service.frozen import dataclass


class SubmissionState(StrEnum):
    """The states of a submission; docs/states.md draws the transitions between them."""

    WAITING = "waiting"
    """To be posted from `due_ms` on; over if no job is left. In the journal only once it was tried."""
    INTENDED = "intended"
    """The intent is in the journal; the POST may be in flight."""
    RUNNING = "running"
    """The provider has a task for it. The submission is over when it has no jobs and its bill is known."""
    UNCERTAIN = "uncertain"
    """The POST's answer is lost, so there may be a task: reconciling starts at `due_ms`."""


UNANSWERED = (SubmissionState.INTENDED, SubmissionState.UNCERTAIN)
"""The states in which the provider may have a task that no journal names."""


class Counters(NamedTuple):
    """Attempts made for the jobs; a successor continues the counts."""

    submits: int = 0
    """All POSTs; bounds nothing, since throttling raises it too."""
    refusals: int = 0
    """POSTs refused for a reason with a limit in the error table."""
    tasks_made: int = 0
    """Accepted POSTs."""
    lost_calls: int = 0
    """Calls of a synchronous model whose answers were lost."""


class Intent(NamedTuple):
    """When a POST may have gone out, and for which files."""

    intended_ms: int
    """When the intent was made, in trusted time."""
    vendor_offset_ms: int | None
    """How far the vendor's clock was ahead of trusted time then; None if unknown."""
    files: int
    """How many files the POST holds."""
    files_digest: str
    """Digest of the POST's URLs (`core.job.file_matching`): any process can recognise the task by it.

    Empty once the task is known.
    """


@dataclass(frozen=True, slots=True)
class Submission:
    """The state of one submission."""

    key: SubmissionKey
    model: str
    jobs: tuple[JobRef, ...]
    """The jobs of its files, perhaps of several requests; no two have the same URL, percent escapes aside."""
    created_ms: int
    state: SubmissionState = SubmissionState.WAITING
    due_ms: int = 0
    """When its next step may run."""
    counters: Counters = Counters()
    """Attempts so far; a successor takes them over."""
    intent: Intent | None = None
    """Set from INTENDED on, and kept while RUNNING."""
    task_id: str | None = None
    submitted_ms: int | None = None
    """Its task was not created earlier."""
    is_task_over: bool = False
    """The task finished, or no poll can tell any more. Not journalled."""
    is_followed: bool = False
    """No job waits for the task, but its bill is not known yet; without jobs and this it is over."""
    poll_attempts: int = 0
    """Polls of its task so far. Not journalled."""
    unfinished_ms: int | None = None
    """When the last poll that found the task unfinished was asked for. Not journalled."""
    unknown_since_ms: int | None = None
    """When a poll first found the task unknown. Not journalled."""

    @property
    def made_ms(self) -> int:
        """When its task was created, as far as is known, else when the submission was."""
        intended_ms = 0 if self.intent is None else self.intent.intended_ms
        return max(self.created_ms, intended_ms, self.submitted_ms or 0)

    @property
    def task_files(self) -> int:
        """How many files its POST holds."""
        return len(self.jobs) if self.intent is None else self.intent.files

    @property
    def is_synchronous(self) -> bool:
        """Whether its model answers the POST with the transcript."""
        return is_synchronous(self.model)
