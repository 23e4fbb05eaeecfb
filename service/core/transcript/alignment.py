"""Align the pieces of a sentence with its words, to find when each piece is spoken.

The words may differ from the text and may lack its punctuation. So only pronounced characters count on both
sides, and those of the words are scaled to the length of the text. Only the order is assumed; where words and
text agree, the times are the words' own. Without usable words a sentence's time is divided evenly.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

from service.contract.transcript import Sentence, Word
from service.core.transcript.line_breaking import Piece

Span = tuple[int, int]
_SILENT = ("P", "M", "Z", "Cc", "Cf", "Cs")
"""Unicode categories of characters that take no time: punctuation, accents, spaces, controls."""


def piece_spans(parts: Sequence[Piece], sentence: Sentence) -> list[Span]:
    """Begin and end of each piece in milliseconds, in order and within the sentence's time."""
    last_ms, spans = sentence.begin_ms, []
    for spoken_ms, silent_ms in _spoken(parts, sentence):
        begin_ms = min(max(last_ms, spoken_ms), sentence.end_ms)
        last_ms = min(max(begin_ms, silent_ms), sentence.end_ms)
        spans.append((begin_ms, last_ms))
    return spans


def _spoken(parts: Sequence[Piece], sentence: Sentence) -> Iterator[Span]:
    sizes = [_pronounced(part.text) for part in parts]
    words = _usable_words(sentence)
    if any(sizes) and words:
        yield from _aligned(sizes, words, [_pronounced(word.text) for word in words])
    else:
        whole = Word(sentence.begin_ms, sentence.end_ms, sentence.text)
        yield from _aligned([len(part.text) for part in parts], [whole], [1])


def _aligned(sizes: Sequence[int], words: Sequence[Word], word_sizes: Sequence[int]) -> Iterator[Span]:
    """`sizes` are those of the pieces; neither `sizes` nor `word_sizes` are all zero."""
    in_text = sum(sizes)
    lengths = [size * in_text for size in word_sizes]
    marks = [0, *accumulate(lengths)]
    stretch = marks[-1] // in_text

    def at(word: int, position: int) -> int:
        spoken = words[word]
        return spoken.begin_ms + (position - marks[word]) * (spoken.end_ms - spoken.begin_ms) // lengths[word]

    end = 0
    for size in sizes:
        begin, end = end, end + size * stretch
        # Lone punctuation takes no time: it gets the time of the letters beside it.
        first, last = min(bisect_right(marks, begin), len(words)), max(bisect_left(marks, end), 1)
        yield at(first - 1, begin), at(last - 1, end)


def _usable_words(sentence: Sentence) -> Sequence[Word]:
    """The sentence's words, each with a duration.

    Words that begin together may be merged.

    Empty if their times are out of order, do not overlap the sentence's, or are all the same.
    """
    words = [word for word in sentence.words or () if _pronounced(word.text)]
    if not words or words[0].begin_ms >= sentence.end_ms or words[-1].end_ms <= sentence.begin_ms:
        return ()
    if any(word.end_ms < word.begin_ms for word in words):
        return ()
    if any(after.begin_ms < before.begin_ms for before, after in pairwise(words)):
        return ()
    if all(word.begin_ms < word.end_ms for word in words):
        return words
    return _with_extent(words, sentence.end_ms)


def _with_extent(words: Sequence[Word], end_ms: int) -> Sequence[Word]:
    """Words without a duration last until the next one begins, the last one until the sentence ends."""
    together: list[Word] = []
    for word in words:
        if together and together[-1].begin_ms == word.begin_ms:
            last = together[-1]
            together[-1] = Word(last.begin_ms, max(last.end_ms, word.end_ms), last.text + word.text)
        else:
            together.append(word)
    if len(together) == 1 and together[0].begin_ms == together[0].end_ms:
        return ()
    following = [word.begin_ms for word in together[1:]] + [end_ms]
    return [
        Word(word.begin_ms, max(word.end_ms, next_ms), word.text) if word.begin_ms == word.end_ms else word
        for word, next_ms in zip(together, following, strict=True)
    ]


def _pronounced(text: str) -> int:
    return sum(map(_is_pronounced, text))


@lru_cache(4096)
def _is_pronounced(char: str) -> bool:
    return not unicodedata.category(char).startswith(_SILENT)
