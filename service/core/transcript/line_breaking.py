"""Break text into lines.

Where a break is possible, how wide the text is, and which break is best.

Unicode's rules define where a line may end (UAX 14), what a reader sees as one character (UAX 29), and how
many columns it takes. Two of Unicode's tailorings are used: Korean breaks at its spaces, and scripts without
spaces between words (Thai, Lao, Khmer, Burmese) break between the provider's words. Text that is still wider
than a line is broken between the characters that a reader sees.

A line has at most `LINE_COLUMNS` columns. Characters of Chinese, Japanese and Korean take two.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from unicode_segmentation_rs import graphemes, line_break_units, text_width

LINE_COLUMNS = 42
"""The limit of subtitle guidelines for Latin script, and what a small screen shows in one line."""

_GAP = re.compile("[\\s\x00-\x1f\x7f-\x9f]+")
_NO_BREAK_SPACES = frozenset("\u00a0\u2007\u202f")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc]")
_UNSPACED_WORDS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf]"
)
"""The scripts of Unicode's line breaking class SA: their words have no spaces between them."""
_WORD_REACH = 64
"""How many characters after the last word the next one is searched for."""
_CODE_POINTS = LINE_COLUMNS // 3
"""Code points that always fit into a line: none takes more than three columns."""

_SENTENCE_ENDS, _CLAUSE_ENDS = frozenset(".?!。？！…؟۔।"), frozenset(",;:，、；：،؛")
_SENTENCE_BONUS, _CLAUSE_BONUS, _SPACE_BONUS = 0.6, 0.4, 0.2
"""Imbalance, as a fraction of the whole, that a break at such a place outweighs."""


class Piece(NamedTuple):
    """A part of a text that stays in one line: never wider than a line, never blank."""

    text: str
    columns: int
    after_space: bool
    """Whether a space precedes it, unless it begins a line."""


def pieces(text: str, words: Iterable[str] = ()) -> list[Piece]:
    """Split the text at its possible breaks.

    White space and control characters only separate.

    `words` are the words of the text, in order; text that they do not cover is split without them.
    """
    found: list[Piece] = []
    shown, after_space = plain(text), True
    is_ascii = shown.isascii()
    for unit in _units(shown, words):
        part = unit.rstrip(" ")
        columns = len(part) if is_ascii else text_width(part)
        if columns <= LINE_COLUMNS:
            found.append(Piece(part, columns, after_space))
        else:
            found.extend(_narrow(part, after_space))
        after_space = len(part) < len(unit)
    return found


def plain(text: str) -> str:
    """The text in one line, with single spaces and without control characters."""
    # The common case: the only printable white space is the space itself.
    if text.isprintable() and "  " not in text:
        return text.strip(" ")
    return _GAP.sub(_space, text).strip()


def columns_of(text: str) -> int:
    """The width of plain text in columns."""
    return len(text) if text.isascii() else text_width(text)


def joined(parts: Iterable[Piece]) -> str:
    """Join the pieces into one line."""
    return "".join(f" {part.text}" if part.after_space else part.text for part in parts).strip(" ")


def ends(parts: Sequence[Piece]) -> list[int]:
    """Columns up to the end of each piece, with the spaces before it: `ends[j] - ends[i]` over a range."""
    return [0, *accumulate(part.columns + part.after_space for part in parts)]


def fit(parts: Sequence[Piece]) -> bool:
    """Whether the pieces fit into two lines."""
    upto = ends(parts)
    return upto[-1] <= 2 * (LINE_COLUMNS + 1) and bool(_breaks(parts, upto))


def two_lines(parts: Sequence[Piece]) -> tuple[str, ...]:
    """The pieces, which must `fit`, as one line, or as two of similar length broken at a good place."""
    upto = ends(parts)
    breaks = _breaks(parts, upto)
    if len(parts) in breaks:
        return (joined(parts),)
    best = min(breaks, key=lambda at: imbalance(parts, upto, 0, len(parts), at))
    return (joined(parts[:best]), joined(parts[best:]))


def imbalance(parts: Sequence[Piece], upto: Sequence[int], first: int, last: int, at: int) -> float:
    """How bad it is to break a range of pieces before the piece `at`: less is better."""
    before, behind = upto[at] - upto[first], upto[last] - upto[at]
    mark = parts[at - 1].text[-1]
    bonus = _SENTENCE_BONUS if mark in _SENTENCE_ENDS else _CLAUSE_BONUS if mark in _CLAUSE_ENDS else 0.0
    if parts[at].after_space:
        bonus += _SPACE_BONUS
    return abs(before - behind) / max(1, before + behind) - bonus


def _breaks(parts: Sequence[Piece], upto: Sequence[int]) -> list[int]:
    """Where a second line may begin; `len(parts)` means one line only."""
    return [
        at
        for at in range(1, len(parts) + 1)
        if upto[at] - parts[0].after_space <= LINE_COLUMNS
        and (at == len(parts) or upto[-1] - upto[at] - parts[at].after_space <= LINE_COLUMNS)
    ]


def _space(gap: re.Match[str]) -> str:
    return gap[0] if gap[0] in _NO_BREAK_SPACES else " "


def _units(text: str, words: Iterable[str]) -> Iterable[str]:
    """The parts of plain text between which a line may end, each with its trailing space."""
    # By Unicode's tailoring for Korean with spaces, Hangul breaks as letters do.
    units = line_break_units(_HANGUL.sub("x", text))
    edges = [0, *accumulate(map(len, units))]
    if _UNSPACED_WORDS.search(text):
        edges = _with_words(text, edges, _word_edges(text, words))
    return (text[begin:end] for begin, end in pairwise(edges))


def _word_edges(text: str, words: Iterable[str]) -> frozenset[int]:
    edges, at = set[int](), 0
    for word in map(plain, words):
        found = text.find(word, at, at + len(word) + _WORD_REACH)
        if word and found >= 0:
            at = found + len(word)
            edges.update((found, at))
    return frozenset(edges)


def _with_words(text: str, edges: Iterable[int], word_edges: frozenset[int]) -> list[int]:
    """The edges, plus word edges within scripts that have no spaces between words."""
    clusters = accumulate(map(len, graphemes(text, is_extended=True)))
    within = (at for at in clusters if at in word_edges and at < len(text) and _is_within_script(text, at))
    return sorted({*edges, *within})


def _is_within_script(text: str, at: int) -> bool:
    return bool(_UNSPACED_WORDS.match(text, at - 1) and _UNSPACED_WORDS.match(text, at))


def _narrow(part: str, after_space: bool) -> Iterator[Piece]:
    """Split a part that is wider than a line into words, and a word that is too wide into characters."""
    for word in part.split():
        whole = columns_of(word) <= LINE_COLUMNS
        for character in (word,) if whole else graphemes(word, is_extended=True):
            for text in _narrowed(character):
                yield Piece(text, columns_of(text), after_space)
                after_space = False
        after_space = True


def _narrowed(character: str) -> Iterator[str]:
    """The character, or runs of its code points if it is wider than a line."""
    if columns_of(character) <= LINE_COLUMNS:
        yield character
        return
    for at in range(0, len(character), _CODE_POINTS):
        yield character[at : at + _CODE_POINTS]
