"""The two outcome records, v1: what the service publishes for every file.

These models redact free text and drop the query of file URLs, for every record. The JSON is compact UTF-8
with nulls kept, so that a consumer always finds every field.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)

from service.contract.options import Notice
from service.contract.redaction import redact, without_query
from service.contract.stage import Stage
from service.contract.transcript import Transcript
from service.errors import FailureCode

RESULT_TYPE = "scribe.transcription.result.v1"
FAILURE_TYPE = "scribe.transcription.failure.v1"


def rfc3339(moment: datetime) -> str:
    """An aware time in the contract's form: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_time(epoch_ms: int | None) -> datetime | None:
    """The time `epoch_ms` after 1970; None for one beyond the calendar.

    Never raises: a foreign time must not prevent an outcome.
    """
    if epoch_ms is None or not _FIRST_MS <= epoch_ms <= _LAST_MS:
        return None
    return _EPOCH + timedelta(milliseconds=epoch_ms)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)

Instant = Annotated[
    AwareDatetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
PublicUrl = Annotated[str, AfterValidator(without_query)]
PublicText = Annotated[str, AfterValidator(redact)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Usage(_Wire):
    """What the provider bills.

    `billed_seconds` is this file's part. It is `estimated` if the task had several files, which share
    `task_billed_seconds` by speech length, or if it was computed from audio tokens. Tokens are given if the
    provider reports them; the files of a task have equal shares.
    """

    billed_seconds: int | None = None
    estimated: bool = False
    task_billed_seconds: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class ProviderTimes(_Wire):
    """The provider's own times, zone-less, as given."""

    submit_time: str | None = None
    scheduled_time: str | None = None
    end_time: str | None = None


class Times(_Wire):
    """When each stage of this file was reached; `completed_at` is when its task was seen to have ended."""

    requested_at: Instant | None = None
    accepted_at: Instant | None = None
    submitted_at: Instant | None = None
    completed_at: Instant | None = None
    fetched_at: Instant | None = None
    published_at: Instant | None = None
    provider: ProviderTimes = ProviderTimes()


STAGES = ("queue", "submit", "provider", "collect", "publish", "total")
"""The intervals between these times, in order: the request's publication, acceptance, submit, the end of its
task as seen, fetch, outcome. `total` is from the first to the last."""


def stage_seconds(times: Times) -> dict[str, float]:
    """The seconds that a job spent in each stage, by the names in `STAGES`; never negative.

    `queue` and `total` begin at the request record's timestamp, which is from another machine's clock.
    """
    intervals = (
        ("queue", times.requested_at, times.accepted_at),
        ("submit", times.accepted_at, times.submitted_at),
        ("provider", times.submitted_at, times.completed_at),
        ("collect", times.completed_at, times.fetched_at),
        ("publish", times.fetched_at, times.published_at),
        ("total", times.requested_at, times.published_at),
    )
    return {name: _seconds(begin, end) for name, begin, end in intervals if begin and end}


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())


class Attempts(_Wire):
    """Calls made for this file; those of a task shared by several files count for each."""

    submit: int = 0
    poll: int = 0
    fetch: int = 0


class RequestSummary(_Wire):
    """The summary in the last outcome of a request; `billed_seconds` is the sum over its files."""

    succeeded: int
    failed: int
    billed_seconds: int


class Origin(_Wire):
    """The request record that caused a failure."""

    topic: str
    partition: int
    offset: int
    timestamp: Instant | None = None


class _Outcome(_Wire):
    def to_bytes(self) -> bytes:
        """The record's value."""
        return self.model_dump_json().encode()


class Result(_Outcome):
    """The transcript of one file."""

    model_config = ConfigDict(title=RESULT_TYPE)

    request_id: str
    replay: int
    file_index: int
    file_count: int = Field(description="Files of the request, wanted or not.")
    file_url: PublicUrl = Field(description="As requested, without its query.")
    model: str
    task_id: str | None = Field(description="The provider's task; null for models that answer at once.")
    transcript: Transcript
    usage: Usage
    times: Times
    attempts: Attempts
    warnings: tuple[Notice, ...] = ()
    omitted: tuple[str, ...] = Field(
        default=(),
        description="Parts left out because the broker takes no larger record: words, renderings, sentences.",
    )
    renderings: dict[str, str] | None = Field(
        default=None,
        description="The transcript in the forms that `output.formats` asked for, by name; null if in none.",
    )
    duplicates_detected: bool = Field(
        default=True,
        description="Whether a repeat would be noticed: false if the record's key was not the request_id.",
    )
    metadata: dict[str, JsonValue] | None = Field(default=None, description="The request's, unchanged.")
    request_summary: RequestSummary | None = Field(
        default=None, description="Only in the request's last outcome."
    )


class Failure(_Outcome):
    """One file, or one record, that got no transcript."""

    model_config = ConfigDict(title=FAILURE_TYPE)

    request_id: str | None = Field(default=None, description="Null if the record's could not be read.")
    replay: int | None = None
    file_index: int | None = Field(default=None, description="Null if the failure concerns a whole record.")
    file_count: int | None = None
    file_url: PublicUrl | None = None
    model: str | None = None
    task_id: str | None = None
    stage: Stage
    code: FailureCode
    provider_code: PublicText | None = None
    message: PublicText
    retryable: bool = Field(
        description="True if the same work may succeed under the next unused `replay` number."
    )
    attempts: Attempts = Attempts()
    times: Times = Times()
    origin: Origin | None = None
    original_request: dict[str, JsonValue] | None = None
    raw: str | None = Field(
        default=None, description="Base64 of the record's first 256 KiB, if it became no job."
    )
    raw_bytes: int | None = None
    raw_sha256: str | None = Field(default=None, description="Hex digest of the whole value.")
    duplicates_detected: bool | None = None
    metadata: dict[str, JsonValue] | None = None
    request_summary: RequestSummary | None = Field(
        default=None, description="Only in the request's last outcome."
    )
