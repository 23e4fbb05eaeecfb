"""What can happen to a job (events), and what it may want done (steps).

Events are facts, in the past tense. Steps are wishes: the pipeline carries them out, but only after
the journal entry that came with them is durable.
"""

from dataclasses import dataclass

from service.core.identity import JobKey
from service.core.task import FileView, TaskView, Trouble
from service.messages import Transcript


@dataclass(frozen=True, slots=True)
class Intended:
    """The submit stage took the job and will send its POST once this is durable, not before."""

    sealed_ms: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """The provider made a task of `task_files` files, this job's among them."""

    task_id: str
    task_files: int


@dataclass(frozen=True, slots=True)
class SubmitRefused:
    """The provider answered the submit with an error: there is no task.

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


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The result file was not read."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The user wants the job no more."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The job's deadline is over."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The job was read back from the journal by a new owner."""


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome and the marker are durable."""


Event = (
    Intended
    | Submitted
    | SubmitRefused
    | SubmitLost
    | SubmitNotSent
    | Looked
    | LookFailed
    | Fetched
    | FetchFailed
    | CancelAsked
    | DeadlinePassed
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


Step = QueueSubmit | Watch | Fetch | CancelTask
