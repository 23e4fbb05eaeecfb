"""Shared parts of the families' options: types, rules as JSON Schema, and the base class."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
    field_validator,
    model_validator,
)

from service.contract import strict_json
from service.contract.validation_errors import refusal
from service.errors import InvalidRecord

JsonObject = dict[str, JsonValue]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")]
ChannelId = Annotated[StrictInt, Field(ge=0, le=255)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


def _number_or_wire_string(value: object) -> object:
    """The number in a string of digits; any other value unchanged."""
    # It is a string on the vendor's page and a number in some samples: copying either must work.
    is_number = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 6
    return int(str(value)) if is_number else value


Hertz = Annotated[StrictInt, Field(ge=4_000, le=384_000)]
SampleRate = Annotated[
    Hertz | None,
    BeforeValidator(
        _number_or_wire_string,
        json_schema_input_type=Hertz
        | None
        | Annotated[str, StringConstraints(pattern=r"^([4-9][0-9]{3}|[1-9][0-9]{4,5})$")],
    ),
]


class Frozen(BaseModel):
    """An object of the contract: it refuses unknown fields, and its errors repeat no value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WordList(Frozen):
    """Words of one filter."""

    word_list: list[Word]


class SpecialWordFilter(Frozen):
    """Words to mask or remove; on the vendor's wire this is a string that holds JSON."""

    filter_with_signed: WordList | None = Field(
        default=None, description="Words replaced by the same number of asterisks."
    )
    filter_with_empty: WordList | None = Field(default=None, description="Words removed.")
    system_reserved_filter: StrictBool | None = Field(
        default=None, description="Also mask the provider's own list of words (the provider's default: true)."
    )


def object_or_wire_string(value: object) -> object:
    """The object in a string of JSON; any other value unchanged."""
    # The vendor's samples give this parameter as a string of JSON: copying one must work.
    if not isinstance(value, str):
        return value
    try:
        return strict_json.loads(value)
    except InvalidRecord as error:
        raise refusal("must be an object, or a string that holds one as JSON") from error


def _when(name: str, has: JsonObject, **then: JsonObject) -> JsonObject:
    """The JSON Schema of "if option `name` matches `has`, the other options must match `then`"."""
    condition: JsonObject = {"properties": {name: has}, "required": [name]}
    # Only an option that must have a value is required: no list of channels means one channel.
    needed: list[JsonValue] = [other for other, must in then.items() if "const" in must]
    return {"if": condition, "then": {"properties": dict(then), "required": needed}}


def at_most_one(*names: str) -> list[JsonValue]:
    """The JSON Schema of "no two of these options together"."""
    pairs = [(first, second) for index, first in enumerate(names) for second in names[index + 1 :]]
    return [
        {"not": {"properties": {each: {"not": {"type": "null"}} for each in pair}, "required": list(pair)}}
        for pair in pairs
    ]


VOCABULARIES = ("vocabulary_id", "hotwords", "vocabulary")


class Options(Frozen):
    """What all families share; `extra_parameters` must not set what the request or the service sets."""

    reserved: ClassVar[frozenset[str]] = frozenset()

    extra_parameters: dict[str, JsonValue] | None = Field(
        default=None, description="Sent to the provider verbatim; may not name an option listed here."
    )

    @field_validator("extra_parameters")
    @classmethod
    def _undocumented(cls, extra: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        for name in extra or {}:
            if name in cls.model_fields:
                raise refusal(f"must not name `{name}`: that is an option of its own")
            if name in cls.reserved:
                raise refusal(f"must not name `{name}`: the service sets it")
        return extra

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        given = [name for name in VOCABULARIES if getattr(self, name, None) is not None]
        if len(given) > 1:
            raise refusal(f"`options.{given[0]}` and `options.{given[1]}` exclude each other")
        return self


class WithChannels(Options):
    """Options of models that recognise chosen tracks."""

    channel_id: list[ChannelId] | None = Field(
        default=None,
        min_length=1,
        json_schema_extra={"uniqueItems": True},
        description="Tracks to recognise, each billed separately (the provider's default: [0]).",
    )

    @field_validator("channel_id")
    @classmethod
    def _unique_channels(cls, channels: list[int] | None) -> list[int] | None:
        if channels is not None and len(set(channels)) != len(channels):
            raise refusal("must not name a channel twice")
        return channels


def rules(*given: JsonValue) -> ConfigDict:
    """A model config with these rules in its JSON Schema."""
    extra: dict[str, Any] = {"allOf": list(given)}
    return ConfigDict(json_schema_extra=extra)


SPEAKER_RULES: tuple[JsonObject, ...] = (
    _when("speaker_count", {"type": "integer"}, diarization_enabled={"const": True}),
    _when("diarization_enabled", {"const": True}, channel_id={"maxItems": 1}),
)
