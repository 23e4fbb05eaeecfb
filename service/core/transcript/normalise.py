"""Turns a provider's result file into the normalised transcript, and makes smaller forms of it.

Rules it guarantees:
1. Nothing the provider gave is lost: a field that v1 has no place for, or that has an unexpected form, stays
   in `provider_extra` of its level under the provider's name. (Only a URL's query is removed there, and
   `file_url`, which the result carries itself, is dropped.)
2. Text comes from the sentences or from the channel's own text, which is kept beside it; from words only if a
   sentence has no text.
3. The result can always be encoded as UTF-8: `untrusted_json.parse_json` guarantees it for a result file, and
   an answer that came as a stream may hold a half of a surrogate pair, which is replaced here.

`core.transcript.result_file` reads a result file, `core.transcript.short_result` the answer of a synchronous
model.
"""

from dataclasses import replace

from pydantic import JsonValue

from service.contract.model_table import Family
from service.contract.transcript import Channel, Transcript
from service.contract.untrusted_json import encodable
from service.core.transcript.result_file import read_result_file
from service.core.transcript.short_result import SHORT_FAMILIES, read_short_result


def normalise(document: JsonValue, family: Family) -> Transcript:
    """The transcript in a parsed result file or answer of `family`.

    Raises ValueError, with a message free of the file's content, if it is no transcript.
    """
    if family in SHORT_FAMILIES:
        return read_short_result(encodable(document), family)
    return read_result_file(document, family)


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
