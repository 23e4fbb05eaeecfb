"""Reads the JSON behind a provider's `transcription_url`; part of `core.transcript`, which states the rules.

Known forms: Fun-ASR and Paraformer (`properties`), Qwen-ASR (`audio_info`, ids from 0).
"""

from collections.abc import Sequence

from pydantic import JsonValue

from service.contract import untrusted
from service.contract.models import Family
from service.contract.scrub import without_queries
from service.contract.speech import AudioProperties, Channel, Sentence, Transcript, Word


class Fields:
    """A vendor object whose known fields are taken out one by one; what is left is its extra.

    A known field of an unexpected form is not taken, so it ends in the extra.
    """

    def __init__(self, raw: dict[str, JsonValue]) -> None:
        self._left = dict(raw)

    def text(self, name: str) -> str | None:
        """The string under `name`, None where it is null or not there."""
        value = self._left.get(name)
        if value is None or isinstance(value, str):
            self.drop(name)
            return value
        return None

    def integer(self, name: str) -> int | None:
        """The whole number under `name`."""
        value = self._left.get(name)
        number = untrusted.whole_number(value)
        if value is None or number is not None:
            self.drop(name)
        return number

    def integers(self, name: str) -> tuple[int, ...] | None:
        """The list of whole numbers under `name`."""
        value = self._left.get(name)
        if not isinstance(value, list):
            return None
        numbers = tuple(number for item in value if (number := untrusted.whole_number(item)) is not None)
        if len(numbers) != len(value):
            return None
        self.drop(name)
        return numbers

    def peek(self, name: str) -> JsonValue:
        """What is under `name`, left there."""
        return self._left.get(name)

    def drop(self, name: str) -> None:
        """Take `name` out."""
        self._left.pop(name, None)

    def extra(self) -> dict[str, JsonValue] | None:
        """What is left, queries of URLs cut; None where nothing is."""
        return {name: without_queries(value) for name, value in self._left.items()} or None


def read_result_file(document: JsonValue, family: Family) -> Transcript:
    """The file's content in the contract's form. Raises ValueError when it is no transcript."""
    if not isinstance(document, dict):
        raise ValueError(f"the {family} result file is not a JSON object")
    fields = Fields(document)
    transcripts = fields.peek("transcripts")
    if not isinstance(transcripts, list):
        raise ValueError(f"the {family} result file has no list `transcripts`")
    fields.drop("transcripts")
    fields.drop("file_url")
    return Transcript(
        audio=_audio(fields),
        channels=tuple(_channel(raw, position) for position, raw in enumerate(transcripts)),
        provider_extra=fields.extra(),
    )


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


def _channel(raw: JsonValue, position: int) -> Channel:
    if not isinstance(raw, dict):
        raise ValueError(f"transcripts[{position}] is not an object")
    fields = Fields(raw)
    provider_text = fields.text("text")
    given = fields.peek("sentences")
    sentences = read_sentences(given)
    if sentences is not None:
        fields.drop("sentences")
    elif provider_text is None:
        raise ValueError(f"transcripts[{position}] has neither a text nor readable sentences")
    channel_id = fields.integer("channel_id")
    return Channel(
        channel_id=position if channel_id is None else channel_id,
        text=joined(sentences) if sentences else provider_text or "",
        provider_text=provider_text,
        content_duration_ms=fields.integer("content_duration_in_milliseconds"),
        sentences=sentences,
        provider_extra=fields.extra(),
    )


def read_sentences(given: JsonValue) -> tuple[Sentence, ...] | None:
    """All of them, or None where one cannot be read: then the raw list stays the channel's extra."""
    if not isinstance(given, list):
        return None
    sentences = []
    first_id = (
        untrusted.whole_number(given[0].get("sentence_id")) if given and isinstance(given[0], dict) else None
    )
    for position, raw in enumerate(given):
        expected_id = first_id + position if first_id in (0, 1) else None
        sentence = _sentence(raw, position + 1, expected_id) if isinstance(raw, dict) else None
        if sentence is None:
            return None
        sentences.append(sentence)
    return tuple(sentences)


def _sentence(raw: dict[str, JsonValue], sentence_id: int, expected_id: int | None) -> Sentence | None:
    fields = Fields(raw)
    begin_ms, end_ms = fields.integer("begin_time"), fields.integer("end_time")
    if begin_ms is None or end_ms is None:
        return None
    words = _words(fields.peek("words"))
    if words is not None:
        fields.drop("words")
    # Some families count from 0: only a number that the position does not tell is worth keeping.
    if expected_id is not None and fields.peek("sentence_id") == expected_id:
        fields.drop("sentence_id")
    return Sentence(
        sentence_id=sentence_id,
        begin_ms=begin_ms,
        end_ms=end_ms,
        text=fields.text("text") or "",
        speaker_id=fields.integer("speaker_id"),
        language=fields.text("language"),
        emotion=fields.text("emotion"),
        words=words,
        provider_extra=fields.extra(),
    )


def _words(given: JsonValue) -> tuple[Word, ...] | None:
    """All of them, or None where one cannot be read: then the raw list stays the sentence's extra."""
    if not isinstance(given, list):
        return None
    words = [_word(raw) for raw in given]
    readable = tuple(word for word in words if word is not None)
    return readable if len(readable) == len(given) else None


def _word(raw: JsonValue) -> Word | None:
    if not isinstance(raw, dict):
        return None
    # The documented form first and without detours: a long transcript has 100,000 of them.
    begin_ms, end_ms = raw.get("begin_time"), raw.get("end_time")
    text, mark = raw.get("text"), raw.get("punctuation")
    if (
        type(begin_ms) is int
        and type(end_ms) is int
        and 0 <= begin_ms <= untrusted.MAX_WHOLE
        and 0 <= end_ms <= untrusted.MAX_WHOLE
        and type(text) is str
        and type(mark) is str
        and len(raw) == 4
    ):
        return Word(begin_ms, end_ms, text, mark)
    return _unusual_word(Fields(raw))


def _unusual_word(fields: Fields) -> Word | None:
    begin_ms, end_ms = fields.integer("begin_time"), fields.integer("end_time")
    if begin_ms is None or end_ms is None:
        return None
    text, mark = fields.text("text") or "", fields.text("punctuation")
    return Word(begin_ms, end_ms, text, mark, fields.extra())


def joined(sentences: Sequence[Sentence]) -> str:
    """The text of all sentences, with spaces where the language puts them."""
    parts: list[str] = []
    for sentence in sentences:
        if parts and sentence.text and needs_space(parts[-1][-1], sentence.text[0]):
            parts.append(" ")
        if sentence.text:
            parts.append(sentence.text)
    return "".join(parts).strip()


def needs_space(left: str, right: str) -> bool:
    """Whether a space belongs between two characters that end and begin sentences."""
    return not (left.isspace() or right.isspace() or _is_unspaced(left) or _is_unspaced(right))


def _is_unspaced(char: str) -> bool:
    """Chinese and Japanese signs and their full-width marks; Korean puts spaces between sentences."""
    return (
        "\u3000" <= char <= "\u30ff"
        or "\u3400" <= char <= "\u9fff"
        or "\uf900" <= char <= "\ufaff"
        or "\uff00" <= char <= "\uffef"
        or char >= "\U00020000"
    )
