"""What can happen to a submission and to a job (events), and what they want done (steps).

Events are facts, in the past tense. Steps are wishes: the pipeline carries them out, but only after the group
that came with them is durable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from service.contract.transcript import Transcript
from service.core.job.identity import JobRef, SubmissionKey
from service.core.provider.answers import Bill, ProviderError, TaskView
from service.core.provider.error_table import ErrorPolicy

# What happens to a submission.


@dataclass(frozen=True, slots=True)
class Intended:
    """The submit stage took the submission and will send its POST once this is durable, not before.

    `sealed_ms` is this machine's wall clock, `vendor_offset_ms` how far the vendor's clock is ahead of it,
    `max_files` how many files a POST of the model may hold, if it is known: others are divided off.
    """

    sealed_ms: int
    vendor_offset_ms: int | None = None
    max_files: int | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """The provider took the POST and made a task for its files."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A synchronous model answered the POST with the transcript; `bill` is what it says that this costs."""

    transcript: Transcript
    bill: Bill = Bill()


@dataclass(frozen=True, slots=True)
class SubmitRefused:
    """The provider answered the POST with an error, or with what is no transcript: there is no task.

    `is_circuit_open` says that others met the same: then it is no word about these jobs.
    """

    provider_error: ProviderError
    is_circuit_open: bool = False


@dataclass(frozen=True, slots=True)
class SubmitLost:
    """No usable answer came to the POST: there may be a task."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class SubmitNotSent:
    """Nothing left this machine: no connection, a job ended meanwhile, or the intent became too old."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class VocabularyRefused:
    """The hotword list that the jobs need before their submit cannot be had."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class Adopted:
    """An uncertain POST did make a task: here it is."""

    task_id: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """An uncertain POST made no task: all that could be its task is another's."""


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """The provider's list does not reach back to the uncertain POST any more."""


@dataclass(frozen=True, slots=True)
class Polled:
    """One answer about the submission's task.

    `is_last`: it was asked for because of a deadline. `is_foreign`: UNKNOWN, and so are all tasks lately: the
    key may be another account's.
    """

    task: TaskView
    is_last: bool = False
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class PollFailed:
    """The poll did not come to an answer."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class JobsLeft:
    """Some of its jobs are not open in it any more.

    `is_unwanted`: one left because of a cancel or its deadline.
    """

    is_unwanted: bool = False


@dataclass(frozen=True, slots=True)
class SubmissionRestored:
    """The submission was read back from the journal by a new owner."""


PostAnswer = Posted | Answered | SubmitRefused | SubmitLost | SubmitNotSent
PassAnswer = Adopted | NotFound | OutOfReach
PollAnswer = Polled | PollFailed
SubmissionEvent = (
    Intended | VocabularyRefused | PostAnswer | PassAnswer | PollAnswer | JobsLeft | SubmissionRestored
)
SUBMISSION_EVENTS: tuple[type[SubmissionEvent], ...] = SubmissionEvent.__args__

# What happens to a job.


@dataclass(frozen=True, slots=True)
class Taken:
    """Its submission is about to be posted."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The POST of its submission made no task that could be used: the job waits for the next one.

    `reason` says why. `may_be_billed`: there may be a task, or a call that is paid, all the same.
    """

    reason: str = ""
    may_be_billed: bool = False


@dataclass(frozen=True, slots=True)
class TaskMade:
    """Its submission has a task of `task_files` files."""

    task_id: str
    task_files: int
    submitted_ms: int


@dataclass(frozen=True, slots=True)
class ReadyToCollect:
    """The task is finished and has a result for the job's file."""

    task: TaskView
    transcription_url: str


@dataclass(frozen=True, slots=True)
class NoResult:
    """The task is finished, or lost, and has no result for the job's file: `error` says why."""

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
    """Its submission ends it: `policy` says with what."""

    provider_error: ProviderError
    policy: ErrorPolicy
    may_be_billed: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result file was read."""

    transcript: Transcript
    renderings: Mapping[str, str] | None = None
    """As in the ending that comes of it."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The result file was not read."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The user wants the job no more."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The job's deadline is over; `reason`, where there is one, says what the job had to wait for."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class HandlingFailed:
    """A fault of ours kept an event from being handled, again and again; `task_id`: it told of this task."""

    message: str
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class JobRestored:
    """The job was read back from the journal by a new owner."""


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome is durable."""


ByItsSubmission = Taken | GivenBack | SubmitFailed | Transcribed | TaskMade | ReadyToCollect | NoResult
ByOthers = CancelAsked | DeadlinePassed | HandlingFailed | JobRestored
JobEvent = ByItsSubmission | Fetched | FetchFailed | ByOthers | Published
JOB_EVENTS: tuple[type[JobEvent], ...] = JobEvent.__args__

# What is to be done.


@dataclass(frozen=True, slots=True)
class QueueSubmit:
    """Post the submission when `due_ms` has come and the quota allows."""

    key: SubmissionKey
    due_ms: int


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Find out whether the submission's POST made a task, from `due_ms` on.

    Before `settled_ms` a task that cannot be found may still be on its way.
    """

    key: SubmissionKey
    due_ms: int
    settled_ms: int


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask for the submission's task when `due_ms` has come; `is_last`: because of a deadline."""

    key: SubmissionKey
    task_id: str
    due_ms: int
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the job's result file when `due_ms` has come."""

    ref: JobRef
    transcription_url: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Ask the provider to drop the task; nobody waits for the answer."""

    task_id: str


Step = QueueSubmit | Reconcile | Poll | Fetch | CancelTask
