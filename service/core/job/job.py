"""A job: the work for one audio file of one request, as immutable data.

Its submission holds what happens at the provider. A job only knows whether it waits for a submission, is in
one, is being collected, or ends. `core.job.job_table` makes a new `Job` for every change. Times are trusted
time in milliseconds since the epoch.
"""

from dataclasses import field, replace
from enum import StrEnum

from service.core.job.accepted_request import AcceptedRequest
from service.core.job.ending import AccountedUsage, Ending
from service.core.job.identity import JobKey, JobRef, SubmissionKey
from service.core.provider.answers import Bill, ProviderError
from service.frozen import dataclass


class JobState(StrEnum):
    """The states of a job; docs/states.md draws the transitions between them."""

    WAITING = "waiting"
    """Its submission waits to be posted."""
    SUBMITTED = "submitted"
    """Its submission is intended, running or uncertain."""
    COLLECTING = "collecting"
    """The task is finished and its result file is being fetched. Not journalled: a restore polls again."""
    FINISHING = "finishing"
    """The ending is decided; the outcome is being published."""
    DONE = "done"
    """The outcome is durable; only how the job ended is kept."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """The fetch of a job's result; not journalled.

    `held` is why the result waits for the operator.
    """

    attempts: int = 0
    url: str | None = None
    url_polls: int = 0
    """How often the task was polled for a new result URL."""
    held: ProviderError | None = None
    error: str = field(default="", compare=False)
    """Error message of the last attempt."""

    def tried(self, error: str = "") -> "FetchProgress":
        """After one more attempt; an empty `error` keeps the last one."""
        return replace(self, attempts=self.attempts + 1, error=error or self.error)


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """What the finished task, or the answer of a synchronous model, says of the job; not journalled."""

    completed_ms: int | None = None
    billed_seconds: int | None = None
    """The bill of the whole task."""
    provider_times: tuple[str | None, str | None, str | None] = (None, None, None)
    bill: Bill = Bill()


@dataclass(frozen=True, slots=True)
class Job:
    """The state of one job."""

    ref: JobRef
    request: AcceptedRequest
    """Shared by all jobs of the request."""
    submission: SubmissionKey
    """The submission that the job is in."""
    state: JobState = JobState.WAITING
    cancelled: bool = False
    """A cancel came while the POST may be in flight; journalled."""
    must_be_result: bool = False
    """A result may already be published, so no other outcome may be."""
    task_ids: tuple[str, ...] = ()
    """All tasks that were created for the job; the last is the current one."""
    submit_attempts: int = 0
    """Submits made for the job, as its outcome reports them."""
    submitted_ms: int | None = None
    """When its current task was submitted."""
    task_files: int = 0
    """Number of files in its task; with more than one, the job's share of the bill is an estimate."""
    poll_attempts: int = 0
    """Polls of the submissions that the job has left."""
    is_last_poll_asked: bool = False
    """Whether the deadline has passed and one last poll of the task is scheduled."""
    fetch: FetchProgress = FetchProgress()
    """Not journalled: a restore polls again. Shared while jobs wait: there may be a hundred thousand."""
    task_end: TaskEnd = TaskEnd()
    """What the finished task says; not journalled, and shared like `fetch`."""
    ending: Ending | None = None
    """How the job ended; set in FINISHING and DONE."""
    accounted: AccountedUsage | None = None
    """Its part in the request's summary, decided with its ending."""

    @property
    def key(self) -> JobKey:
        """The key by which users know the job."""
        return self.request.job_key(self.ref.file_index)

    @property
    def is_open(self) -> bool:
        """Whether the ending is still undecided."""
        return self.state not in (JobState.FINISHING, JobState.DONE)

    @property
    def file_url(self) -> str:
        """The URL of the job's file."""
        return self.request.url(self.ref.file_index)

    @property
    def task_id(self) -> str | None:
        """The last task that was created for the job."""
        return self.task_ids[-1] if self.task_ids else None
