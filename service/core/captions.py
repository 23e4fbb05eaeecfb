"""Cuts a transcript into captions: what is shown, from when to when, in at most two lines.

Rules it guarantees:
1. Every word of every sentence is shown, in order. The text is the sentences'; the provider's words time it.
2. Captions are in the order of their beginnings, over all channels; no time is negative, every end comes
   after its beginning, and none stays longer than `MAX_MS`.
3. Who speaks is said where it changes, if the transcript knows speakers or has several channels.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, zip_longest
from operator import attrgetter

from service.contract.speech import Channel, Sentence, Transcript, Word
from service.core.lines import LINE_COLUMNS, Piece, ends, fit, imbalance, pieces, two_lines

MAX_MS = 7_000
MIN_MS = 1_000
"""Shorter captions stay that long, if nothing comes after them: a glance needs it."""
PAUSE_MS = 700
_PAUSE_BONUS = 0.5
_WINDOW = 20
"""A cut is looked for among so many pieces on either side of the middle."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One sentence and the name of who says it, empty where that is not told."""

    label: str
    sentence: Sentence


@dataclass(frozen=True, slots=True)
class Caption:
    """What is shown from `begin_ms` to `end_ms`."""

    begin_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    begin_ms: int
    end_ms: int
    label: str
    parts: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class _Timed:
    """A sentence in pieces; `begins`, `ends` are their times, `upto` their columns."""

    parts: Sequence[Piece]
    begins: Sequence[int]
    ends: Sequence[int]
    upto: Sequence[int]


def has_times(transcript: Transcript) -> bool:
    """Whether all that was said has times, so that captions can be made."""
    return all(channel.sentences or not channel.text.strip() for channel in transcript.channels)


def turns(transcript: Transcript) -> list[Turn]:
    """The sentences of all channels in the order in which they begin."""
    said = [turn for channel in transcript.channels for turn in _turns(transcript, channel)]
    return sorted(said, key=_begin_ms)


def track(transcript: Transcript, channel: Channel) -> str:
    """The name of a channel, where there are several to tell apart."""
    return f"Channel {channel.channel_id}" if len(transcript.channels) > 1 else ""


def _begin_ms(turn: Turn) -> int:
    return turn.sentence.begin_ms


def _turns(transcript: Transcript, channel: Channel) -> Iterator[Turn]:
    name, sentences = track(transcript, channel), channel.sentences or ()
    if all(sentence.speaker_id is None for sentence in sentences):
        yield from (Turn(name, sentence) for sentence in sentences)
        return
    for sentence in sentences:
        voice = "unknown speaker" if sentence.speaker_id is None else f"speaker {sentence.speaker_id}"
        yield Turn(f"{name}, {voice}" if name else voice.capitalize(), sentence)


def captions(transcript: Transcript) -> list[Caption]:
    """The captions of a transcript that `has_times`."""
    drafts = [draft for channel in transcript.channels for draft in _in_order(transcript, channel)]
    drafts.sort(key=attrgetter("begin_ms"))
    shown, label = [], ""
    for draft, following in zip_longest(drafts, drafts[1:]):
        room_ms = MIN_MS if following is None else min(MIN_MS, following.begin_ms - draft.begin_ms)
        end_ms = min(max(draft.end_ms, draft.begin_ms + max(1, room_ms)), draft.begin_ms + MAX_MS)
        parts = draft.parts if draft.label == label else [*_label(draft.label), *draft.parts]
        shown.append(Caption(draft.begin_ms, end_ms, two_lines(parts)))
        label = draft.label
    return shown


def _in_order(transcript: Transcript, channel: Channel) -> Iterator[_Draft]:
    """A channel's captions: sentences that overlap within it are not woven into each other."""
    begin_ms = 0
    for turn in sorted(_turns(transcript, channel), key=_begin_ms):
        for draft in _drafts(turn):
            begin_ms = max(begin_ms, draft.begin_ms)
            yield draft if draft.begin_ms == begin_ms else replace(draft, begin_ms=begin_ms)


def _drafts(turn: Turn) -> Iterator[_Draft]:
    parts, label = pieces(turn.sentence.text), _label(turn.label)
    begin_ms, end_ms = _span(turn.sentence)
    if not parts:
        return
    if _is_readable(label, parts, end_ms - begin_ms):
        # Most sentences, so it is worth not to time each of their words.
        yield _Draft(begin_ms, end_ms, turn.label, parts)
        return
    timed = _timed(parts, turn.sentence)
    for first, last in _cut(timed, label, 0, len(parts)):
        yield _Draft(timed.begins[first], timed.ends[last - 1], turn.label, parts[first:last])


def _label(label: str) -> list[Piece]:
    """Room for it is kept in every caption: which of them follows another voice shows only in the end."""
    text = f"{label[: LINE_COLUMNS - 1]}:"
    return [Piece(text, len(text), True)] if label else []


def _is_readable(label: Sequence[Piece], parts: Sequence[Piece], ms: int) -> bool:
    return ms <= MAX_MS and fit([*label, *parts])


def _cut(timed: _Timed, label: Sequence[Piece], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Halve a range of pieces, where it is best, until each part can be read."""
    ms = timed.ends[last - 1] - timed.begins[first]
    if last - first == 1 or _is_readable(label, timed.parts[first:last], ms):
        yield first, last
        return
    at = _best_cut(timed, first, last)
    yield from _cut(timed, label, first, at)
    yield from _cut(timed, label, at, last)


def _best_cut(timed: _Timed, first: int, last: int) -> int:
    def badness(at: int) -> float:
        pause_ms = timed.begins[at] - timed.ends[at - 1]
        bonus = _PAUSE_BONUS if pause_ms >= PAUSE_MS else 0.0
        return imbalance(timed.parts, timed.upto, first, last, at) - bonus

    middle = bisect_left(timed.upto, (timed.upto[first] + timed.upto[last]) / 2, first + 1, last - 1)
    return min(range(max(first + 1, middle - _WINDOW), min(last, middle + _WINDOW)), key=badness)


def _span(sentence: Sentence) -> tuple[int, int]:
    begin_ms = max(0, sentence.begin_ms)
    return begin_ms, max(begin_ms, sentence.end_ms)


def _timed(parts: Sequence[Piece], sentence: Sentence) -> _Timed:
    begin_ms, end_ms = _span(sentence)
    words = _usable_words(sentence) or (Word(begin_ms, end_ms, "x"),)
    begins, finishes = [], []
    last_ms = begin_ms
    for given_begin_ms, given_end_ms in _spoken(parts, words):
        begins.append(min(max(last_ms, given_begin_ms), end_ms))
        finishes.append(last_ms := min(max(begins[-1], given_end_ms), end_ms))
    return _Timed(parts, begins, finishes, ends(parts))


def _usable_words(sentence: Sentence) -> Sequence[Word]:
    """The sentence's words, or none where their times are in no order or in no touch with the sentence's."""
    words = [word for word in sentence.words or () if _letters(word.text)]
    if not words or words[0].begin_ms >= sentence.end_ms or words[-1].end_ms <= sentence.begin_ms:
        return ()
    if any(word.end_ms < word.begin_ms for word in words):
        return ()
    return () if any(after.begin_ms < before.begin_ms for before, after in pairwise(words)) else words


def _spoken(parts: Sequence[Piece], words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """When each piece is spoken: the letters of text and words are laid side by side.

    Words do not rebuild the text, and not all have its marks, so only letters and digits count, and those of
    the words are stretched to as many as the text has: nothing but the order is taken for granted, and where
    they do agree, the times are the words' own.
    """
    sizes = [_letters(part.text) for part in parts]
    in_text = sum(sizes) or 1
    lengths = [_letters(word.text) * in_text for word in words]
    marks = [0, *accumulate(lengths)]
    stretch = marks[-1] // in_text

    def at(word: int, position: int) -> int:
        spoken = words[word]
        return spoken.begin_ms + (position - marks[word]) * (spoken.end_ms - spoken.begin_ms) // lengths[word]

    end = 0
    for size in sizes:
        begin, end = end, end + size * stretch
        # A mark that stands alone takes no time: it is where the letters beside it are.
        first, last = min(bisect_right(marks, begin), len(words)), max(bisect_left(marks, end), 1)
        yield at(first - 1, begin), at(last - 1, end)


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))
