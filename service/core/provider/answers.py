"""What the provider told us, as data: the facts every decision about a provider task starts from.

The adapter in `provider/` fills these in and decides nothing; `core.provider.error_table` and the tables of
submissions and jobs decide and never see HTTP.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue


class Cause(StrEnum):
    """What stands between this process and a useful answer. The words beside it say more."""

    UNKNOWN_HOST = "unknown_host"
    """The host's name has no address, or no name server answers."""
    REFUSED = "refused"
    """Nothing listens on the port."""
    UNREACHABLE = "unreachable"
    """No way leads to the host."""
    CONNECT_TIMEOUT = "connect_timeout"
    """The host took too long to take a connection."""
    CERTIFICATE = "certificate"
    """The host's certificate is not trusted."""
    TLS = "tls"
    """The host and this process did not agree on an encrypted connection."""
    LOCAL = "local"
    """This machine or process had no connection, file or port to give."""
    TIMEOUT = "timeout"
    """A connection stood, and no answer came in time."""
    CONNECTION_LOST = "connection_lost"
    """A connection stood and broke before its answer was whole."""
    WRONG_ANSWER = "wrong_answer"
    """Something answered that is not the provider's API, as a web page does."""
    HTTP_ERROR = "http_error"
    """An error status without a code of the provider's."""
    PROVIDER_ERROR = "provider_error"
    """The provider's own error code."""


class TaskStatus(StrEnum):
    """The vendor's `task_status` (provider API, query a task); SUSPENDED is read as RUNNING."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"


TERMINAL = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.UNKNOWN})


HOST_REFUSED = "fetch_host_refused"
"""The one code of a fetch that concerns the other results of a model too."""
FOREIGN_TASKS = "foreign_tasks"
"""The provider knows none of our tasks: the key may be another account's."""
OWN_CODES = frozenset(
    {
        FOREIGN_TASKS,
        "timeout",
        "connect_failed",
        "connection_lost",
        "not_json",
        "unexpected_answer",
        "fetch_refused",
        HOST_REFUSED,
        "fetch_too_large",
        "fetch_unreadable",
        "http_error",
        "intent_too_old",
        "no_slot",
        "missing_result",
        "not_a_transcript",
        "restored",
        "vocabulary_other_model",
        "vocabulary_not_ready",
    }
)
"""Codes of ours for what happened below or beside the vendor's own codes."""

_CAUSES = {
    "timeout": Cause.TIMEOUT,
    "connect_failed": Cause.UNREACHABLE,
    "connection_lost": Cause.CONNECTION_LOST,
    "not_json": Cause.WRONG_ANSWER,
    "unexpected_answer": Cause.WRONG_ANSWER,
    "http_error": Cause.HTTP_ERROR,
}
"""What a code says of the cause where nobody knows more."""


@dataclass(frozen=True, slots=True)
class ProviderError:
    """Why a call, a task or a file did not go well.

    `code` is the vendor's own code or one of `OWN_CODES`. `http_status` is None where no answer came.
    `message` is scrubbed. `cause` and `host`, where known, say for operators where it went wrong; two
    errors that differ in them alone are the same.
    """

    code: str
    message: str
    http_status: int | None = None
    retry_after_seconds: float | None = None
    cause: Cause | None = field(default=None, compare=False)
    host: str | None = field(default=None, compare=False)

    @property
    def kind(self) -> Cause:
        """The cause, else what the code says of it."""
        return self.cause or _CAUSES.get(self.code, Cause.PROVIDER_ERROR)

    @property
    def provider_code(self) -> str | None:
        """The code where it is the vendor's."""
        return None if self.code in OWN_CODES else self.code


@dataclass(frozen=True, slots=True)
class FileView:
    """One file of a terminal task: either `transcription_url` or `error` is set."""

    file_url: str
    transcription_url: str | None = None
    provider_error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """One look at a provider task.

    `files` is empty until the task is terminal. A FAILED task may hold usable files and a
    SUCCEEDED one failed files, so `files` counts before `status`. `error` is the task-level
    code of a FAILED task. `billed_seconds` and the tokens cover the whole task. Times are the
    vendor's, zone-less, as given.
    """

    task_id: str
    status: TaskStatus
    files: tuple[FileView, ...] = ()
    provider_error: ProviderError | None = None
    billed_seconds: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    submit_time: str | None = None
    scheduled_time: str | None = None
    end_time: str | None = None

    @property
    def is_terminal(self) -> bool:
        """True when the provider will not change its mind about this task."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task as the account's list shows it: neither its files nor a model's name that can be relied on.

    `created_ms` is the vendor's clock.
    """

    task_id: str
    status: TaskStatus
    created_ms: int


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of the list that cannot be read, and what it tells all the same.

    `place` is how many rows that can be read stand before it in its page.
    """

    place: int
    task_id: str | None = None
    created_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of the account's list; `total` is what the answer says that all pages hold.

    Each of its `unreadable` rows may be any task.
    """

    tasks: tuple[ListedTask, ...]
    total: int | None = None
    unreadable: tuple[UnreadableRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the submit: a task exists and is billed."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What the provider says that one call of a synchronous model costs, or of a task in tokens.

    `is_estimated`: the seconds were worked out from audio tokens.
    """

    seconds: int | None = None
    is_estimated: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A synchronous model answered with what it heard: there is no task, and it is billed.

    `document` is the vendor's transcript in the form of the model's family.
    """

    document: JsonValue
    bill: Bill = Bill()


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider answered with an error: no task exists."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class Lost:
    """The request may have reached the provider and no usable answer came: a task, or a bill, may exist."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request left this machine: no task exists."""

    provider_error: ProviderError


SubmitAnswer = Accepted | Answered | Refused | Lost | NotSent
