"""How text is broken into lines: where it may be, how wide it is, and where it is best.

A line has at most `LINE_COLUMNS` columns. Signs of Chinese, Japanese and Korean take two, so that theirs are
half as many; between Chinese and Japanese ones, which have no spaces, a line may end anywhere but before a
closing mark and behind an opening one.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

LINE_COLUMNS = 42
"""What subtitle guidelines agree on for Latin script, and what a small screen shows in one line."""

_UNSPACED = "\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0010ffff"
"""Chinese and Japanese signs and their full-width marks; Korean puts spaces between words."""
_OPENING = "「『（［｛〈《【〔“‘"
_CLOSING = (
    "、。，．：；？！」』）］｝〉》】〕”’…‥・ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ"
    "\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
)
_PIECE = re.compile(f"[{_OPENING}]*(?:[{_UNSPACED}]|[^{_UNSPACED}]+)[{_CLOSING}]*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")

_SENTENCE_ENDS, _CLAUSE_ENDS = frozenset(".?!。？！…"), frozenset(",;:，、；：")
_SENTENCE_BONUS, _CLAUSE_BONUS = 0.6, 0.4
"""How much imbalance, as a part of the whole, a break behind such a mark is worth."""


class Piece(NamedTuple):
    """A part of a text that stands in one line: never wider than a line, never blank."""

    text: str
    columns: int
    after_space: bool
    """Whether a space stands before it, unless it begins a line."""


def pieces(text: str) -> list[Piece]:
    """The text between its possible breaks; white space and control characters only separate."""
    found: list[Piece] = []
    for word in _words(text):
        if word.isascii() and len(word) <= LINE_COLUMNS:
            found.append(Piece(word, len(word), True))
        else:
            found.extend(_parts(word))
    return found


def plain(text: str) -> str:
    """The text in one line, with single spaces and without control characters."""
    return " ".join(_words(text))


def joined(parts: Iterable[Piece]) -> str:
    """The pieces as one line."""
    return "".join(f" {part.text}" if part.after_space else part.text for part in parts).strip(" ")


def ends(parts: Sequence[Piece]) -> list[int]:
    """Columns up to the end of each piece, with the spaces before it: `ends[j] - ends[i]` over a range."""
    return [0, *accumulate(part.columns + part.after_space for part in parts)]


def fit(parts: Sequence[Piece]) -> bool:
    """Whether the pieces fit into two lines."""
    upto = ends(parts)
    return upto[-1] <= 2 * (LINE_COLUMNS + 1) and bool(_breaks(parts, upto))


def two_lines(parts: Sequence[Piece]) -> tuple[str, ...]:
    """The pieces, which must `fit`, as one line or two that are nearly as long and end where sense does."""
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
    return abs(before - behind) / (before + behind) - bonus


def _breaks(parts: Sequence[Piece], upto: Sequence[int]) -> list[int]:
    """Where a second line may begin; the number of pieces stands for one line alone."""
    return [
        at
        for at in range(1, len(parts) + 1)
        if upto[at] - parts[0].after_space <= LINE_COLUMNS
        and (at == len(parts) or upto[-1] - upto[at] - parts[at].after_space <= LINE_COLUMNS)
    ]


def _words(text: str) -> list[str]:
    return _CONTROL.sub(" ", text).split()


def _parts(word: str) -> Iterator[Piece]:
    after_space = True
    for match in _PIECE.finditer(word):
        for part, columns in _cut(match.group()):
            yield Piece(part, columns, after_space)
            after_space = False


def _cut(part: str) -> Iterator[tuple[str, int]]:
    """The part itself, or slices of it where it is wider than a line."""
    begin = columns = 0
    for at, char in enumerate(part):
        wide = _columns(char)
        if columns + wide > LINE_COLUMNS:
            cut = _before_marks(part, begin, at)
            yield part[begin:cut], sum(map(_columns, part[begin:cut]))
            columns = sum(map(_columns, part[cut:at]))
            begin = cut
        columns += wide
    yield part[begin:], columns


def _before_marks(part: str, begin: int, at: int) -> int:
    """Where to cut so that an accent or vowel sign stays with its letter, if it has one near."""
    for cut in range(at, max(begin, at - 8), -1):
        if not unicodedata.category(part[cut]).startswith("M"):
            return cut
    return at


def _columns(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
