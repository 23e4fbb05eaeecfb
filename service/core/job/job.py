"""A job: the work for one audio file of one request, as immutable data.

What happens at the provider happens to its submission; a job knows whether it waits for one, is in one, is
being collected, or ends. Every change of a job is a new `Job` made by `core.job.job_table`. Times are trusted
time in milliseconds since the epoch.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from service.core.job.ending import AccountedUsage, Ending
from service.core.job.identity import JobKey, JobRef, SubmissionKey
from service.core.job.request import AcceptedRequest
from service.core.provider.answers import Bill, ProviderError


class JobState(StrEnum):
    """Where a job stands; docs/states.md draws the way between them."""

    WAITING = "waiting"
    """Its submission waits to be posted."""
    SUBMITTED = "submitted"
    """Its submission is intended, running or uncertain."""
    COLLECTING = "collecting"
    """The task is finished and its result file is being fetched. Not journalled: a restore polls again."""
    FINISHING = "finishing"
    """How it ends is decided; the outcome is on its way to its topic."""
    DONE = "done"
    """The outcome is durable; only how it ended is kept."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job at one moment.

    `submission` is the one that it is in. `cancelled`: a cancel came while the POST may be out; it is in the
    journal. `must_be_result`: a result of it may be out already, so nothing else may be published.
    `task_ids` are all tasks that were made for it. The fields from `fetch_attempts` to `bill` are not
    journalled: a restore polls again. `held` is why its result waits for the operator.
    """

    ref: JobRef
    request: AcceptedRequest
    submission: SubmissionKey
    state: JobState = JobState.WAITING
    cancelled: bool = False
    must_be_result: bool = False
    task_ids: tuple[str, ...] = ()
    submit_attempts: int = 0
    submitted_ms: int | None = None
    task_files: int = 0
    """How many files its task holds: with more than one, its share of the bill is an estimate."""
    poll_attempts: int = 0
    """Of the submissions that it has left."""
    fetch_attempts: int = 0
    url_polls: int = 0
    """How often its result's URL was asked for anew."""
    is_last_poll_asked: bool = False
    """Whether its deadline has passed and its task is to be polled once more."""
    completed_ms: int | None = None
    transcription_url: str | None = None
    held: ProviderError | None = None
    task_billed_seconds: int | None = None
    provider_times: tuple[str | None, str | None, str | None] = (None, None, None)
    bill: Bill = Bill()
    ending: Ending | None = None
    accounted: AccountedUsage | None = None
    fetch_error: str = field(default="", compare=False)
    """What the last fetch of its result met, in words; not journalled."""

    @property
    def key(self) -> JobKey:
        """How users name it."""
        return self.request.job_key(self.ref.file_index)

    @property
    def is_open(self) -> bool:
        """Whether how it ends is not decided yet."""
        return self.state not in (JobState.FINISHING, JobState.DONE)

    @property
    def file_url(self) -> str:
        """Its file's URL."""
        return self.request.url(self.ref.file_index)

    @property
    def task_id(self) -> str | None:
        """The last task that was made for it."""
        return self.task_ids[-1] if self.task_ids else None
