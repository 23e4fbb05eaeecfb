"""Cut a transcript into captions of at most two lines, each with a begin and an end.

Rules it guarantees:
1. Every word of every sentence is shown, in order. The text comes from the sentences, the timing from the
   provider's words.
2. Captions of all channels are ordered by their begin and may overlap: each has its own time. No time is
   negative, every end comes after its begin, and no caption is shown for longer than `MAX_MS`.
3. The speaker is named when the speaker changes, if the transcript has speakers or several channels.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from operator import attrgetter

from service.contract.transcript import Channel, Sentence, Transcript
from service.core.transcript import missing_times
from service.core.transcript.alignment import piece_spans
from service.core.transcript.line_breaking import LINE_COLUMNS, Piece, ends, fit, imbalance, pieces, two_lines
from service.core.transcript.missing_times import MIN_MS, with_extent
from service.core.transcript.whole_text import said_in
from service.frozen import dataclass

MAX_MS = 7_000
"""The longest that guidelines for subtitles let a caption stand."""
_BLINK_MS = 200
"""Minimum duration of a caption, whatever follows: overlapping captions are seen, shorter ones are not."""
PAUSE_MS = 700
"""A pause of this length ends a caption: speakers pause between sentences for as long."""
_PAUSE_BONUS = 0.5
"""A cut at a pause may be half a line off the middle."""
_WINDOW = 20
"""Pieces on either side of the middle among which a cut is chosen."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One sentence and the name of its speaker; empty if unknown."""

    label: str
    sentence: Sentence


@dataclass(frozen=True, slots=True)
class Caption:
    """The lines shown from `begin_ms` to `end_ms`."""

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
    """A sentence in pieces; `spans` are their times, `upto` their columns."""

    parts: Sequence[Piece]
    spans: Sequence[tuple[int, int]]
    upto: Sequence[int]


def has_times(transcript: Transcript) -> bool:
    """Whether every channel has usable times, so that captions can be made."""
    return all(missing_times.has_times(channel, said_in(channel)) for channel in transcript.channels)


def turns(transcript: Transcript) -> list[Turn]:
    """The sentences of all channels in the order in which they begin, with the whole text."""
    found = [turn for channel in transcript.channels for turn in _turns(transcript, channel)]
    return sorted(found, key=_begin_ms)


def track(transcript: Transcript, channel: Channel) -> str:
    """The name of a channel; empty if there is only one."""
    return f"Channel {channel.channel_id}" if len(transcript.channels) > 1 else ""


def _begin_ms(turn: Turn) -> int:
    return turn.sentence.begin_ms


def _turns(transcript: Transcript, channel: Channel) -> Iterator[Turn]:
    name, sentences = track(transcript, channel), with_extent(said_in(channel))
    if all(sentence.speaker_id is None for sentence in sentences):
        yield from (Turn(name, sentence) for sentence in sentences)
        return
    for sentence in sentences:
        voice = "unknown speaker" if sentence.speaker_id is None else f"speaker {sentence.speaker_id}"
        yield Turn(f"{name}, {voice}" if name else voice.capitalize(), sentence)


def captions(transcript: Transcript) -> list[Caption]:
    """The captions of a transcript that `has_times`."""
    drafts = [draft for turn in turns(transcript) for draft in _drafts(turn)]
    drafts.sort(key=attrgetter("begin_ms"))
    shown, label = [], ""
    for draft, following in zip_longest(drafts, drafts[1:]):
        parts = draft.parts if draft.label == label else [*_label(draft.label), *draft.parts]
        shown.append(Caption(draft.begin_ms, _end_ms(draft, following), two_lines(parts)))
        label = draft.label
    return shown


def _end_ms(draft: _Draft, following: _Draft | None) -> int:
    """When the caption ends: extended to `MIN_MS` if there is room, and cut at `MAX_MS`."""
    room_ms = MIN_MS if following is None else following.begin_ms - draft.begin_ms
    least_ms = min(MIN_MS, max(_BLINK_MS, room_ms))
    return min(max(draft.end_ms, draft.begin_ms + least_ms), draft.begin_ms + MAX_MS)


def _drafts(turn: Turn) -> Iterator[_Draft]:
    sentence, label = turn.sentence, _label(turn.label)
    parts = pieces(sentence.text, [word.text for word in sentence.words or ()])
    if not parts:
        return
    if _is_readable(label, parts, sentence.end_ms - sentence.begin_ms):
        # Most sentences end here, which saves timing each of their words.
        yield _Draft(sentence.begin_ms, sentence.end_ms, turn.label, parts)
        return
    timed = _Timed(parts, piece_spans(parts, sentence), ends(parts))
    for first, last in _cut(timed, label, 0, len(parts)):
        yield _Draft(timed.spans[first][0], timed.spans[last - 1][1], turn.label, parts[first:last])


def _label(label: str) -> list[Piece]:
    """The label's piece.

    Every caption keeps room for it, since speaker changes are known only at the end.
    """
    text = f"{label[: LINE_COLUMNS - 1]}:"
    return [Piece(text, len(text), True)] if label else []


def _is_readable(label: Sequence[Piece], parts: Sequence[Piece], ms: int) -> bool:
    return ms <= MAX_MS and fit([*label, *parts])


def _cut(timed: _Timed, label: Sequence[Piece], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut a range of pieces at the best place near its middle until each part can be read."""
    ms = timed.spans[last - 1][1] - timed.spans[first][0]
    if last - first == 1 or _is_readable(label, timed.parts[first:last], ms):
        yield first, last
        return
    at = _best_cut(timed, first, last)
    yield from _cut(timed, label, first, at)
    yield from _cut(timed, label, at, last)


def _best_cut(timed: _Timed, first: int, last: int) -> int:
    def badness(at: int) -> float:
        pause_ms = timed.spans[at][0] - timed.spans[at - 1][1]
        bonus = _PAUSE_BONUS if pause_ms >= PAUSE_MS else 0.0
        return imbalance(timed.parts, timed.upto, first, last, at) - bonus

    middle = bisect_left(timed.upto, (timed.upto[first] + timed.upto[last]) / 2, first + 1, last - 1)
    return min(range(max(first + 1, middle - _WINDOW), min(last, middle + _WINDOW)), key=badness)
