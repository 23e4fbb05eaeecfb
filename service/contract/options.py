"""The options of each model family: validates them, names strays, and warns of the vendor's silent traps.

Names and meanings are the vendor's, so that what works on the vendor's page works here. Nothing is added:
an option that was not given is not sent.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from service.contract import strict_json
from service.contract.explain import explain, refusal
from service.contract.models import Family, ModelInfo, known_models, model_info
from service.contract.scrub import shown
from service.errors import FailureCode, InvalidRecord

JsonObject = dict[str, JsonValue]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
LanguageHint = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")]
ChannelId = Annotated[StrictInt, Field(ge=0, le=255)]


class NoticeCode(StrEnum):
    """Warnings a result can carry; later versions may add some."""

    ONLY_FIRST_LANGUAGE_HINT = "only_first_language_hint"
    LANGUAGE_HINT_UNLISTED = "language_hint_unlisted"
    CHANNELS_BILLED_SEPARATELY = "channels_billed_separately"
    DIARIZATION_OVER_ADVISED_LENGTH = "diarization_over_advised_length"
    NO_SPEECH = "no_speech"


class Notice(BaseModel):
    """Something the user should know although the work was done."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    code: str
    message: str


class WordList(BaseModel):
    """Words of one filter."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    word_list: list[Word]


class SpecialWordFilter(BaseModel):
    """Words to mask or remove; on the vendor's wire this is a string that holds JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    filter_with_signed: WordList | None = Field(
        default=None, description="Words replaced by the same number of asterisks."
    )
    filter_with_empty: WordList | None = Field(default=None, description="Words removed.")
    system_reserved_filter: StrictBool | None = Field(
        default=None, description="Also mask the provider's own list of words (the provider's default: true)."
    )


def _object_or_wire_string(value: object) -> object:
    # The vendor's samples give this parameter as a string of JSON: copying one must work.
    if not isinstance(value, str):
        return value
    try:
        return strict_json.loads(value)
    except InvalidRecord as error:
        raise refusal("must be an object, or a string that holds one as JSON") from error


def _when(name: str, has: JsonObject, **then: JsonObject) -> JsonObject:
    """JSON Schema for: where the option `name` is `has`, the other options must be as `then` says."""
    condition: JsonObject = {"properties": {name: has}, "required": [name]}
    # Only what must have a value must be there: no list of channels means one channel.
    needed: list[JsonValue] = [other for other, must in then.items() if "const" in must]
    return {"if": condition, "then": {"properties": dict(then), "required": needed}}


class FunAsrOptions(BaseModel):
    """Options of fun-asr, fun-asr-mtl and their snapshots."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "allOf": [
                _when("speaker_count", {"type": "integer"}, diarization_enabled={"const": True}),
                _when("diarization_enabled", {"const": True}, channel_id={"maxItems": 1}),
            ]
        },
    )

    channel_id: list[ChannelId] | None = Field(
        default=None,
        min_length=1,
        json_schema_extra={"uniqueItems": True},
        description="Tracks to recognise, each billed separately (the provider's default: [0]).",
    )
    language_hints: list[LanguageHint] | None = Field(
        default=None, min_length=1, description="Language codes; this family uses only the first."
    )
    vocabulary_id: Word | None = Field(
        default=None,
        description="A hotword list made for this very model; for another it has silently no effect.",
    )
    special_word_filter: (
        Annotated[
            SpecialWordFilter,
            BeforeValidator(_object_or_wire_string, json_schema_input_type=SpecialWordFilter | str),
        ]
        | None
    ) = Field(
        default=None, description="Words to mask or remove: an object, or a string that holds its JSON."
    )
    diarization_enabled: StrictBool | None = Field(
        default=None, description="Adds speaker_id to sentences; one channel only, advised up to 2 h."
    )
    speaker_count: Annotated[StrictInt, Field(ge=2, le=100)] | None = Field(
        default=None, description="How many speakers to look for, a hint; needs diarization_enabled."
    )
    extra_parameters: dict[str, JsonValue] | None = Field(
        default=None, description="Sent to the provider verbatim; may not name an option listed here."
    )

    @field_validator("channel_id")
    @classmethod
    def _unique_channels(cls, channels: list[int] | None) -> list[int] | None:
        if channels is not None and len(set(channels)) != len(channels):
            raise refusal("must not name a channel twice")
        return channels

    @field_validator("extra_parameters")
    @classmethod
    def _undocumented(cls, extra: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        for name in extra or {}:
            if name in cls.model_fields:
                raise refusal(f"must not name `{name}`: that is an option of its own")
        return extra

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.speaker_count is not None and not self.diarization_enabled:
            raise refusal(
                "`options.speaker_count` needs `diarization_enabled` true: without it, it has no effect"
            )
        if self.diarization_enabled and self.channel_id is not None and len(self.channel_id) > 1:
            raise refusal("`options.diarization_enabled` needs a single channel in `channel_id`")
        return self


OPTIONS: Mapping[Family, type[BaseModel]] = MappingProxyType({Family.FUN_ASR: FunAsrOptions})
"""The options model of each family."""

_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "disfluency_removal_enabled": "paraformer",
        "timestamp_alignment_enabled": "paraformer",
        "phrase_id": "paraformer-v1",
        "resources": "paraformer-v1",
        "audio_event_detection_enabled": "sensevoice-v1",
        "vocabulary": "qwen-audio-3.x-asr-flash-filetrans",
        "context": "qwen-audio-3.x-asr-flash-filetrans",
        "language": "qwen3-asr-flash-filetrans",
        "enable_itn": "qwen3-asr-flash-filetrans",
        "enable_words": "qwen3-asr-flash-filetrans",
        "asr_options": "qwen3-asr-flash",
        "enable_lid": "qwen3-asr-flash",
        "format": "qwen-audio-3.x-asr-flash",
        "sample_rate": "qwen-audio-3.x-asr-flash",
        "prompt": "qwen-omni",
        "modalities": "qwen-omni",
    }
)
"""Options of families that have no model here yet, so that a stray one can be told where it belongs."""


def read_options(model: str, options: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The options in canonical form: validated, only what was given, null counting as not given.

    Raises InvalidRecord: UNKNOWN_MODEL, or INVALID_OPTION with the option and the reason.
    """
    family = _known(model).family
    given = {name: value for name, value in options.items() if value is not None}
    expected = OPTIONS[family]
    for name in given:
        if name not in expected.model_fields:
            raise InvalidRecord(FailureCode.INVALID_OPTION, _stray(name, model, family))
    try:
        read = expected.model_validate(given)
    except ValidationError as error:
        raise InvalidRecord(FailureCode.INVALID_OPTION, explain(error, prefix="options")) from error
    return read.model_dump(exclude_unset=True, exclude_none=True)


def warnings_for(
    model: str, options: Mapping[str, JsonValue], duration_ms: int | None = None
) -> list[Notice]:
    """What the user should know about canonical `options`; None = the audio's length is not known."""
    info = _known(model)
    notices = []
    hints, channels = options.get("language_hints"), options.get("channel_id")
    if isinstance(hints, list) and hints:
        notices += _hint_warnings(info, model, hints)
    if isinstance(channels, list) and len(channels) > 1:
        text = f"{len(channels)} channels were recognised, and the provider bills each of them."
        notices.append(Notice(code=NoticeCode.CHANNELS_BILLED_SEPARATELY, message=text))
    advised_ms = info.advised_diarization_seconds * 1000
    if options.get("diarization_enabled") and (duration_ms or 0) > advised_ms:
        text = (
            f"Speakers are told apart reliably in up to {advised_ms // 3_600_000} h of audio; this is more."
        )
        notices.append(Notice(code=NoticeCode.DIARIZATION_OVER_ADVISED_LENGTH, message=text))
    return notices


def _known(model: str) -> ModelInfo:
    info = model_info(model)
    if info is None:
        names = ", ".join(known_models())
        message = f"`model` is none that this service knows; it knows {names} and their dated snapshots"
        raise InvalidRecord(FailureCode.UNKNOWN_MODEL, message)
    return info


def _stray(name: str, model: str, family: Family) -> str:
    others = [other.value for other, options in OPTIONS.items() if name in options.model_fields]
    owner = others[0] if others else _ELSEWHERE.get(name)
    if owner is not None:
        return f"`{name}` is an option of {owner}, not of {model}"
    known = ", ".join(OPTIONS[family].model_fields)
    return (
        f"`{shown(name)}` is not an option of {model} (those are {known}); "
        "a parameter that only the provider knows goes into `extra_parameters`"
    )


def _hint_warnings(info: ModelInfo, model: str, hints: list[JsonValue]) -> list[Notice]:
    notices = []
    if len(hints) > 1:
        text = f"{model} uses only the first of the {len(hints)} language hints."
        notices.append(Notice(code=NoticeCode.ONLY_FIRST_LANGUAGE_HINT, message=text))
    if hints[0] not in info.languages:
        text = f"The first language hint is not among the documented languages of {model}."
        notices.append(Notice(code=NoticeCode.LANGUAGE_HINT_UNLISTED, message=text))
    return notices
