"""Captions: short enough to be read, timed by the words where they can be, in order over all channels."""

import pytest

from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.core.transcript.captions import MAX_MS, Caption, captions, has_times, turns
from service.core.transcript.missing_times import MIN_MS
from service.core.transcript.whole_text import joined

LONG = (
    "I would like to begin with the numbers of last year, and then we can talk about what they mean for us."
)


def said(*sentences: Sentence, channel_id: int = 0) -> Channel:
    return Channel(channel_id, joined(each.text for each in sentences), sentences=sentences)


def shown(*channels: Channel) -> list[Caption]:
    return captions(Transcript(AudioProperties(), channels))


def sentence(begin_ms: int, end_ms: int, text: str, speaker: int | None = None, *words: Word) -> Sentence:
    return Sentence(1, begin_ms, end_ms, text, speaker, words=words or None)


def test_a_short_sentence_is_one_caption_with_its_times() -> None:
    assert shown(said(sentence(400, 2_000, " Morning,\r\n team. "))) == [
        Caption(400, 2_000, ("Morning, team.",))
    ]


def test_a_long_sentence_is_cut_where_it_is_best() -> None:
    cut = shown(said(sentence(0, 6_000, LONG)))
    assert [caption.lines for caption in cut] == [
        ("I would like to begin with", "the numbers of last year,"),
        ("and then we can talk about", "what they mean for us."),
    ]


def test_without_words_the_time_is_shared_out_by_characters() -> None:
    [first, second] = shown(said(sentence(0, 6_000, LONG)))
    assert (first.begin_ms, first.end_ms, second.begin_ms, second.end_ms) == (0, 3_111, 3_111, 6_000)


def words_of(text: str, each_ms: int, pause_ms: int = 0) -> tuple[Word, ...]:
    """Words, so long each and with such pauses."""
    step = each_ms + pause_ms
    return tuple(Word(at * step, at * step + each_ms, word) for at, word in enumerate(text.split()))


def test_with_words_each_caption_begins_and_ends_with_its_own() -> None:
    words = words_of(LONG, each_ms=200, pause_ms=50)
    [first, second] = shown(said(sentence(0, 7_000, LONG, None, *words)))
    # Eleven words, then eleven.
    assert (first.begin_ms, first.end_ms) == (0, 10 * 250 + 200)
    assert (second.begin_ms, second.end_ms) == (11 * 250, 21 * 250 + 200)


def test_words_that_do_not_rebuild_the_text_still_time_it() -> None:
    """As in the vendor's sample: no spaces, several words in one, marks apart, another spelling."""
    words = [Word(word.begin_ms, word.end_ms, word.text.rstrip(",."), ", ") for word in words_of(LONG, 250)]
    words[0:2] = [Word(0, 500, "i wud")]
    [first, second] = shown(said(sentence(0, 6_000, LONG, None, *words)))
    assert first.lines[1].endswith("last year,")
    assert abs(first.end_ms - 11 * 250) < 400
    assert abs(second.begin_ms - 11 * 250) < 400


@pytest.mark.parametrize(
    "words",
    [
        (Word(0, 0, "never"),),
        (Word(9_000, 9_500, "after"),),
        (Word(3_000, 2_000, "backwards"),),
        (Word(3_000, 3_100, "out of"), Word(1_000, 1_200, "order")),
    ],
)
def test_times_of_words_that_cannot_be_are_not_used(words: tuple[Word, ...]) -> None:
    assert shown(said(sentence(100, 6_000, LONG, None, *words))) == shown(said(sentence(100, 6_000, LONG)))


def test_words_without_the_marks_of_the_text_time_it_to_the_millisecond() -> None:
    words = (Word(0, 900, "One"), Word(19_000, 20_000, " two"))
    cut = shown(said(sentence(0, 20_000, "— “One…” — two!", None, *words)))
    assert [(caption.begin_ms, caption.end_ms) for caption in cut] == [(0, 1_000), (19_000, 20_000)]


def test_text_without_letters_is_shown_for_its_time() -> None:
    cut = shown(said(sentence(0, 9_000, "♪ " * 60, None, Word(0, 10, "♪"))))
    assert (cut[0].begin_ms, len(cut)) == (0, 2)


def test_words_without_characters_and_beyond_the_sentence_do_no_harm() -> None:
    words = (Word(-50, 0, ""), Word(-40, 5_000, "a"), Word(5_000, 5_000, " ", ","), Word(5_000, 99_000, "x"))
    [first, last] = shown(said(sentence(100, 6_000, LONG, None, *words)))
    assert (first.begin_ms, last.begin_ms, last.end_ms) == (100, 6_000, 6_000 + MIN_MS)


def test_a_caption_is_cut_at_a_pause() -> None:
    text = "Well let us think about that"
    words = [*words_of("Well let us", 300), Word(8_000, 8_300, "think"), Word(8_300, 9_000, "about that")]
    cut = shown(said(sentence(0, 9_000, text, None, *words)))
    assert cut == [Caption(0, 900 + 100, ("Well let us",)), Caption(8_000, 9_000, ("think about that",))]


def test_what_is_spoken_slowly_is_cut_by_time() -> None:
    cut = shown(said(sentence(0, 20_000, "one two three four")))
    assert [caption.lines for caption in cut] == [("one",), ("two",), ("three",), ("four",)]
    assert all(caption.end_ms - caption.begin_ms <= MAX_MS for caption in cut)


def test_one_word_of_a_minute_does_not_stay_for_a_minute() -> None:
    assert shown(said(sentence(0, 60_000, "Ommm"))) == [Caption(0, MAX_MS, ("Ommm",))]


def test_a_blink_is_shown_a_little_longer_unless_something_follows() -> None:
    cut = shown(said(sentence(0, 100, "Yes."), sentence(400, 300, "No."), sentence(9_000, 9_001, "Oh.")))
    assert [(caption.begin_ms, caption.end_ms) for caption in cut] == [
        (0, 400),
        (400, 400 + MIN_MS),
        (9_000, 9_000 + MIN_MS),
    ]


def test_two_that_begin_together_still_end_after_they_begin() -> None:
    cut = shown(said(sentence(5, 5, "A."), sentence(5, 5, "B.")))
    assert [(caption.begin_ms, caption.end_ms) for caption in cut] == [(5, 5 + MIN_MS)] * 2


def test_negative_times_count_as_the_beginning() -> None:
    assert shown(said(sentence(-900, -100, "Hm."))) == [Caption(0, MIN_MS, ("Hm.",))]


def test_a_sentence_without_text_is_not_shown() -> None:
    assert shown(said(sentence(0, 100, " \n"))) == []
    assert shown() == []


def test_chinese_is_cut_by_characters_with_half_the_line() -> None:
    text = "今天我们讨论去年的数字，" * 6
    cut = shown(said(sentence(0, 20_000, text)))
    assert all(len(line) <= 21 for caption in cut for line in caption.lines)
    assert "".join(line for caption in cut for line in caption.lines) == text
    assert [caption.lines[-1][-1] for caption in cut] == ["，"] * len(cut)


def test_a_speaker_is_named_when_it_changes() -> None:
    cut = shown(
        said(
            sentence(0, 2_000, "Ready?", 0),
            sentence(2_000, 4_000, "Yes.", 1),
            sentence(4_000, 6_000, "Go on.", 1),
            sentence(6_000, 8_000, "Who is that?"),
        )
    )
    assert [caption.lines for caption in cut] == [
        ("Speaker 0: Ready?",),
        ("Speaker 1: Yes.",),
        ("Go on.",),
        ("Unknown speaker: Who is that?",),
    ]


def test_channels_are_interleaved_and_named_also_in_the_middle_of_a_sentence() -> None:
    cut = shown(
        said(sentence(0, 6_000, LONG), channel_id=0),
        said(sentence(1_000, 1_900, "Mhm.", 3), channel_id=1),
    )
    assert [caption.lines[0].partition(":")[0] for caption in cut] == [
        "Channel 0",
        "Channel 1, speaker 3",
        "Channel 0",
    ]
    assert [caption.begin_ms for caption in cut] == sorted(caption.begin_ms for caption in cut)


def test_a_name_takes_at_most_a_line() -> None:
    channel_id = 10**50
    cut = shown(said(sentence(0, 900, "x" * 42), channel_id=channel_id), said(channel_id=0))
    [caption] = cut
    assert [len(line) for line in caption.lines] == [42, 42]


def test_turns_are_in_the_order_of_their_beginnings() -> None:
    both = (said(sentence(5, 9, "b"), channel_id=0), said(sentence(1, 2, "a"), channel_id=1))
    order = [(turn.label, turn.sentence.text) for turn in turns(Transcript(AudioProperties(), both))]
    assert order == [("Channel 1", "a"), ("Channel 0", "b")]


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ((), True),
        ((said(sentence(0, 1, "a")),), True),
        ((Channel(0, "text"),), False),
        ((Channel(0, "text", sentences=()),), False),
        ((Channel(0, " "),), True),
        ((said(sentence(0, 1, "a")), Channel(1, "text")), False),
    ],
)
def test_there_are_times_where_all_that_was_said_has_some(
    channels: tuple[Channel, ...], expected: bool
) -> None:
    assert has_times(Transcript(AudioProperties(), channels)) is expected
