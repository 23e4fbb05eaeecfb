"""Turns a provider's result file into the normalised transcript, and makes smaller forms of it.

Rules it guarantees:
1. Nothing the provider gave is lost: a field that v1 has no place for, or that has an unexpected form, stays
   in `provider_extra` of its level under the provider's name. (Only a URL's query is removed there, and
   `file_url`, which the result carries itself, is dropped.)
2. Text comes from the sentences or from the channel's own text, which is kept beside it; from words only if a
   sentence has no text.
3. The result can always be encoded as UTF-8.

`core.transcript.result_file` reads a result file, `core.transcript.short_result` the answer of a synchronous
model.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import JsonValue

from service.contract.model_table import Family
from service.contract.transcript import Channel, Transcript, Word
from service.core.transcript.result_file import read_result_file
from service.core.transcript.short_result import SHORT_FAMILIES, read_short_result


def normalise(document: JsonValue, family: Family) -> Transcript:
    """The transcript in a parsed result file or answer of `family`.

    Raises ValueError, with a message free of the file's content, if it is no transcript.
    """
    read = read_short_result if family in SHORT_FAMILIES else read_result_file
    transcript = read(document, family)
    return transcript if _is_encodable(transcript) else read(_encodable(document), family)


def without_words(transcript: Transcript) -> Transcript:
    """The transcript with sentences and their times, but no words."""
    return replace(transcript, channels=tuple(_without_words(channel) for channel in transcript.channels))


def text_only(transcript: Transcript) -> Transcript:
    """The texts of the channels, without sentences and without the provider's unknown fields."""
    channels = tuple(replace(channel, sentences=None, provider_extra=None) for channel in transcript.channels)
    audio = replace(transcript.audio, provider_extra=None)
    return Transcript(audio=audio, channels=channels)


def _without_words(channel: Channel) -> Channel:
    if channel.sentences is None:
        return channel
    return replace(channel, sentences=tuple(replace(sentence, words=None) for sentence in channel.sentences))


def _is_encodable(transcript: Transcript) -> bool:
    try:
        "".join(_strings(transcript)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _strings(transcript: Transcript) -> Iterator[str]:
    yield _dumped(transcript.provider_extra, transcript.audio.provider_extra, transcript.audio.format)
    for channel in transcript.channels:
        yield _dumped(channel.text, channel.provider_text, channel.language, channel.emotion)
        yield _dumped(channel.provider_extra)
        for sentence in channel.sentences or ():
            yield _dumped(sentence.text, sentence.language, sentence.emotion, sentence.provider_extra)
            yield from _word_strings(sentence.words or ())


def _word_strings(words: Iterable[Word]) -> Iterator[str]:
    for word in words:
        yield word.text
        yield word.punctuation or ""
        if word.provider_extra:
            yield _dumped(word.provider_extra)


def _dumped(*values: JsonValue) -> str:
    return json.dumps(values, ensure_ascii=False)


def _encodable(value: JsonValue) -> JsonValue:
    """A copy in which lone surrogates, which UTF-8 cannot encode, are replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {str(_encodable(name)): _encodable(item) for name, item in value.items()}
    return value
