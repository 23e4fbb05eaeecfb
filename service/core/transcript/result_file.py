"""Reads the JSON behind a provider's `transcription_url`.

`core.transcript.normalise` states the rules.

Known forms: Fun-ASR and Paraformer (`properties`), Qwen-ASR (`audio_info`, ids from 0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from operator import itemgetter
from typing import Any

from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.model_table import Family
from service.contract.redaction import without_queries
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.contract.untrusted_json import MAX_WHOLE
from service.core.transcript.chat_content import text_and_rest
from service.core.transcript.missing_times import GivenSpan, Span, interpolated
from service.core.transcript.whole_text import joined, visible, whole_text
from service.frozen import dataclass

_DOCUMENTED = ("begin_time", "end_time", "text", "punctuation")
_documented = itemgetter(*_DOCUMENTED)


class Fields:
    """A vendor object whose known fields are taken out one by one.

    The rest is its extra.

    A known field of an unexpected form is not taken, so it stays in the extra.
    """

    def __init__(self, raw: dict[str, JsonValue]) -> None:
        self._left = dict(raw)

    def text(self, name: str) -> str | None:
        """Take the string under `name`; None if it is null or missing."""
        value = self._left.get(name)
        if value is None or isinstance(value, str):
            self.drop(name)
            return value
        return None

    def lenient_text(self, name: str) -> str | None:
        """The text under `name` in any form.

        A value that is not a plain string also stays in the extra.
        """
        value = self.peek(name)
        text = self.text(name)
        return _plain(value) if text is None else text

    def integer(self, name: str) -> int | None:
        """Take the whole number under `name`."""
        value = self._left.get(name)
        number = untrusted_json.whole_number(value)
        if value is None or number is not None:
            self.drop(name)
        return number

    def take_moment(self, name: str) -> None:
        """Remove the time under `name`.

        Another value, or null, stays and marks our time as interpolated.
        """
        if untrusted_json.whole_number(self._left.setdefault(name, None)) is not None:
            self.drop(name)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Take the list of whole numbers under `name`."""
        value = self._left.get(name)
        if not isinstance(value, list):
            return None
        numbers = tuple(number for item in value if (number := untrusted_json.whole_number(item)) is not None)
        if len(numbers) != len(value):
            return None
        self.drop(name)
        return numbers

    def peek(self, name: str) -> JsonValue:
        """The value under `name`, without taking it."""
        return self._left.get(name)

    def drop(self, name: str) -> None:
        """Remove `name`."""
        self._left.pop(name, None)

    def keep(self, name: str, value: JsonValue) -> None:
        """Put `value` under `name`."""
        self._left[name] = value

    def extra(self) -> dict[str, JsonValue] | None:
        """The remaining fields, with the queries of URLs removed; None if there are none."""
        return {name: without_queries(value) for name, value in self._left.items()} or None


def _plain(value: JsonValue) -> str | None:
    """The text of a value that should be a string but may be a list or an object with text."""
    return value if isinstance(value, str) else text_and_rest(value)[0] or None


def read_result_file(document: JsonValue, family: Family) -> Transcript:
    """The file's content in the contract's form.

    Raises ValueError if it is no transcript.
    """
    if not isinstance(document, dict):
        raise ValueError(f"the {family} result file is not a JSON object")
    fields = Fields(document)
    given = fields.peek("transcripts")
    listed = given if isinstance(given, list) else None
    channels = _channels(listed or [])
    if channels or not given:
        fields.drop("transcripts")
    channels = channels or _whole(fields)
    if not channels and listed is None:
        raise ValueError(f"the {family} result file has no list `transcripts`")
    if not channels and listed:
        raise ValueError(f"none of the {len(listed)} `transcripts` has a text or readable sentences")
    fields.drop("file_url")
    return Transcript(audio=_audio(fields), channels=channels, provider_extra=fields.extra())


def _whole(fields: Fields) -> tuple[Channel, ...]:
    """The file's own text as its only channel; empty if it has no text."""
    if not visible(_plain(fields.peek("text")) or ""):
        return ()
    text = fields.lenient_text("text") or ""
    return (Channel(0, text, text),)


def _audio(fields: Fields) -> AudioProperties:
    # Fun-ASR and Paraformer call it `properties`, Qwen-ASR `audio_info` with other names inside.
    for name in ("properties", "audio_info"):
        raw = fields.peek(name)
        if isinstance(raw, dict):
            fields.drop(name)
            return _audio_properties(Fields(raw))
    return AudioProperties()


def _audio_properties(fields: Fields) -> AudioProperties:
    audio_format, rate_hz = fields.text("audio_format"), fields.integer("original_sampling_rate")
    return AudioProperties(
        format=fields.text("format") if audio_format is None else audio_format,
        sampling_rate_hz=fields.integer("sample_rate") if rate_hz is None else rate_hz,
        duration_ms=fields.integer("original_duration_in_milliseconds"),
        channels=fields.integers("channels"),
        provider_extra=fields.extra(),
    )


def _channels(given: Sequence[JsonValue]) -> tuple[Channel, ...]:
    """All channels if one is readable, else none: an unreadable channel does not hide the others."""
    read = [_channel(raw, position) for position, raw in enumerate(given)]
    is_any_readable = any(is_readable for _, is_readable in read)
    return tuple(channel for channel, _ in read) if is_any_readable else ()


def _channel(raw: JsonValue, position: int) -> tuple[Channel, bool]:
    """The channel, and whether it is readable, even if empty.

    A value that is no object is its text.
    """
    fields = Fields(raw if isinstance(raw, dict) else {"text": raw})
    provider_text = fields.lenient_text("text")
    parsed = read_sentences(fields.peek("sentences"))
    if parsed.timed is not None:
        fields.drop("sentences")
    if parsed.odd:
        fields.keep("sentences", parsed.odd)
    channel_id = fields.integer("channel_id")
    channel = Channel(
        channel_id=position if channel_id is None else channel_id,
        text=parsed.text(provider_text),
        provider_text=provider_text,
        content_duration_ms=fields.integer("content_duration_in_milliseconds"),
        sentences=parsed.timed,
        provider_extra=fields.extra(),
    )
    return channel, parsed.timed is not None or provider_text is not None or bool(visible(channel.text))


@dataclass(frozen=True, slots=True)
class Said:
    """The content of a list of sentences.

    `timed` is None if it has no time at all or is no list.

    `untimed` are the texts of sentences without times, `odd` the other items of a list with times.
    """

    timed: tuple[Sentence, ...] | None
    untimed: Sequence[str] = ()
    odd: list[JsonValue] = field(default_factory=list)

    def text(self, provider_text: str | None) -> str:
        """The whole text, from the sentences or from the provider's own text."""
        if self.timed:
            return whole_text(self.timed, provider_text)
        joined_text, own = joined(self.untimed), provider_text or ""
        return joined_text if len(visible(joined_text)) > len(visible(own)) else own


def read_sentences(given: JsonValue) -> Said:
    """The sentences in a list, in its order; missing times are interpolated."""
    if not isinstance(given, list):
        return Said(None)
    readable = [raw for raw in given if isinstance(raw, dict)]
    texts = [_raw_text(raw) for raw in readable]
    spans = interpolated([_given_span(raw) for raw in readable], list(map(len, texts)), 0, None)
    if not spans:
        return Said(None if given else (), list(map(_raw_text, given)))
    first_id = untrusted_json.whole_number(readable[0].get("sentence_id"))
    numbered = enumerate(zip(readable, spans, texts, strict=True))
    timed = tuple(
        _sentence(raw, place + 1, first_id + place if first_id in (0, 1) else None, span, text)
        for place, (raw, span, text) in numbered
    )
    return Said(timed, odd=[raw for raw in given if not isinstance(raw, dict)])


def _raw_text(raw: JsonValue) -> str:
    """The text of a sentence, or of its words if it has none."""
    if not isinstance(raw, dict):
        return _plain(raw) or ""
    text, words = _plain(raw.get("text")) or "", raw.get("words")
    return text if visible(text) or not isinstance(words, list) else joined(map(_raw_word_text, words))


def _raw_word_text(raw: JsonValue) -> str:
    parts = [raw.get("text"), raw.get("punctuation")] if isinstance(raw, dict) else [raw]
    return "".join(_plain(part) or "" for part in parts)


def _given_span(raw: Mapping[str, JsonValue]) -> GivenSpan:
    """The begin and end of a sentence or word; missing ones come from its words."""
    begin_ms, end_ms = (
        untrusted_json.whole_number(raw.get("begin_time")),
        untrusted_json.whole_number(raw.get("end_time")),
    )
    words = raw.get("words")
    if (begin_ms is not None and end_ms is not None) or not isinstance(words, list):
        return begin_ms, end_ms
    spans = [_given_span(word) for word in words if isinstance(word, dict)]
    if begin_ms is None:
        begin_ms = min((begin for begin, _ in spans if begin is not None), default=None)
    if end_ms is None:
        end_ms = max((end for _, end in spans if end is not None), default=None)
    return begin_ms, end_ms


def _sentence(
    raw: dict[str, JsonValue], sentence_id: int, expected_id: int | None, span: Span, text: str
) -> Sentence:
    fields = Fields(raw)
    begin_ms, end_ms = span
    fields.take_moment("begin_time")
    fields.take_moment("end_time")
    words = _words(fields.peek("words"), span)
    if words is not None:
        fields.drop("words")
    # Some families count from 0: only a number that does not follow from the position is kept.
    if expected_id is not None and fields.peek("sentence_id") == expected_id:
        fields.drop("sentence_id")
    own_text = fields.lenient_text("text") or ""
    return Sentence(
        sentence_id=sentence_id,
        begin_ms=begin_ms,
        end_ms=end_ms,
        text=text if words is None else own_text,
        speaker_id=fields.integer("speaker_id"),
        language=fields.text("language"),
        emotion=fields.text("emotion"),
        words=words,
        provider_extra=fields.extra(),
    )


def _words(given: JsonValue, span: Span) -> tuple[Word, ...] | None:
    """All words, or None if one cannot be read: then the raw list stays in the sentence's extra."""
    if not isinstance(given, list):
        return None
    try:
        return tuple(map(_documented_word, given))
    except (TypeError, ValueError, KeyError):
        return _unusual_words(given, span)


def _documented_word(raw: Any) -> Word:
    """A word in the documented form, read on a fast path: a long transcript has 100,000 words.

    Raises TypeError, ValueError or KeyError for any other form.
    """
    if len(raw) != len(_DOCUMENTED):
        raise ValueError
    begin_ms, end_ms, text, mark = _documented(raw)
    if (
        type(begin_ms) is type(end_ms) is int
        and 0 <= begin_ms <= MAX_WHOLE
        and 0 <= end_ms <= MAX_WHOLE
        and type(text) is type(mark) is str
    ):
        return Word(begin_ms, end_ms, text, mark)
    raise ValueError


def _unusual_words(given: Sequence[JsonValue], span: Span) -> tuple[Word, ...] | None:
    raws = [raw for raw in given if isinstance(raw, dict)]
    sizes = [len(_raw_word_text(raw)) for raw in raws]
    spans = interpolated([_given_span(raw) for raw in raws], sizes, *span)
    if spans is None or len(raws) < len(given):
        return None
    return tuple(_unusual_word(Fields(raw), *times) for raw, times in zip(raws, spans, strict=True))


def _unusual_word(fields: Fields, begin_ms: int, end_ms: int) -> Word:
    fields.take_moment("begin_time")
    fields.take_moment("end_time")
    text, mark = fields.lenient_text("text") or "", fields.lenient_text("punctuation")
    return Word(begin_ms, end_ms, text, mark, fields.extra())
