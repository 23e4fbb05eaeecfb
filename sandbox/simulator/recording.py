"""What an engine heard: audio properties, channels, sentences and words, and the vendor's spacing and
punctuation rules for them. It never knows a wire format.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_MARK = re.compile(r"^(.+?)([.,!?;:\u2026]+)$", re.DOTALL)
_ENDS_SENTENCE = (".", "!", "?", "\u2026")


@dataclass(frozen=True, slots=True)
class Token:
    """One spoken word as text with its mark (`"World,"`), times in milliseconds from the file's start."""

    text: str
    begin_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    punctuation: str
    begin_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    begin_ms: int
    end_ms: int
    words: tuple[Word, ...]
    speaker_id: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    channel_id: int
    sentences: tuple[Sentence, ...]

    @property
    def speech_ms(self) -> int:
        """Length of what was spoken, the basis of billing; less than the file's length."""
        return sum(sentence.end_ms - sentence.begin_ms for sentence in self.sentences)

    @property
    def text(self) -> str:
        return "".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class Recording:
    """One file's transcript. `channels_in_file` counts the source's channels, `channels` those asked for.

    `language` and `emotions` (which sentences have in turn) are for the models that tell them, like
    `finish_reason`, which is `length` where a model stopped before its text was whole.
    """

    audio_format: str
    sampling_rate: int
    duration_ms: int
    channels_in_file: int
    channels: tuple[Channel, ...]
    unknown_fields: bool = False
    language: str = "en"
    emotions: tuple[str, ...] = ("neutral",)
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Heard:
    """A file that was transcribed; the recording is made when its result file is read."""

    speech_ms: int
    recording: Callable[[], Recording]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that was not; `code` is a subtask code of the vendor. A silent one has a length all the same."""

    code: str
    message: str
    duration_ms: int = field(default=0, compare=False)


Outcome = Heard | Unusable


def sentences_of(tokens: Sequence[Token], speakers: int | None = None) -> tuple[Sentence, ...]:
    """Split at full stops, question and exclamation marks; speakers, when wanted, take turns by sentence."""
    groups: list[list[Token]] = [[]]
    for token in tokens:
        groups[-1].append(token)
        if token.text.endswith(_ENDS_SENTENCE):
            groups.append([])
    spoken = [group for group in groups if group]
    last = len(spoken) - 1
    return tuple(
        _sentence(group, last=index == last, speaker_id=index % speakers if speakers else None)
        for index, group in enumerate(spoken)
    )


def _sentence(tokens: Sequence[Token], *, last: bool, speaker_id: int | None) -> Sentence:
    text = " ".join(token.text for token in tokens) + ("" if last else " ")
    return Sentence(text, tokens[0].begin_ms, tokens[-1].end_ms, _words(tokens, last=last), speaker_id)


def _words(tokens: Sequence[Token], *, last: bool) -> tuple[Word, ...]:
    """The space between two words stands behind a mark when there is one, else before the next word."""
    words: list[Word] = []
    space_before = ""
    for position, token in enumerate(tokens, 1):
        word, mark = split_mark(token.text)
        space_after = " " if mark and not (last and position == len(tokens)) else ""
        words.append(Word(space_before + word, mark + space_after, token.begin_ms, token.end_ms))
        space_before = "" if space_after else " "
    return tuple(words)


def split_mark(text: str) -> tuple[str, str]:
    """`"World,"` -> `("World", ",")`; a token of marks alone stays a word."""
    found = _MARK.match(text)
    return (found[1], found[2]) if found else (text, "")
