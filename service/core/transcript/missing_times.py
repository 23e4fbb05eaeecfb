"""Interpolate times that the provider left out or that are unusable, from their neighbours.

Rules it guarantees: a given time is never changed; an interpolated time lies between its neighbours, in their
order; nothing here raises, whatever the times are.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from service.contract.transcript import Channel, Sentence, Transcript, Word
from service.core.transcript.line_breaking import columns_of, plain

_TIMES = ("begin_time", "end_time")
GivenSpan = tuple[int | None, int | None]
"""Begin and end in milliseconds; None if the provider gave none."""
Span = tuple[int, int]

MIN_MS = 1_000
"""Shortest time in which anything can be read."""
READING_MS = 60
"""Display time per column of a sentence without a known end: 17 columns a second can be read."""


def interpolated(
    spans: Sequence[GivenSpan], sizes: Sequence[int], low_ms: int | None, high_ms: int | None
) -> list[Span] | None:
    """The spans without missing times.

    None if no time is given and the bounds do not cover both sides.

    A missing time lies between the known times around it, in proportion to the `sizes` of the text between
    them. `low_ms` bounds times before the first known one, `high_ms` those after the last.
    """
    known = [moment for span in spans for moment in span if moment is not None]
    if len(known) == 2 * len(spans):
        return [(begin, end) for begin, end in spans if begin is not None and end is not None]
    lows = [moment for moment in (low_ms, *known[:1]) if moment is not None]
    highs = [moment for moment in (high_ms, *known[-1:]) if moment is not None]
    return _filled(spans, sizes, min(lows), max(highs)) if lows and highs else None


def _filled(spans: Sequence[GivenSpan], sizes: Sequence[int], low_ms: int, high_ms: int) -> list[Span]:
    marks = [0, *accumulate(max(1, size) for size in sizes)]
    # Each span's begin and end, as positions in the text.
    places = [place for edges in pairwise(marks) for place in edges]
    given = [moment for span in spans for moment in span]
    before = _edges_before(places, given, (0, low_ms))
    after = _edges_before(places[::-1], given[::-1], (marks[-1], high_ms))[::-1]
    filled = [
        _between(place, left, right) if moment is None else moment
        for place, moment, left, right in zip(places, given, before, after, strict=True)
    ]
    return list(zip(filled[::2], filled[1::2], strict=True))


def _edges_before(places: Sequence[int], given: Sequence[int | None], edge: Span) -> list[Span]:
    """For each place, the last place before it with a known time, and that time."""
    edges = []
    for place, moment in zip(places, given, strict=True):
        edges.append(edge)
        if moment is not None:
            edge = (place, moment)
    return edges


def _between(place: int, left: Span, right: Span) -> int:
    (left_place, left_ms), (right_place, right_ms) = left, right
    if right_ms <= left_ms:
        return left_ms
    return left_ms + (right_ms - left_ms) * (place - left_place) // (right_place - left_place)


def speech_ms(transcript: Transcript) -> int:
    """Milliseconds of speech over all channels, the basis of a file's part of the bill.

    It uses the provider's figure if there is one, else the length of the sentences.
    """
    return sum(_speech_ms(channel) for channel in transcript.channels)


def _speech_ms(channel: Channel) -> int:
    if channel.content_duration_ms is not None:
        return channel.content_duration_ms
    return sum(max(0, sentence.end_ms - sentence.begin_ms) for sentence in channel.sentences or ())


def interpolated_times(transcript: Transcript) -> int:
    """How many sentences and words of a transcript have a time that the provider did not give."""
    return sum(
        _is_interpolated(sentence) + sum(map(_is_interpolated, sentence.words or ()))
        for channel in transcript.channels
        for sentence in channel.sentences or ()
    )


def _is_interpolated(spoken: Sentence | Word) -> bool:
    # A value that the provider gave in place of a time, even null, stays in the extra beside our time.
    extra = spoken.provider_extra
    return extra is not None and not extra.keys().isdisjoint(_TIMES)


def has_times(channel: Channel, sentences: Sequence[Sentence]) -> bool:
    """Whether a channel's `sentences` have usable times, so that captions can be made.

    Times that are all the same are unusable: sentences do not coincide, and none takes no time.
    """
    spans = _spans([sentence for sentence in sentences if plain(sentence.text)])
    if not spans:
        return not plain(channel.text)
    return len(set(spans)) > 1 or (len(spans) == 1 and spans[0][0] < spans[0][1])


def with_extent(sentences: Sequence[Sentence]) -> list[Sentence]:
    """The sentences in their order, none before the file's beginning and each with a duration.

    A sentence without a duration gets the time of its words, else the time until the next one of its channel
    begins: at least `MIN_MS`, and at most what its text takes to read.
    """
    spans = _spans(sentences)
    begins = sorted(begin_ms for begin_ms, _ in spans)
    return [
        sentence
        if 0 <= begin_ms < end_ms and (begin_ms, end_ms) == (sentence.begin_ms, sentence.end_ms)
        else _with_extent(sentence, max(0, begin_ms), max(0, end_ms), begins)
        for sentence, (begin_ms, end_ms) in zip(sentences, spans, strict=True)
    ]


def _with_extent(sentence: Sentence, begin_ms: int, end_ms: int, begins: Sequence[int]) -> Sentence:
    if begin_ms == end_ms:
        most_ms = max(MIN_MS, READING_MS * columns_of(plain(sentence.text)))
        following = bisect_right(begins, begin_ms)
        room_ms = begins[following] - begin_ms if following < len(begins) else most_ms
        end_ms = begin_ms + min(max(MIN_MS, room_ms), most_ms)
    return replace(sentence, begin_ms=begin_ms, end_ms=end_ms)


def _spans(sentences: Sequence[Sentence]) -> list[Span]:
    """The spans of sentences, or of their words if a sentence has no duration or all spans are equal."""
    are_none = (
        len(sentences) > 1 and len({(sentence.begin_ms, sentence.end_ms) for sentence in sentences}) == 1
    )
    return [
        _word_span(sentence)
        if are_none or sentence.begin_ms >= sentence.end_ms
        else (sentence.begin_ms, sentence.end_ms)
        for sentence in sentences
    ]


def _word_span(sentence: Sentence) -> Span:
    begin_ms = min((word.begin_ms for word in sentence.words or ()), default=sentence.begin_ms)
    end_ms = max((word.end_ms for word in sentence.words or ()), default=sentence.end_ms)
    return (
        (begin_ms, end_ms)
        if begin_ms < end_ms
        else (sentence.begin_ms, max(sentence.begin_ms, sentence.end_ms))
    )
