"""Times that are missing or invalid: interpolated in order, and null where none is near."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract.model_table import Family
from service.contract.output_formats import OutputFormat
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.core.transcript.captions import MAX_MS, Caption, captions, has_times
from service.core.transcript.missing_times import MIN_MS, interpolated, interpolated_times, with_extent
from service.core.transcript.normalise import normalise
from service.core.transcript.rendering import render

MOMENTS = st.integers(0, 100_000)
ANY_MOMENT = st.integers() | st.sampled_from([0, -1, 10**400, -(10**400), 2**63])
ODD_TIMES = ANY_MOMENT | st.none() | st.floats() | st.text(max_size=3) | st.booleans() | st.just("9" * 400)
SHARES = [(None, None)] * 3


@pytest.mark.parametrize(
    ("spans", "sizes", "low_ms", "high_ms", "expected"),
    [
        ([], [], 0, None, []),
        ([(1, 2)], [1], None, None, [(1, 2)]),
        ([(5, 1)], [1], 0, 9, [(5, 1)]),
        ([(0, None), (20, 30)], [1, 1], 0, None, [(0, 20), (20, 30)]),
        ([(0, 10), (None, 30)], [1, 1], 0, None, [(0, 10), (10, 30)]),
        ([(0, 10), (None, None), (20, 30)], [1, 1, 1], 0, None, [(0, 10), (10, 20), (20, 30)]),
        ([(0, None), (None, None), (30, 40)], [1, 2, 1], 0, None, [(0, 10), (10, 30), (30, 40)]),
        ([(None, None), (30, 40)], [1, 1], 0, None, [(0, 30), (30, 40)]),
        ([(None, None), (30, 40)], [1, 1], None, None, [(30, 30), (30, 40)]),
        ([(0, 10), (None, None)], [1, 1], 0, None, [(0, 10), (10, 10)]),
        ([(0, 10), (None, None)], [1, 1], 0, 90, [(0, 10), (10, 90)]),
        (SHARES, [1, 1, 2], 0, 40, [(0, 10), (10, 20), (20, 40)]),
        (SHARES, [0, 0, 0], 0, 30, [(0, 10), (10, 20), (20, 30)]),
        (SHARES, [1, 1, 1], 0, None, None),
        (SHARES, [1, 1, 1], None, 9, None),
        ([(50, 60), (None, None), (10, 20)], [1, 1, 1], 0, None, [(50, 60), (60, 60), (10, 20)]),
        ([(-9, None)], [1], 0, None, [(-9, -9)]),
        ([(None, 50)], [1], 90, None, [(50, 50)]),
        ([(10, None)], [1], 0, 5, [(10, 10)]),
        ([(0, None), (None, 40)], [1, 1], 0, None, [(0, 20), (20, 40)]),
    ],
)
def test_a_missing_time_lies_between_its_neighbours(
    spans: list[tuple[int | None, int | None]],
    sizes: list[int],
    low_ms: int | None,
    high_ms: int | None,
    expected: list[tuple[int, int]] | None,
) -> None:
    assert interpolated(spans, sizes, low_ms, high_ms) == expected


@given(st.lists(MOMENTS, min_size=2).map(sorted), st.data())
def test_interpolated_times_keep_given_ones_and_their_order(moments: list[int], data: st.DataObject) -> None:
    known = [moment if data.draw(st.booleans()) else None for moment in moments[: len(moments) // 2 * 2]]
    spans = list(zip(known[::2], known[1::2], strict=True))
    sizes = data.draw(st.lists(st.integers(0, 9), min_size=len(spans), max_size=len(spans)))
    filled = [moment for span in interpolated(spans, sizes, 0, 100_000) or () for moment in span]
    assert filled == sorted(filled)
    assert all(given in (None, moment) for given, moment in zip(known, filled, strict=True))


@given(
    st.lists(
        st.tuples(ODD_TIMES, ODD_TIMES, st.lists(st.tuples(ODD_TIMES, ODD_TIMES), max_size=3)), max_size=4
    )
)
def test_whatever_the_times_are_a_transcript_is_read_and_rendered(
    times: list[tuple[JsonValue, JsonValue, list[tuple[JsonValue, JsonValue]]]],
) -> None:
    sentences: list[JsonValue] = [
        {
            "begin_time": begin,
            "end_time": end,
            "text": "some words to say, and then some more of them that fill a second caption or a third one",
            "words": [{"begin_time": first, "end_time": last, "text": "some"} for first, last in words],
        }
        for begin, end, words in times
    ]
    transcript = normalise({"transcripts": [{"text": "some words", "sentences": sentences}]}, Family.FUN_ASR)
    render(transcript, tuple(OutputFormat))
    begins = [caption.begin_ms for caption in captions(transcript)]
    assert begins == sorted(begins)
    assert interpolated_times(transcript) <= sum(1 + len(words) for _, _, words in times)


def said(*sentences: Sentence) -> Channel:
    return Channel(0, " ".join(sentence.text for sentence in sentences), sentences=sentences)


def at(begin_ms: int, end_ms: int, text: str = "Hello there.", *words: Word) -> Sentence:
    return Sentence(1, begin_ms, end_ms, text, words=words or None)


ONE_TO_NINE = Word(1_000, 9_000, "Hello there")


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        ([at(0, 0)] * 3, False),
        ([at(0, 0)], False),
        ([at(5_000, 5_000)] * 2, False),
        ([at(0, 8_000)] * 2, False),
        ([at(9, 3)], False),
        ([at(0, 0), at(0, 0, " ")], False),
        ([at(0, 0), at(0, 9, " ")], False),
        ([at(0, 0), at(0, 9)], True),
        ([at(0, 0), at(4_000, 4_000)], True),
        ([at(0, 8_000)], True),
        ([at(0, 8_000), at(0, 8_000, "")], True),
        ([at(0, 0, "Hello there.", ONE_TO_NINE)], True),
        ([at(0, 0, "Hello there.", Word(0, 0, "Hello"), Word(0, 0, "there"))], False),
        ([at(-9, -1)], True),
        ([at(0, 9_000, "One.", Word(0, 900, "One")), at(0, 9_000, "Two.", Word(2_000, 2_900, "Two"))], True),
        ([at(0, 0, "One two.", Word(0, 0, "One"), Word(900, 900, "two"))], True),
    ],
)
def test_times_that_are_all_the_same_are_none(sentences: list[Sentence], expected: bool) -> None:
    transcript = Transcript(AudioProperties(), (said(*sentences),))
    assert has_times(transcript) is expected
    assert ("srt" in render(transcript, tuple(OutputFormat))) is expected


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        ([at(0, 0), at(5_000, 9_000)], [(0, MIN_MS), (5_000, 9_000)]),
        ([at(0, 0, "x" * 60), at(9_000, 9_500)], [(0, 3_600), (9_000, 9_500)]),
        ([at(0, 0, "x" * 60), at(2_000, 9_000)], [(0, 2_000), (2_000, 9_000)]),
        ([at(0, 0, "x" * 60), at(1, 9_000)], [(0, MIN_MS), (1, 9_000)]),
        ([at(0, 0), at(0, 0), at(0, 9_000)], [(0, MIN_MS), (0, MIN_MS), (0, 9_000)]),
        ([at(3_000, 2_000)], [(3_000, 3_000 + MIN_MS)]),
        ([at(0, 0, "Hello there.", ONE_TO_NINE)], [(1_000, 9_000)]),
        ([at(-500, 700)], [(0, 700)]),
        ([at(0, 9_000, "a", Word(0, 900, "a")), at(0, 9_000, "b", Word(20, 29, "b"))], [(0, 900), (20, 29)]),
        ([at(0, 0, "a b", Word(0, 0, "a"), Word(900, 900, "b"))], [(0, 900)]),
        ([at(-500, -100)], [(0, MIN_MS)]),
    ],
)
def test_a_sentence_without_extent_is_shown_as_long_as_can_be_known(
    sentences: list[Sentence], expected: list[tuple[int, int]]
) -> None:
    assert [(each.begin_ms, each.end_ms) for each in with_extent(sentences)] == expected


def spread(*words: Word) -> list[Caption]:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    return captions(Transcript(AudioProperties(), (said(at(0, 8_000, text, *words)),)))


@pytest.mark.parametrize("moment", [0, 3_000, 7_999, 8_000, -5, 90_000])
def test_words_that_all_have_one_moment_are_spread_over_their_sentence(moment: int) -> None:
    pointlike = [Word(moment, moment, "one") for _ in range(16)]
    assert spread(*pointlike) == spread()
    assert len(spread()) > 1


def test_words_without_extent_last_until_the_next_one_begins() -> None:
    numbers = (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    )
    words = [Word(number * 500, number * 500, word) for number, word in enumerate(numbers.split())]
    cut = spread(*words)
    assert len(cut) > 1
    first_of = {word.text: word.begin_ms for word in words}
    assert all(caption.begin_ms == first_of[caption.lines[0].split()[0]] for caption in cut)
    assert cut[-1].end_ms == 8_000


def test_words_that_share_a_moment_share_the_time_until_the_next() -> None:
    cut = spread(Word(0, 100, "one"), *[Word(4_000, 4_000, "x" * 9) for _ in range(9)])
    assert [cut[0].begin_ms, cut[-1].end_ms] == [0, 8_000]
    assert all(caption.end_ms - caption.begin_ms >= MIN_MS for caption in cut)


def test_a_short_interjection_keeps_its_own_time() -> None:
    long = at(0, 20_000, "and so on " * 20)
    shown = captions(Transcript(AudioProperties(), (said(long, at(3_000, 3_400, "Mhm.")),)))
    [mhm] = [caption for caption in shown if caption.lines == ("Mhm.",)]
    assert mhm.begin_ms == 3_000
    assert mhm.end_ms >= 3_400
    others = [caption for caption in shown if caption is not mhm]
    alone = captions(Transcript(AudioProperties(), (said(long),)))
    assert [caption.lines for caption in others] == [caption.lines for caption in alone]
    assert [caption.begin_ms for caption in others] == [caption.begin_ms for caption in alone]


TIMED = st.builds(
    lambda begin, length, text: at(begin, begin + length, text),
    MOMENTS,
    st.integers(1, 6_000),
    st.sampled_from(["Mhm.", "Yes, of course.", "好的。", "👍🏽", "ครับ"]),
)


@given(st.lists(TIMED, min_size=1, max_size=8))
def test_captions_keep_the_times_of_their_sentences_however_they_overlap(sentences: list[Sentence]) -> None:
    shown = captions(Transcript(AudioProperties(), (said(*sentences),)))
    expected = sorted((sentence.begin_ms, sentence.text) for sentence in sentences)
    assert sorted((caption.begin_ms, " ".join(caption.lines)) for caption in shown) == expected
    ends = {(sentence.begin_ms, sentence.text): sentence.end_ms for sentence in sentences}
    for caption in shown:
        assert caption.begin_ms + 200 <= caption.end_ms <= caption.begin_ms + MAX_MS
    if len(ends) == len(sentences):
        for caption in shown:
            own_ms = ends[caption.begin_ms, " ".join(caption.lines)]
            assert own_ms <= caption.end_ms <= max(own_ms, caption.begin_ms + MIN_MS)


def test_interpolated_times_are_counted_in_sentences_and_words() -> None:
    document = json.loads(
        '{"transcripts": [{"sentences": [{"begin_time": 0, "end_time": null, "text": "a", "words":'
        ' [{"begin_time": 0, "end_time": null, "text": "a"}, {"begin_time": 1, "end_time": 2, "text": "b"}]},'
        ' {"begin_time": 5, "end_time": 6, "text": "b", "emotion": 7}]}]}'
    )
    assert interpolated_times(normalise(document, Family.FUN_ASR)) == 2
