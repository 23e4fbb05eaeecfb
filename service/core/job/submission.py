"""A submission: one POST to the provider, the jobs it is for, and what became of it.

It is the unit of billing: the task id is known for all its jobs or for none. Every change is a new
`Submission`, made by `core.job.submission_table`. Times are trusted time in milliseconds since the epoch.
"""

from enum import StrEnum
from typing import NamedTuple

from service.contract.models import is_synchronous
from service.core.job.identity import JobRef, SubmissionKey
from service.dataclasses import dataclass


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
    """Attempts made for the jobs; a successor continues the counts.

    `refusals` counts POSTs refused for a reason with a limit in the error table, `tasks_made` accepted POSTs,
    `lost_calls` calls of a synchronous model whose answers were lost. These bound further attempts;
    `submits` does not, since throttling raises it too.
    """

    submits: int = 0
    refusals: int = 0
    tasks_made: int = 0
    lost_calls: int = 0


class Intent(NamedTuple):
    """When a POST may have gone out.

    `sealed_ms` is when the intent was made, in trusted time. `vendor_offset_ms` is how far the vendor's clock
    was ahead of it then, None if unknown. `files_digest` covers the POST's URLs
    (`core.job.file_matching.files_digest`): any process can recognise the POST's task by it. It is empty once
    the task is known.
    """

    sealed_ms: int
    vendor_offset_ms: int | None
    files: int
    files_digest: str


@dataclass(frozen=True, slots=True)
class Submission:
    """The state of one submission.

    `jobs` may belong to several requests; no two have the same URL, percent escapes aside. `intent` is set
    from INTENDED on, and kept while RUNNING. `submitted_ms`: its task was not created earlier.
    `is_followed`: no job waits for the task any more, but its bill is not known yet; without jobs and without
    this the submission is over. `is_task_over`: the task finished, or no poll can tell any more.
    `unfinished_ms`: when the last poll that found the task unfinished was asked for. These two,
    `poll_attempts` and `unknown_since_ms` are not journalled.
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
    is_task_over: bool = False
    is_followed: bool = False
    poll_attempts: int = 0
    unfinished_ms: int | None = None
    unknown_since_ms: int | None = None

    @property
    def made_ms(self) -> int:
        """When its task was created, as far as is known, else when the submission was."""
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
