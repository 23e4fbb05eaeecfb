"""The readable forms of the transcript that a request may ask for in addition."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.contract.validation_errors import refusal


class OutputFormat(StrEnum):
    """A form of the transcript; the name of its rendering in a result."""

    SRT = "srt"
    VTT = "vtt"
    TEXT = "text"


def _each_once(formats: tuple[OutputFormat, ...] | None) -> tuple[OutputFormat, ...] | None:
    if formats is not None and len(set(formats)) != len(formats):
        raise refusal("must not name a format twice")
    return formats


class Output(BaseModel):
    """Additional forms of the transcript; they do not change the recognition."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    formats: Annotated[tuple[OutputFormat, ...] | None, AfterValidator(_each_once)] = Field(
        default=None,
        json_schema_extra={"uniqueItems": True},
        description="Forms that come in the result's `renderings`: srt, vtt, text.",
    )
