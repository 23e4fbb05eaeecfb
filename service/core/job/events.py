"""Events of submissions and jobs, and the steps that transitions ask for.

An event is a fact: what happened, or what was found. A step is a request to the pipeline, which carries it
out only after the group that came with the step is durable.
"""

from collections.abc import Mapping

from service.contract.transcript import Transcript
from service.core.job.identity import JobRef, SubmissionKey
from service.core.provider.answers import Bill, ProviderError, TaskView
from service.core.provider.error_table import ErrorPolicy
from service.frozen import dataclass

# Events of a submission.


@dataclass(frozen=True, slots=True)
class Intended:
    """The submit stage took the submission; it sends the POST only after this is durable.

    `intended_ms` is trusted time, and `vendor_offset_ms` is how far the vendor's clock is ahead of it.
    `max_files`, if known, is how many files a POST of the model may hold; the rest are divided off. The POST
    takes along the jobs of `companions`, which would send the same but for their files, as far as they fit.
    """

    intended_ms: int
    vendor_offset_ms: int | None = None
    max_files: int | None = None
    companions: tuple[SubmissionKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Posted:
    """The provider accepted the POST and created a task for its files."""

    task_id: str


@dataclass(frozen=True, slots=True)
class SubmitAnswered:
    """A synchronous model answered the POST with the transcript; `bill` is what it reports as billed."""

    transcript: Transcript
    bill: Bill = Bill()


@dataclass(frozen=True, slots=True)
class SubmitRefused:
    """The provider answered the POST with an error, or without a transcript: there is no task.

    `is_circuit_open`: other submits failed alike, so the error says nothing about these jobs.
    """

    provider_error: ProviderError
    is_circuit_open: bool = False


@dataclass(frozen=True, slots=True)
class SubmitLost:
    """The POST got no usable answer: there may be a task."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class SubmitNotSent:
    """The POST was not sent: no connection, a job ended meanwhile, or the intent became too old."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class HotwordListRefused:
    """The hotword list that the jobs need before their submit cannot be obtained."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class Adopted:
    """The task that an uncertain POST created was found."""

    task_id: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """An uncertain POST created no task: every candidate belongs to another submission."""


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """The provider's list of tasks no longer reaches back to the uncertain POST."""


@dataclass(frozen=True, slots=True)
class Polled:
    """A poll of the submission's task was answered.

    `asked_ms` is trusted time: the query left no earlier. The process may have slept before it read the
    answer, so the answer tells nothing of later times. `is_last`: a deadline caused the poll. `is_foreign`:
    the status is UNKNOWN, as for all tasks polled lately, so the API key may belong to another account.
    """

    task: TaskView
    asked_ms: int
    is_last: bool = False
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class PollFailed:
    """A poll got no answer."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class JobsLeft:
    """Some jobs of the submission ended or moved to another one.

    `is_unwanted`: one left because of a cancel or its deadline.
    """

    is_unwanted: bool = False


@dataclass(frozen=True, slots=True)
class SubmissionRestored:
    """A new owner restored the submission from the journal."""


PostAnswer = Posted | SubmitAnswered | SubmitRefused | SubmitLost | SubmitNotSent
PassAnswer = Adopted | NotFound | OutOfReach
PollAnswer = Polled | PollFailed
SubmissionEvent = (
    Intended | HotwordListRefused | PostAnswer | PassAnswer | PollAnswer | JobsLeft | SubmissionRestored
)
SUBMISSION_EVENTS: tuple[type[SubmissionEvent], ...] = SubmissionEvent.__args__

# Events of a job.


@dataclass(frozen=True, slots=True)
class PostIntended:
    """The job's submission is about to be posted."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The submission's POST created no usable task: the job waits for the next POST.

    `reason` says why. `may_be_billed`: there may still be a task, or a call that is billed.
    """

    reason: str = ""
    may_be_billed: bool = False


@dataclass(frozen=True, slots=True)
class TaskMade:
    """The job's submission has a task of `task_files` files."""

    task_id: str
    task_files: int
    submitted_ms: int


@dataclass(frozen=True, slots=True)
class ReadyToCollect:
    """The task finished with a result for the job's file."""

    task: TaskView
    transcription_url: str


@dataclass(frozen=True, slots=True)
class NoResult:
    """The task finished without a result for the job's file, or is lost; `provider_error` says why."""

    task: TaskView
    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A synchronous model answered with the transcript."""

    transcript: Transcript
    bill: Bill
    submitted_ms: int | None


@dataclass(frozen=True, slots=True)
class SubmitFailed:
    """The submission failed for good: the job ends as `policy` says."""

    provider_error: ProviderError
    policy: ErrorPolicy
    may_be_billed: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result file was read."""

    transcript: Transcript
    renderings: Mapping[str, str] | None = None
    """As in `ResultEnding`."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The result file could not be read."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The user cancelled the job."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The job's deadline has passed; `reason`, if any, says what the job waited for."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class HandlingFailed:
    """A fault of ours kept an event from being handled, repeatedly; `task_id`: the task the event named."""

    message: str
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class JobRestored:
    """A new owner restored the job from the journal."""


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome is durable."""


ByItsSubmission = PostIntended | GivenBack | SubmitFailed | Transcribed | TaskMade | ReadyToCollect | NoResult
ByOthers = CancelAsked | DeadlinePassed | HandlingFailed | JobRestored
JobEvent = ByItsSubmission | Fetched | FetchFailed | ByOthers | Published
JOB_EVENTS: tuple[type[JobEvent], ...] = JobEvent.__args__

# Steps.


@dataclass(frozen=True, slots=True)
class QueueSubmit:
    """Post the submission once `due_ms` is reached and the quota allows it."""

    key: SubmissionKey
    due_ms: int


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Find out, from `due_ms` on, whether the submission's POST created a task.

    Before `settled_ms` a task that is not listed may still appear.
    """

    key: SubmissionKey
    due_ms: int
    settled_ms: int


@dataclass(frozen=True, slots=True)
class Poll:
    """Poll the submission's task at `due_ms`; `is_last`: because of a deadline."""

    key: SubmissionKey
    task_id: str
    due_ms: int
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the job's result file at `due_ms`."""

    ref: JobRef
    transcription_url: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Ask the provider to cancel the task; nothing waits for the answer."""

    task_id: str


Step = QueueSubmit | Reconcile | Poll | Fetch | CancelTask
