"""What can happen to a job (events), and what it may want done (steps).

Events are facts, in the past tense. Steps are wishes: the pipeline carries them out, but only after
the journal entry that came with them is durable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from service.core.identity import JobKey
from service.core.task import Bill, FileView, TaskView, Trouble
from service.messages import Transcript


@dataclass(frozen=True, slots=True)
class Intended:
    """The submit stage took the job and will send its POST once this is durable, not before.

    The POST is for `files` files; `vendor_offset_ms` is how far the vendor's clock is ahead of ours. With
    a `group` the job leaves its own: the POST takes fewer files than that has.
    """

    sealed_ms: int
    files: int = 1
    vendor_offset_ms: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class VocabularyRefused:
    """The hotword list that the job needs before its submit cannot be had."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Submitted:
    """The provider made a task of `task_files` files, this job's among them."""

    task_id: str
    task_files: int


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A synchronous model answered with the transcript; `bill` is what it says that this costs."""

    transcript: Transcript
    bill: Bill = Bill()


@dataclass(frozen=True, slots=True)
class SubmitRefused:
    """The provider answered the submit with an error, or with what is no transcript: there is no task.

    `in_outage` says that others met the same: then it is no word about this job.
    """

    trouble: Trouble
    in_outage: bool = False


@dataclass(frozen=True, slots=True)
class SubmitLost:
    """No usable answer came to the submit: there may be a task."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class SubmitNotSent:
    """Nothing left this machine: no connection, or the intent had become too old to be posted."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Adopted:
    """An uncertain submit did make a task, of `task_files` files: here it is."""

    task_id: str
    task_files: int


@dataclass(frozen=True, slots=True)
class NotFound:
    """An uncertain submit made no task: all that could be its task is another's."""


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """The provider's list does not reach back to the uncertain submit any more."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One look at the job's task. `file` is this job's part of a terminal task, if it has one."""

    task: TaskView
    file: FileView | None


@dataclass(frozen=True, slots=True)
class LookFailed:
    """The look did not come to an answer."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result file was read."""

    transcript: Transcript
    renderings: Mapping[str, str] | None = None
    """As in the ending that comes of it."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The result file was not read."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The user wants the job no more."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The job's deadline is over; `reason`, where there is one, says what the job had to wait for."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class HandlingFailed:
    """A fault of ours kept another event of the job from being handled, again and again.

    `made` is that event, or an earlier one, where it told of a task.
    """

    message: str
    made: Submitted | Adopted | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """The job was read back from the journal by a new owner."""


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome and the marker are durable."""


Event = (
    Intended
    | VocabularyRefused
    | Submitted
    | Transcribed
    | SubmitRefused
    | SubmitLost
    | SubmitNotSent
    | Adopted
    | NotFound
    | OutOfReach
    | Looked
    | LookFailed
    | Fetched
    | FetchFailed
    | CancelAsked
    | DeadlinePassed
    | HandlingFailed
    | Restored
    | Published
)
EVENTS: tuple[type[Event], ...] = Event.__args__


@dataclass(frozen=True, slots=True)
class QueueSubmit:
    """Submit the job when `due_ms` has come and the budget allows."""

    key: JobKey
    due_ms: int


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Find out whether the job's submit made a task, from `due_ms` on.

    Before `settled_ms` a task that cannot be found may still be on its way.
    """

    key: JobKey
    due_ms: int
    settled_ms: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Look at the task when `due_ms` has come."""

    key: JobKey
    task_id: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the result file when `due_ms` has come."""

    key: JobKey
    transcription_url: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Ask the provider to drop the task; nobody waits for the answer."""

    task_id: str


Step = QueueSubmit | Reconcile | Watch | Fetch | CancelTask
