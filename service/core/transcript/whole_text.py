"""The whole text of a channel when the provider's sentences and its text of the channel differ.

Rules it guarantees: the text of a channel has every visible character of the longer of the two. The sentences
to show have every visible character of that text: each sentence in its place, and text that belongs to none
between its neighbours. The text of words is used only for a sentence without text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from service.contract.transcript import Channel, Sentence, Word

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_REACH = 20_000
"""How many characters ahead a sentence is searched for in the channel's text; bounds the cost."""


def visible(text: str) -> str:
    """The text without white space and control characters."""
    return "".join(_CONTROL.sub(" ", text).split())


def text_of(sentence: Sentence) -> str:
    """The sentence's text, or that of its words if it has none."""
    return sentence.text if sentence.words is None or visible(sentence.text) else _worded(sentence.words)


def whole_text(sentences: Sequence[Sentence], provider_text: str | None) -> str:
    """The joined sentences, or the provider's text of the channel if that has more."""
    joined_text = joined(map(text_of, sentences))
    if provider_text is None or joined_text == provider_text:
        return joined_text
    given, own = visible(provider_text), visible(joined_text)
    if given == own:
        # Spaces between joined words are a guess: those in the provider's text are right.
        return joined_text if all(visible(sentence.text) for sentence in sentences) else provider_text.strip()
    return joined_text if _holds(own, given) or len(own) >= len(given) else provider_text.strip()


def is_incomplete(channel: Channel) -> bool:
    """Whether the channel's sentences lack part of the text that the provider gave."""
    if channel.sentences is None:
        return False
    if "sentences" in (channel.provider_extra or {}):
        return True
    joined_text = joined(sentence.text for sentence in channel.sentences)
    return any(
        text is not None and text != joined_text and not _holds(visible(joined_text), visible(text))
        for text in (channel.text, channel.provider_text)
    )


def said_in(channel: Channel) -> Sequence[Sentence]:
    """The channel's sentences, completed to hold all of its text.

    Empty if it has none.
    """
    sentences = channel.sentences or ()
    if not sentences or joined(sentence.text for sentence in sentences) == channel.text:
        return sentences
    worded = [replace(sentence, text=text_of(sentence)) for sentence in sentences]
    own, given = visible("".join(sentence.text for sentence in worded)), visible(channel.text)
    if len(own) >= len(given):
        return worded
    return _woven(worded, channel.text)


def joined(texts: Iterable[str]) -> str:
    """Join the texts of sentences, with spaces where the language needs them."""
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
    """Whether it is a Chinese or Japanese character or full-width mark.

    Korean does use spaces.
    """
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
    """The sentences that are found in the text, and the text between them.

    The text between goes to the sentences that were not found there, or becomes a new sentence.
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
    """The sentences for the `text` that follows `woven`: the `strays` merged into one, or a new sentence."""
    if not visible(text):
        return strays
    if not strays:
        # Its end is unknown: it is shown as long as it takes to read.
        begin_ms = woven[-1].end_ms if woven else 0
        return [Sentence(0, begin_ms, begin_ms, text.strip())]
    words = tuple(word for stray in strays for word in stray.words or ())
    end_ms = max(stray.end_ms for stray in strays)
    return [replace(strays[0], end_ms=end_ms, text=text.strip(), words=words or None)]
