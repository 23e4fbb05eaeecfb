"""The provider's answers as data: the input of every decision about a provider task.

The adapter in `provider/` builds these and decides nothing. `core.provider.error_table` and the tables of
submissions and jobs decide, and never see HTTP.
"""

from dataclasses import field
from enum import StrEnum
from http import HTTPStatus

from pydantic import JsonValue

from service.core.provider.own_codes import OWN_CODES, OwnCode
from service.frozen import dataclass


class Cause(StrEnum):
    """Why a call got no useful answer; the error's message gives details."""

    UNKNOWN_HOST = "unknown_host"
    """The host name has no address, or no name server answers."""
    REFUSED = "refused"
    """Nothing listens on the port."""
    UNREACHABLE = "unreachable"
    """There is no route to the host."""
    CONNECT_TIMEOUT = "connect_timeout"
    """The host took too long to accept a connection."""
    CERTIFICATE = "certificate"
    """The host's certificate is not trusted."""
    TLS = "tls"
    """The TLS handshake with the host failed."""
    LOCAL = "local"
    """This machine or process ran out of connections, files or ports."""
    TIMEOUT = "timeout"
    """The connection was open, and no answer came in time."""
    CONNECTION_LOST = "connection_lost"
    """The connection broke before the answer was complete."""
    WRONG_ANSWER = "wrong_answer"
    """The answer is not from the provider's API; it is a web page, for example."""
    HTTP_ERROR = "http_error"
    """An error status without a provider code."""
    PROVIDER_ERROR = "provider_error"
    """The provider's own error code."""


class TaskStatus(StrEnum):
    """The vendor's `task_status` (docs/provider.md, section 2).

    SUSPENDED is read as RUNNING.
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"


TERMINAL = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.UNKNOWN})


_CAUSES: dict[str, Cause] = {
    OwnCode.TIMEOUT: Cause.TIMEOUT,
    OwnCode.CONNECT_FAILED: Cause.UNREACHABLE,
    OwnCode.CONNECTION_LOST: Cause.CONNECTION_LOST,
    OwnCode.NOT_JSON: Cause.WRONG_ANSWER,
    OwnCode.UNEXPECTED_ANSWER: Cause.WRONG_ANSWER,
    OwnCode.HTTP_ERROR: Cause.HTTP_ERROR,
}
"""The cause that a code implies if no cause is given."""


@dataclass(frozen=True, slots=True)
class ProviderError:
    """The error of a call, a task or a file: data, not an exception.

    `code` is the vendor's code or an `OwnCode`. `http_status` is None if no answer came. `message` is
    redacted. `cause` and `host`, if known, tell operators where it went wrong; errors that differ only in
    them are equal.
    """

    code: str
    message: str
    http_status: int | None = None
    retry_after_seconds: float | None = None
    cause: Cause | None = field(default=None, compare=False)
    host: str | None = field(default=None, compare=False)

    @property
    def is_throttled(self) -> bool:
        """Whether the provider refused the call for its rate."""
        return self.http_status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def kind(self) -> Cause:
        """The cause, else the one that the code implies."""
        return self.cause or _CAUSES.get(self.code, Cause.PROVIDER_ERROR)

    @property
    def provider_code(self) -> str | None:
        """The code if it is the vendor's, else None."""
        return None if self.code in OWN_CODES else self.code


@dataclass(frozen=True, slots=True)
class FileView:
    """One file of a terminal task: either `transcription_url` or `provider_error` is set."""

    file_url: str
    transcription_url: str | None = None
    provider_error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """A provider task as a poll shows it."""

    task_id: str
    status: TaskStatus
    files: tuple[FileView, ...] = ()
    """Empty until the task is terminal; counts before `status`.

    A FAILED task may hold usable files, and a SUCCEEDED one failed files.
    """
    provider_error: ProviderError | None = None
    """The task-level error of a FAILED task."""
    billed_seconds: int | None = None
    """Of the whole task, as are the tokens."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    submit_time: str | None = None
    """The vendor's, zone-less, as given; so are the two other times."""
    scheduled_time: str | None = None
    end_time: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the status is in `TERMINAL`; UNKNOWN is, too."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task as the account's list shows it: without its files and without a reliable model name.

    `created_ms` is by the vendor's clock.
    """

    task_id: str
    status: TaskStatus
    created_ms: int


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """An unreadable row of the list, with the fields that can still be read.

    `place` is the number of readable rows before it in its page.
    """

    place: int
    task_id: str | None = None
    created_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of the account's list.

    `total` is the stated number of rows in all pages.

    Each of its `unreadable` rows may be any task.
    """

    tasks: tuple[ListedTask, ...]
    total: int | None = None
    unreadable: tuple[UnreadableRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the submit: a task exists and is billed."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Bill:
    """The provider's bill for one call of a synchronous model, or for a task's tokens.

    `is_estimated`: the seconds were computed from audio tokens.
    """

    seconds: int | None = None
    is_estimated: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A synchronous model answered with a transcript: there is no task, and the call is billed.

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
    """The request may have left, and no usable answer came: a task or a bill may exist."""

    provider_error: ProviderError


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request left this machine: no task exists."""

    provider_error: ProviderError


SubmitAnswer = Accepted | Answered | Refused | Lost | NotSent
