"""Reads the transcript in a synchronous model's answer.

`core.transcript.normalise` states the rules.

Known forms: a chat message with annotations (qwen3-asr-flash), sentences with times (the models for short
audio), and prose (Omni, as `provider.wire.omni` joins a stream).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pydantic import JsonValue

from service.contract.model_table import Family
from service.contract.transcript import AudioProperties, Channel, Transcript
from service.core.transcript.chat_content import text_and_rest
from service.core.transcript.result_file import Fields, read_sentences
from service.core.transcript.whole_text import visible

CUT_OFF = "length"
"""The `finish_reason` of a text that ended at the model's output limit."""


def read_short_result(document: JsonValue, family: Family) -> Transcript:
    """The answer's transcript in the contract's form.

    Raises ValueError if it is no transcript.
    """
    if not isinstance(document, dict):
        raise ValueError(f"the answer of {family} is not a JSON object")
    return _READERS[family](document)


def is_cut_off(transcript: Transcript) -> bool:
    """Whether the model stopped before its text was complete."""
    return (transcript.provider_extra or {}).get("finish_reason") == CUT_OFF


def _chat(document: dict[str, JsonValue]) -> Transcript:
    """Read `choices[0].message`: pieces of text, and annotations with language and emotion."""
    output = Fields(document)
    choices = output.peek("choices")
    choice = Fields(_first(choices, "the answer has no list `choices`"))
    output.drop("choices")
    if isinstance(choices, list) and choices[1:]:
        output.keep("choices", choices[1:])
    message = choice.peek("message")
    if not isinstance(message, dict):
        raise ValueError("the answer's choice has no message")
    choice.drop("message")
    fields = Fields(message)
    text = _content(fields)
    fields.drop("role")
    annotation = _annotation(fields)
    if choice.peek("finish_reason") == "stop":
        choice.drop("finish_reason")
    channel = Channel(
        channel_id=0,
        text=text.strip(),
        provider_text=text,
        language=annotation.text("language"),
        emotion=annotation.text("emotion"),
        provider_extra=_merged(fields.extra(), annotation.extra()),
    )
    return _of(channel, _merged(output.extra(), choice.extra()))


def _annotation(fields: Fields) -> Fields:
    """Take the only annotation; annotations of another form stay in the extra."""
    annotations = fields.peek("annotations")
    if isinstance(annotations, list) and len(annotations) == 1 and isinstance(annotations[0], dict):
        fields.drop("annotations")
        found = Fields(annotations[0])
        found.drop("type")
        return found
    return Fields({})


def _timed(document: dict[str, JsonValue]) -> Transcript:
    """Read `sentence`, one or a list, and `text`.

    One source shows both nested once more in `output`.

    With speaker diarization, `sentences` holds all of them, and `sentence` is the last.
    """
    nested = document.get("output")
    output = Fields(nested if isinstance(nested, dict) else document)
    every = output.peek("sentences")
    given = every if isinstance(every, list) and every else output.peek("sentence")
    raw = [given] if isinstance(given, dict) else [] if given is None else given
    plain = [_without_marks(each) for each in raw] if isinstance(raw, list) else None
    parsed = read_sentences(plain)
    provider_text = output.lenient_text("text")
    if provider_text is None and not parsed.timed and not any(map(visible, parsed.untimed)):
        raise ValueError("the answer has neither a text nor readable sentences")
    if parsed.timed is not None:
        output.drop("sentence")
        if given is every:
            output.drop("sentences")
    text = parsed.text(provider_text)
    odd = Fields({"sentences": parsed.odd} if parsed.odd else {}).extra()
    sentences = None if text and not parsed.timed else parsed.timed
    return _of(Channel(0, text, provider_text, sentences=sentences, provider_extra=odd), output.extra())


def _without_marks(sentence: JsonValue) -> JsonValue:
    """Drop the marks of a real-time stream, and a word's speaker if it is the sentence's."""
    if not isinstance(sentence, dict):
        return sentence
    marks = ("sentence_end", "channel_id")
    kept = {name: value for name, value in sentence.items() if name not in marks}
    words = kept.get("words")
    if isinstance(words, list):
        kept["words"] = [_without_fixed(word, sentence.get("speaker_id")) for word in words]
    return kept


def _without_fixed(word: JsonValue, speaker: JsonValue) -> JsonValue:
    if not isinstance(word, dict):
        return word
    dropped = ("fixed", "speaker_id") if word.get("speaker_id") in (None, speaker) else ("fixed",)
    return {name: value for name, value in word.items() if name not in dropped}


def _prose(document: dict[str, JsonValue]) -> Transcript:
    output = Fields(document)
    text = output.text("text")
    if text is None:
        raise ValueError("the answer has no text")
    if output.peek("finish_reason") == "stop":
        output.drop("finish_reason")
    return _of(Channel(0, text.strip(), text), output.extra())


def _of(channel: Channel, extra: dict[str, JsonValue] | None) -> Transcript:
    return Transcript(AudioProperties(), (channel,), extra)


def _first(items: JsonValue, complaint: str) -> dict[str, JsonValue]:
    if not isinstance(items, list) or not items or not isinstance(items[0], dict):
        raise ValueError(complaint)
    return items[0]


def _content(fields: Fields) -> str:
    """Take the text of a message's content.

    An empty list is silence, and other parts stay in the extra.
    """
    content = fields.peek("content")
    text, rest = text_and_rest(content)
    if not text and not isinstance(content, str | list):
        raise ValueError("the answer's message has no content")
    fields.drop("content")
    if rest:
        fields.keep("content", rest)
    return text


def _merged(
    first: dict[str, JsonValue] | None, second: dict[str, JsonValue] | None
) -> dict[str, JsonValue] | None:
    return {**(first or {}), **(second or {})} or None


_READERS: Mapping[Family, Callable[[dict[str, JsonValue]], Transcript]] = MappingProxyType(
    {Family.QWEN_ASR: _chat, Family.SHORT_AUDIO: _timed, Family.OMNI: _prose}
)
SHORT_FAMILIES = frozenset(_READERS)
"""Families of synchronous models."""
