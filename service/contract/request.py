"""The request record, v1: its fields and the rules that apply to a single record.

Never reads the clock, settings or other requests; `request_decoder` reads the bytes.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import to_json

from service.contract.file_url import FileUrl
from service.contract.output_formats import Output, OutputFormat
from service.contract.validation_errors import refusal

MAX_FILES = 100
"""The vendor takes as many in one task."""
MAX_REPLAY = 1_000_000
"""Far more than anyone repeats a request; a typing error in a number is refused."""
MAX_OPTIONS_BYTES = 32 * 1024
MAX_METADATA_BYTES = 8 * 1024
"""Kept with each open request and copied to each outcome, so that both bound memory and the journal."""
MAX_TTL_SECONDS = 366 * 24 * 3600
"""A year: a later deadline is a typing error."""

RFC3339_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
"""A zone is required; numbers and dates without a time are refused."""

_RFC3339 = re.compile(RFC3339_PATTERN)


class Action(StrEnum):
    """What a request asks for."""

    TRANSCRIBE = "transcribe"
    CANCEL = "cancel"


def _rfc3339(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise refusal("must be an RFC 3339 time with a zone, such as 2026-03-02T10:15:00Z")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refusal("is not a time that exists") from error


Deadline = Annotated[
    AwareDatetime,
    BeforeValidator(_rfc3339),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": RFC3339_PATTERN}),
]


class Request(BaseModel):
    """One request: one or more audio files for one model, or the cancelling of an earlier request.

    A cancel needs only `request_id`, and `replay` if the request had one. Null counts as absent.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, title="scribe.transcription.request.v1"
    )

    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@-]{1,200}$")] = Field(
        description="Your id; use it as the record's key, too. Equal content under one id is done once."
    )
    file_urls: tuple[FileUrl, ...] = Field(
        default=(),
        max_length=MAX_FILES,
        repr=False,
        description="1 to 100 URLs that the provider can download.",
    )
    model: Annotated[str, StringConstraints(max_length=200)] = Field(
        default="", description="The provider's model name, such as fun-asr."
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict,
        repr=False,
        description="The provider's own parameters of the model; at most 32 KiB.",
    )
    deadline: Deadline | None = Field(
        default=None, description="The time after which the work is useless; the service has a default."
    )
    ttl_seconds: Annotated[StrictInt, Field(ge=1, le=MAX_TTL_SECONDS)] | None = Field(
        default=None,
        description="The deadline as seconds from the record's timestamp, or its acceptance if earlier.",
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, repr=False, description="Returned with every outcome unchanged; at most 8 KiB."
    )
    action: Action = Field(
        default=Action.TRANSCRIBE, description="`cancel` ends the open request of this id."
    )
    replay: Annotated[StrictInt, Field(ge=0, le=MAX_REPLAY)] = Field(
        default=0, description="An unused number runs the request again, and it is billed again."
    )
    file_indexes: tuple[Annotated[StrictInt, Field(ge=0, le=MAX_FILES - 1)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_FILES,
        json_schema_extra={"uniqueItems": True},
        description="Only these of `file_urls`, counted from 0.",
    )
    output: Output = Field(default_factory=Output, description="Additional forms of the transcript.")

    @property
    def formats(self) -> tuple[OutputFormat, ...]:
        """The requested renderings, sorted."""
        return tuple(sorted(self.output.formats or ()))

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        _check_size("options", self.options, MAX_OPTIONS_BYTES)
        _check_size("metadata", self.metadata, MAX_METADATA_BYTES)
        if self.deadline is not None and self.ttl_seconds is not None:
            raise refusal("`deadline` and `ttl_seconds` exclude each other")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action is Action.CANCEL:
            if self.file_indexes is not None:
                raise refusal("`file_indexes` does not go with a cancel, which ends the whole request")
            return self
        if not self.file_urls:
            raise refusal("`file_urls` must have 1 or more entries")
        if not self.model:
            raise refusal("`model` is required")
        indexes = self.file_indexes or ()
        if len(set(indexes)) != len(indexes):
            raise refusal("`file_indexes` must not name a file twice")
        if any(index >= len(self.file_urls) for index in indexes):
            raise refusal(f"`file_indexes` must be below {len(self.file_urls)}, the number of `file_urls`")
        return self


def _check_size(name: str, value: dict[str, JsonValue], limit_bytes: int) -> None:
    size_bytes = len(to_json(value)) if value else 0
    if size_bytes > limit_bytes:
        raise refusal(f"`{name}` takes {size_bytes} bytes as JSON; at most {limit_bytes} are allowed")
