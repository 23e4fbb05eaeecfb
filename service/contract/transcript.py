"""The normalised transcript, v1: one shape for every model family.

`None` means that the model does not provide the value (or that the result's `omitted` names it), an empty
tuple that there was none. `provider_extra` holds the vendor's fields that v1 does not model, under the
vendor's names; on the wire it is left out if there are none. Plain data: 12 h are 100,000 words.
"""

from typing import Annotated

from pydantic import Field, JsonValue

from service.frozen import dataclass


def _is_none(extra: object) -> bool:
    return extra is None


Extra = Annotated[
    dict[str, JsonValue] | None,
    Field(
        exclude_if=_is_none,
        description="The provider's fields that v1 has no place for; left out where there are none.",
    ),
]


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised unit with its time; `text` may hold a leading space or several words.

    Joining words does not rebuild the sentence (the vendor's own sample shows it): use them for timing.
    """

    begin_ms: int
    end_ms: int
    text: str
    punctuation: str | None = None
    provider_extra: Extra = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence; ids count from 1 within the channel, times from the start of the file."""

    sentence_id: int
    begin_ms: int
    end_ms: int
    text: str
    speaker_id: int | None = None
    language: str | None = None
    emotion: str | None = None
    words: tuple[Word, ...] | None = None
    provider_extra: Extra = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One recognised track.

    `text` is joined from the sentences where there are some, `provider_text` is the provider's own
    whole text, `content_duration_ms` is speech only. `language` and `emotion` are those of the whole
    channel, of models that tell them without sentences.
    """

    channel_id: int
    text: str
    provider_text: str | None = None
    content_duration_ms: int | None = None
    sentences: tuple[Sentence, ...] | None = None
    provider_extra: Extra = None
    language: str | None = None
    emotion: str | None = None


@dataclass(frozen=True, slots=True)
class AudioProperties:
    """What the provider found in the file; `channels` are the tracks of the source."""

    format: str | None = None
    sampling_rate_hz: int | None = None
    duration_ms: int | None = None
    channels: tuple[int, ...] | None = None
    provider_extra: Extra = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that was recognised in one file; no channel at all where the provider found no speech."""

    audio: AudioProperties
    channels: tuple[Channel, ...]
    provider_extra: Extra = None


def empty_transcript() -> Transcript:
    """The transcript of silence."""
    return Transcript(audio=AudioProperties(), channels=())
