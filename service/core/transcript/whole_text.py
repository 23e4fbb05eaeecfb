"""All that was said in a channel, where the provider's sentences and its own text of the channel differ.

Rules it guarantees: the text of a channel has every visible character of the fuller of both; the sentences to
show have every visible character of that text, each sentence where it has its place and what belongs to
none between its neighbours; nothing here reads text of words where a sentence has one of its own.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from service.contract.transcript import Channel, Sentence, Word

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_REACH = 20_000
"""So many characters ahead a sentence is looked for in the channel's text, so that odd ones cost little."""


def visible(text: str) -> str:
    """The text without white space and control characters."""
    return "".join(_CONTROL.sub(" ", text).split())


def text_of(sentence: Sentence) -> str:
    """The sentence's text, or that of its words where it has none."""
    return sentence.text if sentence.words is None or visible(sentence.text) else _worded(sentence.words)


def whole_text(sentences: Sequence[Sentence], provider_text: str | None) -> str:
    """What was said: the sentences, joined, or the provider's own text of the channel if that has more."""
    said = joined(map(text_of, sentences))
    if provider_text is None or said == provider_text:
        return said
    given, own = visible(provider_text), visible(said)
    if given == own:
        # Words are put together by guess: the provider's text has its spaces where they belong.
        return said if all(visible(sentence.text) for sentence in sentences) else provider_text.strip()
    return said if _holds(own, given) or len(own) >= len(given) else provider_text.strip()


def is_incomplete(channel: Channel) -> bool:
    """Whether the channel's sentences lack a part of what the provider gave as text."""
    if channel.sentences is None:
        return False
    if "sentences" in (channel.provider_extra or {}):
        return True
    said = joined(sentence.text for sentence in channel.sentences)
    return any(
        text is not None and text != said and not _holds(visible(said), visible(text))
        for text in (channel.text, channel.provider_text)
    )


def said_in(channel: Channel) -> Sequence[Sentence]:
    """The channel's sentences with all of its text; none where it has none."""
    sentences = channel.sentences or ()
    if not sentences or joined(sentence.text for sentence in sentences) == channel.text:
        return sentences
    worded = [replace(sentence, text=text_of(sentence)) for sentence in sentences]
    own, given = visible("".join(sentence.text for sentence in worded)), visible(channel.text)
    if len(own) >= len(given):
        return worded
    return _woven(worded, channel.text)


def joined(texts: Iterable[str]) -> str:
    """The texts of sentences as one, with spaces where the language puts them."""
    parts: list[str] = []
    for text in texts:
        if parts and text and needs_space(parts[-1][-1], text[0]):
            parts.append(" ")
        if text:
            parts.append(text)
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


def _worded(words: Iterable[Word]) -> str:
    return joined(f"{word.text}{word.punctuation or ''}" for word in words)


def _holds(whole: str, part: str) -> bool:
    """Whether all characters of `part` are in `whole`, in their order."""
    if part in whole:
        return True
    left = iter(whole)
    return all(char in left for char in part)


def _woven(sentences: Sequence[Sentence], text: str) -> list[Sentence]:
    """The sentences that are found in the text, and what stands between them.

    That is the text of the sentences that are not found there, or a sentence of its own.
    """
    signs = visible(text)
    places = [at for at, char in enumerate(text) if not char.isspace() and not _CONTROL.match(char)]
    places.append(len(text))
    woven: list[Sentence] = []
    strays: list[Sentence] = []
    end = 0
    for sentence in sentences:
        own = visible(sentence.text)
        begin = signs.find(own, end, end + len(own) + _REACH) if own else -1
        if begin < 0:
            strays.append(sentence)
            continue
        woven += _between(woven, strays, text[places[end] : places[begin]])
        woven.append(sentence)
        strays, end = [], begin + len(own)
    return woven + _between(woven, strays, text[places[end] :])


def _between(woven: Sequence[Sentence], strays: list[Sentence], text: str) -> list[Sentence]:
    """What stands for `text` behind the sentences that are `woven`: all of the `strays` as one, if any."""
    if not visible(text):
        return strays
    if not strays:
        # When it ends nothing tells: it is shown as long as it takes to be read.
        begin_ms = woven[-1].end_ms if woven else 0
        return [Sentence(0, begin_ms, begin_ms, text.strip())]
    words = tuple(word for stray in strays for word in stray.words or ())
    end_ms = max(stray.end_ms for stray in strays)
    return [replace(strays[0], end_ms=end_ms, text=text.strip(), words=words or None)]
