"""Renderings, read back by a library that is not ours: nothing is lost or taken for a sign of the format."""

import html
import re
from collections import Counter
from itertools import accumulate

import pysubs2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unicode_segmentation_rs import graphemes, text_width

from service.contract.output_formats import OutputFormat
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word, empty_transcript
from service.core.transcript.captions import MAX_MS, has_times
from service.core.transcript.rendering import render
from service.core.transcript.whole_text import joined

ALL = tuple(OutputFormat)
SIMILAR = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "/"})
"""What SubRip, which has no escapes, holds in place of a sign."""

PARTS = st.sampled_from(
    [
        "สวัสดีครับวันนี้อากาศดีมากเลยนะครับผมชอบมาก",
        "नमस्ते",
        "مرحبا",
        "\u200f",
        "👨\u200d👩\u200d👧",
        "🇫🇷",
        "Hello,",
        "world.",
        "-->",
        "<i>",
        "</b>",
        "&amp;",
        "&",
        "{\\an8}",
        "C:\\Name",
        "WEBVTT",
        "NOTE",
        "\r\n\r\n",
        "\x1b[2J",
        "\u2028",
        "今天我们讨论",
        "。",
        "「はい」",
        "안녕",
        "e\u0301",
        "x" * 60,
        "5 < 6",
        "\N{WAVING HAND SIGN}",
    ]
)
PHRASES = st.lists(PARTS, max_size=12)
SPOKEN = PHRASES.map(" ".join) | PHRASES.map("".join)
MS = st.integers(-2_000, 60_000)
WORDS = st.none() | st.lists(
    st.builds(Word, MS, MS, PARTS, st.sampled_from(["", ", ", None])), max_size=3
).map(tuple)
SENTENCES = st.lists(
    st.builds(Sentence, st.just(1), MS, MS, SPOKEN, st.none() | st.integers(0, 2), words=WORDS),
    min_size=1,
    max_size=4,
).map(tuple)


def said(*sentences: Sentence, channel_id: int = 0) -> Channel:
    return Channel(channel_id, joined(each.text for each in sentences), sentences=sentences)


CHANNELS = st.lists(SENTENCES, max_size=2).map(
    lambda channels: tuple(said(*each, channel_id=at) for at, each in enumerate(channels))
)
TRANSCRIPTS = CHANNELS.map(lambda channels: Transcript(AudioProperties(), channels))
TIMED = TRANSCRIPTS.filter(has_times)
LABEL = re.compile(
    r"^(Channel \d+, unknown speaker|Channel \d+, speaker \d+|Channel \d+|Speaker \d+|Unknown speaker): ?"
)


def made(transcript: Transcript) -> dict[str, str]:
    return render(transcript, ALL)


def events(text: str, form: str) -> list[pysubs2.SSAEvent]:
    """The cues as the library reads them, tags and all."""
    return pysubs2.SSAFile.from_string(text, format_=form, keep_html_tags=True).events


def lines(event: pysubs2.SSAEvent) -> list[str]:
    return event.text.split("\\N")


def squeezed(text: str) -> str:
    """The text without white space and control characters, which separate and say nothing."""
    return "".join(re.sub("[\x00-\x1f\x7f-\x9f]+", " ", text).split())


@given(TIMED)
def test_srt_is_read_back_with_every_word_in_order(transcript: Transcript) -> None:
    found = events(made(transcript)["srt"], "srt")
    _assert_all_said([lines(event) for event in found], transcript, SIMILAR)
    for event in found:
        assert event.plaintext == event.text.replace("\\N", "\n"), "a sign was taken for a tag"


@given(TIMED)
@example(Transcript(AudioProperties(), (said(Sentence(1, 0, 9, "C:\\Name")),)))
def test_webvtt_is_read_back_with_every_word_in_order(transcript: Transcript) -> None:
    found = events(made(transcript)["vtt"], "vtt")
    for event in found:
        assert not re.search(r"[<>]|&(?!(?:amp|lt|gt);)", event.text)
    # A backslash means nothing in WebVTT, but the library itself takes `\N` for a line's end.
    _assert_all_said(
        [[html.unescape(line) for line in lines(event)] for event in found], transcript, left_out="\\N"
    )


@given(TIMED)
def test_cues_are_in_order_and_readable(transcript: Transcript) -> None:
    found = events(made(transcript)["srt"], "srt")
    begins = [event.start for event in found]
    assert begins == sorted(begins)
    for event in found:
        assert 0 <= event.start < event.end <= event.start + MAX_MS
        assert event.end - event.start >= 200, "nobody sees it"
        assert 1 <= len(lines(event)) <= 2
        assert all(line and text_width(line) <= 42 for line in lines(event))
    vtt = events(made(transcript)["vtt"], "vtt")
    assert [(event.start, event.end) for event in vtt] == [(event.start, event.end) for event in found]


@given(TRANSCRIPTS)
def test_text_has_every_word_and_a_line_for_each_paragraph(transcript: Transcript) -> None:
    text = made(transcript)["text"]
    _assert_all_said([[line] for line in text.splitlines()], transcript)
    assert all(line.strip() for line in text.splitlines())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", text)


def _spoken(cues: list[list[str]]) -> dict[str, str]:
    """What each voice says, without white space."""
    voices: dict[str, str] = {}
    label = ""
    for cue in cues:
        text = " ".join(cue)
        named = LABEL.match(text)
        if named:
            label, text = named.group(1), text[named.end() :]
        voices[label] = voices.get(label, "") + squeezed(text)
    return voices


def _assert_all_said(
    cues: list[list[str]], transcript: Transcript, signs: dict[int, str] | None = None, left_out: str = ""
) -> None:
    """Each voice says all of its sentences and nothing else, each of them in its order."""
    expected: dict[str, list[str]] = {}
    for channel in transcript.channels:
        for sentence in channel.sentences or ():
            text = squeezed(sentence.text).translate(signs or {})
            if text:
                said = expected.setdefault(_label(transcript, channel, sentence), [])
                said.append(text.replace(left_out, "") if left_out else text)
    spoken = _spoken(cues)
    assert {label: sorted(text) for label, text in spoken.items()} == {
        label: sorted("".join(said)) for label, said in expected.items()
    }
    for label, said in expected.items():
        for text in said:
            left = iter(spoken[label])
            assert all(char in left for char in text)


def _label(transcript: Transcript, channel: Channel, sentence: Sentence) -> str:
    parts = [f"channel {channel.channel_id}"] if len(transcript.channels) > 1 else []
    if any(each.speaker_id is not None for each in channel.sentences or ()):
        unknown = sentence.speaker_id is None
        parts.append("unknown speaker" if unknown else f"speaker {sentence.speaker_id}")
    return ", ".join(parts).capitalize()


TEAM = Transcript(
    AudioProperties(),
    (
        said(
            Sentence(1, 400, 1_500, "Morning, team. ", 0),
            Sentence(2, 2_100, 4_900, "Ready when you are.", 1),
            Sentence(3, 3_605_000, 3_606_000, "<Good> & -->\r\n\r\nbye.", 1),
        ),
    ),
)


def test_srt_looks_like_this() -> None:
    assert made(TEAM)["srt"] == (
        "1\n00:00:00,400 --> 00:00:01,500\nSpeaker 0: Morning, team.\n\n"
        "2\n00:00:02,100 --> 00:00:04,900\nSpeaker 1: Ready when you are.\n\n"
        "3\n01:00:05,000 --> 01:00:06,000\n‹Good› & --› bye.\n"
    )


def test_webvtt_looks_like_this() -> None:
    assert made(TEAM)["vtt"] == (
        "WEBVTT\n\n"
        "1\n00:00:00.400 --> 00:00:01.500\nSpeaker 0: Morning, team.\n\n"
        "2\n00:00:02.100 --> 00:00:04.900\nSpeaker 1: Ready when you are.\n\n"
        "3\n01:00:05.000 --> 01:00:06.000\n&lt;Good&gt; &amp; --&gt; bye.\n"
    )


def test_text_begins_a_line_with_each_turn_and_behind_each_pause() -> None:
    assert made(TEAM)["text"] == (
        "Speaker 0: Morning, team.\nSpeaker 1: Ready when you are.\nSpeaker 1: <Good> & --> bye.\n"
    )


def test_text_of_one_voice_is_joined_as_its_language_is() -> None:
    english = said(
        Sentence(1, 0, 900, " One."), Sentence(2, 900, 1_000, " "), Sentence(3, 1_000, 1_900, "Two.")
    )
    chinese = said(Sentence(1, 0, 900, "你好。"), Sentence(2, 1_000, 1_900, "再见。"))
    assert made(Transcript(AudioProperties(), (english,)))["text"] == "One. Two.\n"
    assert made(Transcript(AudioProperties(), (chinese,)))["text"] == "你好。再见。\n"


def test_a_year_at_the_end_of_a_line_is_no_number_of_a_cue() -> None:
    sentences = [
        Sentence(at, at * 1_000, at * 1_000 + 900, text) for at, text in enumerate(["1984", "Then.", "1985."])
    ]
    for form in ("srt", "vtt"):
        found = events(made(Transcript(AudioProperties(), (said(*sentences),)))[form], form)
        assert [event.text for event in found] == ["1984", "Then.", "1985."]


def test_only_what_is_wanted_is_made() -> None:
    assert set(render(TEAM, ())) == set()
    assert set(render(TEAM, (OutputFormat.VTT,))) == {"vtt"}
    assert set(made(TEAM)) == {"srt", "vtt", "text"}


@pytest.mark.parametrize("sentences", [None, ()])
def test_without_times_there_is_text_alone(sentences: tuple[Sentence, ...] | None) -> None:
    untimed = Channel(1, "Only\ttext. ", sentences=sentences)
    assert made(Transcript(AudioProperties(), (untimed,))) == {"text": "Only text.\n"}
    both = Transcript(AudioProperties(), (untimed, said(Sentence(1, 0, 9, "Timed."), channel_id=2)))
    assert made(both) == {"text": "Channel 2: Timed.\nChannel 1: Only text.\n"}


def test_silence_has_renderings_without_cues() -> None:
    assert made(empty_transcript()) == {"srt": "", "vtt": "WEBVTT\n", "text": ""}


SPACED_THAI = "วันนี้ เรา จะ พูด ถึง ตัวเลข ของ ปี ที่ แล้ว และ สิ่ง ที่ มัน หมาย ถึง สำหรับ เรา ทุก คน ใน ห้อง นี้"
THAI_WORDS = SPACED_THAI.split()
THAI = "".join(THAI_WORDS)
LANGUAGES = {
    "Thai": THAI,
    "Hindi": "मैं पिछले साल के आंकड़ों से शुरुआत करना चाहूंगा और फिर हम बात कर सकते हैं कि उनका हमारे लिए क्या मतलब है।",
    "Arabic": "أود أن أبدأ بأرقام العام الماضي، وبعد ذلك يمكننا أن نتحدث عما تعنيه بالنسبة لنا جميعا (2024).",
    "Hebrew": "אני רוצה להתחיל במספרים של השנה שעברה, ואז נוכל לדבר על מה שהם אומרים לנו: 50% יותר!",
    "Korean": "작년의 숫자부터 시작하고 싶습니다. 그다음 그것이 우리에게 무엇을 뜻하는지 말할 수 있습니다.",
    "emoji with joiners": "👨\u200d👩\u200d👧\u200d👦👍🏽🏳️\u200d🌈🇫🇷1️⃣" * 12,
    "combining marks": "Z\u0335a\u0306\u0323l\u0302g\u0336o\u0301\u0308 " * 20,
    "Khmer": "ខ្ញុំចង់ចាប់ផ្តើមជាមួយនឹងតួលេខនៃឆ្នាំមុនហើយបន្ទាប់មកយើងអាចនិយាយអំពីអត្ថន័យរបស់វា",
    "Japanese": "昨年の数字から始めて、それが何を意味するのかについてお話しします。ちょっと待ってください。",
    "marks without letters": "— … ! " * 40,
    "signs without letters": "♪ " * 60,
}


@pytest.mark.parametrize("form", ["srt", "vtt"])
@pytest.mark.parametrize("text", LANGUAGES.values(), ids=LANGUAGES)
def test_every_script_is_cut_where_unicode_lets_it_and_comes_back_whole(text: str, form: str) -> None:
    """No line begins within what a reader sees as one character, none is too wide, and time goes on."""
    found = events(made(Transcript(AudioProperties(), (said(Sentence(1, 0, 18_000, text)),)))[form], form)
    shown = [line for event in found for line in lines(event)]
    assert squeezed("".join(shown)) == squeezed(text)
    characters = Counter(graphemes(squeezed(text), is_extended=True))
    assert (
        Counter(part for line in shown for part in graphemes(squeezed(line), is_extended=True)) == characters
    )
    assert all(text_width(line) <= 42 for line in shown)
    begins = [event.start for event in found]
    assert len(set(begins)) == len(begins) > 1
    assert all(event.duration >= 700 for event in found), "a part of the time is nobody's"


def test_thai_is_broken_at_the_words_of_the_provider() -> None:
    words = tuple(Word(at * 600, at * 600 + 500, word) for at, word in enumerate(THAI_WORDS))
    transcript = Transcript(AudioProperties(), (said(Sentence(1, 0, 14_000, THAI, words=words)),))
    shown = [line for event in events(made(transcript)["srt"], "srt") for line in lines(event)]
    edges = set(accumulate(map(len, THAI_WORDS)))
    assert set(accumulate(map(len, shown))) <= edges
    assert len(shown) > 2


def test_right_to_left_text_comes_back_from_a_subtitle_library_as_it_was() -> None:
    text = "مرحبا بكم \u2067שלום\u2069 (ABC) 123"
    for form in ("srt", "vtt"):
        [event] = events(
            made(Transcript(AudioProperties(), (said(Sentence(1, 0, 2_000, text)),)))[form], form
        )
        assert event.text.replace("\\N", " ") == text
