"""The options of each model family: names, types, and combinations that are not allowed.

Names and meanings are the vendor's, so that examples from the vendor's pages work here; `hotwords`, `prompt`
and `context` of synchronous models are ours. `options` checks the rules that depend on the model's row.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

from service.contract.hotwords import Hotword, Vocabulary
from service.contract.model_table import Family
from service.contract.option_fields import (
    SPEAKER_RULES,
    VOCABULARIES,
    Frozen,
    LanguageCode,
    Options,
    SampleRate,
    SpecialWordFilter,
    Text,
    WithChannels,
    Word,
    at_most_one,
    object_or_wire_string,
    rules,
)
from service.contract.validation_errors import refusal


class FunAsrOptions(WithChannels):
    """Options of fun-asr, fun-asr-mtl and their snapshots."""

    model_config = rules(*SPEAKER_RULES, *at_most_one("vocabulary_id", "hotwords"))

    language_hints: list[LanguageCode] | None = Field(
        default=None, min_length=1, description="Language codes; this family uses only the first."
    )
    vocabulary_id: Word | None = Field(
        default=None,
        description="The id of your own hotword list, which must be made for exactly this model.",
    )
    hotwords: list[Hotword] | None = Field(
        default=None, min_length=1, description="Words to prefer; the service makes and keeps the list."
    )
    special_word_filter: (
        Annotated[
            SpecialWordFilter,
            BeforeValidator(object_or_wire_string, json_schema_input_type=SpecialWordFilter | str),
        ]
        | None
    ) = Field(
        default=None, description="Words to mask or remove: an object, or a string that holds its JSON."
    )
    diarization_enabled: StrictBool | None = Field(
        default=None, description="Adds speaker_id to sentences; one channel only, recommended up to 2 h."
    )
    speaker_count: Annotated[StrictInt, Field(ge=2, le=100)] | None = Field(
        default=None, description="How many speakers to look for, a hint; needs diarization_enabled."
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.speaker_count is not None and not self.diarization_enabled:
            raise refusal(
                "`options.speaker_count` needs `diarization_enabled` true: without it, it has no effect"
            )
        if self.diarization_enabled and self.channel_id is not None and len(self.channel_id) > 1:
            raise refusal("`options.diarization_enabled` needs a single channel in `channel_id`")
        return self


class ParaformerOptions(FunAsrOptions):
    """Options of the paraformer models; hints, vocabulary_id and hotwords only of some."""

    model_config = rules(*SPEAKER_RULES, *at_most_one("vocabulary_id", "hotwords"))

    language_hints: list[LanguageCode] | None = Field(
        default=None, min_length=1, description="Language codes that may be spoken, of paraformer-v2 alone."
    )
    disfluency_removal_enabled: StrictBool | None = Field(default=None, description="Drops filler words.")
    timestamp_alignment_enabled: StrictBool | None = Field(
        default=None, description="Aligns times more exactly."
    )


def _content_of(kind: str) -> JsonValue:
    """The JSON Schema of "every part of the content is of this type"."""
    return {"properties": {"content": {"items": {"properties": {"type": {"const": kind}}}}}}


class ContextPart(Frozen):
    """A piece of a context message's content, as the vendor writes it."""

    type: str = Field(pattern=r"^(input_text|text)$")
    text: Text


class ContextMessage(Frozen):
    """A message that describes the topic of the recording."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"role": {"const": "assistant"}}},
            "then": _content_of("text"),
            "else": _content_of("input_text"),
        }
    )

    role: str = Field(pattern=r"^(user|assistant)$")
    content: list[ContextPart] = Field(min_length=1)

    @model_validator(mode="after")
    def _typed(self) -> Self:
        expected = "input_text" if self.role == "user" else "text"
        if any(part.type != expected for part in self.content):
            raise refusal(f"the content of role `{self.role}` must be of type `{expected}`")
        return self


Context = Annotated[list[ContextMessage], Field(min_length=1)]
_CONTEXT = (
    "Messages that tell the topic; the last 5 rounds count, and of each 400 characters, which a user's "
    "message and the assistant's answer share."
)
_KEEP_DIALECT = "Write dialect as it is spoken; false, the provider's default, writes it as Mandarin."


class QwenAudioFilesOptions(FunAsrOptions):
    """Options of the qwen-audio filetrans models."""

    model_config = rules(*SPEAKER_RULES, *at_most_one(*VOCABULARIES))

    language_hints: list[LanguageCode] | None = Field(
        default=None, min_length=1, description="Language codes that may be spoken; the first four count."
    )
    vocabulary: Vocabulary | None = Field(
        default=None,
        description="Words and their weights, 1 to 5 or 50, for this file alone: needs no list.",
    )
    context: Context | None = Field(default=None, description=_CONTEXT)
    keep_dialect: StrictBool | None = Field(default=None, description=_KEEP_DIALECT)


class QwenAsrFilesOptions(WithChannels):
    """Options of qwen3-asr-flash-filetrans."""

    language: LanguageCode | None = Field(
        default=None, description="The one language spoken; leave it out when unsure or mixed."
    )
    enable_itn: StrictBool | None = Field(
        default=None, description="Numbers and dates as digits, in Chinese and English."
    )
    enable_words: StrictBool | None = Field(
        default=None, description="Adds words with times, and splits sentences also by punctuation."
    )


class AsrOptions(Frozen):
    """The vendor's `asr_options`."""

    language: LanguageCode | None = Field(
        default=None, description="The one language spoken; leave it out when unsure or mixed."
    )
    enable_itn: StrictBool | None = Field(
        default=None, description="Numbers and dates as digits, in Chinese and English."
    )
    enable_lid: StrictBool | None = Field(
        default=None, description="Return the language that was recognised."
    )


class QwenAsrOptions(Options):
    """Options of qwen3-asr-flash, which answers at once."""

    reserved = frozenset({"incremental_output"})

    asr_options: AsrOptions | None = Field(default=None, description="Language and form of the text.")
    context: Text | None = Field(
        default=None, description="A text about the topic: names, terms, what was said before."
    )


class ShortAudioOptions(Options):
    """Options of the models for short audio that give times."""

    model_config = rules(*at_most_one(*VOCABULARIES))

    format: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{2,8}$")] | None = Field(
        default=None, description="The audio's format; without it, what the URL's ending says, else wav."
    )
    sample_rate: SampleRate = Field(default=None, description="The sample rate of the audio, in Hz.")
    language_hints: list[LanguageCode] | None = Field(
        default=None,
        min_length=1,
        description="Language codes that may be spoken; the first four count, of fun-asr-flash the first.",
    )
    vocabulary_id: Word | None = Field(
        default=None,
        description="The id of your own hotword list, which must be made for exactly this model.",
    )
    hotwords: list[Hotword] | None = Field(
        default=None, min_length=1, description="Words to prefer; the service makes and keeps the list."
    )
    vocabulary: Vocabulary | None = Field(
        default=None, description="Words and their weights, 1 to 5 or 50, for this file alone."
    )
    context: Context | None = Field(default=None, description=_CONTEXT)
    keep_dialect: StrictBool | None = Field(default=None, description=_KEEP_DIALECT)
    speaker_diarization_enabled: StrictBool | None = Field(
        default=None,
        description="Adds speaker_id to sentences; `keep_dialect` and `language_hints` then do nothing.",
    )


class OmniOptions(Options):
    """Options of the Omni models, which answer a prompt about the audio."""

    reserved = frozenset(
        {"model", "messages", "stream", "stream_options", "modalities", "audio", "n", "tools", "functions"}
    )

    prompt: Text | None = Field(
        default=None, description="What to do with the audio; without it: write down every word."
    )
    format: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{2,8}$")] | None = Field(
        default=None, description="The audio's format; without it, what the URL's ending says."
    )


OPTIONS: Mapping[Family, type[Options]] = MappingProxyType(
    {
        Family.FUN_ASR: FunAsrOptions,
        Family.PARAFORMER: ParaformerOptions,
        Family.QWEN_AUDIO_FILES: QwenAudioFilesOptions,
        Family.QWEN_ASR_FILES: QwenAsrFilesOptions,
        Family.QWEN_ASR: QwenAsrOptions,
        Family.SHORT_AUDIO: ShortAudioOptions,
        Family.OMNI: OmniOptions,
    }
)
"""The options model of each family."""
