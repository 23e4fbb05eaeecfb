"""Text that was paid for is shown wherever the provider put it; a warning says where sentences lack it."""

import html
import json
import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract.model_table import Family
from service.contract.output_formats import OutputFormat
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript
from service.contract.untrusted_json import parse_json
from service.core.transcript.captions import captions
from service.core.transcript.normalise import normalise
from service.core.transcript.rendering import render
from service.core.transcript.whole_text import is_incomplete, said_in, visible

WORDS = st.sampled_from(
    ["Hello", "world.", "Yes", "no", "今天", "。", "สวัสดี", "👍🏽", "a", "-->", "!", "مرحبا", "안녕"]
)
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


def heard(at: int, text: str) -> dict[str, JsonValue]:
    return {"begin_time": at * 2_000, "end_time": at * 2_000 + 1_500, "text": text}


def channel_of(text: str | None, *sentences: JsonValue, **fields: JsonValue) -> Channel:
    document: JsonValue = {"transcripts": [{"text": text, "sentences": [*sentences], **fields}]}
    return normalise(parse_json(json.dumps(document).encode()), Family.FUN_ASR).channels[0]


def signs_of(rendering: str) -> str:
    """What a rendering shows: no header, no numbers of cues, no times."""
    return visible(re.sub(r"(^|\n)\d+\n[\d:.,]+ --> [\d:.,]+\n|^WEBVTT\n", "\n", rendering))


def holds(whole: str, part: str) -> bool:
    left = iter(whole)
    return all(char in left for char in part)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, list[JsonValue]]:
    """A channel's text, and sentences of it of which some lack their text, a part of it, or are not there."""
    texts = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=6))
    sentences: list[JsonValue] = []
    for at, text in enumerate(texts):
        left = draw(
            st.sampled_from([text, text, None, "", " ", text[: len(text) // 2], text[len(text) // 2 :]])
        )
        words: list[JsonValue] = [{"begin_time": 0, "end_time": 1, "text": word} for word in text.split()]
        extra: dict[str, JsonValue] = {"words": words} if draw(st.booleans()) else {}
        if draw(st.integers(0, 4)):
            sentences.append({**heard(at, ""), "text": left, **extra})
    return " ".join(texts), sentences


@given(damaged())
@example(("a b", []))
@example(("a b", [{**heard(0, ""), "text": None}]))
def test_no_character_of_a_channels_text_is_lost(given_file: tuple[str, list[JsonValue]]) -> None:
    """Neither in the result nor in a rendering of it."""
    text, sentences = given_file
    channel = channel_of(text, *sentences)
    assert holds(visible(channel.text), visible(text))
    transcript = Transcript(AudioProperties(), (channel,))
    made = render(transcript, (OutputFormat.TEXT, OutputFormat.VTT))
    assert holds(visible(made["text"]), visible(text))
    assert sentences == [] or "vtt" in made
    if "vtt" in made:
        # Captions stand in the order of their times: where these overlap, the order may differ.
        assert Counter(visible(text)) <= Counter(html.unescape(signs_of(made["vtt"])))
    own = "".join(str(each.get("text") or "") for each in sentences if isinstance(each, dict))
    assert is_incomplete(channel) or holds(visible(own), visible(text))


@given(st.text(max_size=30), st.lists(st.text(max_size=12), max_size=5))
def test_text_and_sentences_that_say_different_things_lose_nothing_of_the_fuller(
    text: str, said: list[str]
) -> None:
    channel = channel_of(text, *(heard(at, each) for at, each in enumerate(said)))
    fuller = max(visible("".join(map(_encodable, said))), visible(_encodable(text)), key=len)
    assert len(visible(channel.text)) >= len(fuller)
    shown = visible("".join(sentence.text for sentence in said_in(channel)))
    assert holds(shown, visible(channel.text)) or not said


def _encodable(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@given(st.lists(TEXTS, max_size=6))
def test_sentences_that_have_all_of_the_text_are_no_reason_for_a_warning(texts: list[str]) -> None:
    for text in (" ".join(texts), "".join(texts), None):
        assert not is_incomplete(channel_of(text, *(heard(at, each) for at, each in enumerate(texts))))


@pytest.mark.parametrize(
    ("text", "sentences", "expected"),
    [
        ("A. B. C.", [heard(0, "A."), heard(2, "C.")], [(0, "A."), (1_500, "B."), (4_000, "C.")]),
        (
            "A. B. C.",
            [heard(0, "A."), heard(1, ""), heard(2, "C.")],
            [(0, "A."), (2_000, "B."), (4_000, "C.")],
        ),
        ("A. B. C.", [heard(1, "B.")], [(0, "A."), (2_000, "B."), (3_500, "C.")]),
        ("A. B.", [heard(0, ""), heard(1, "")], [(0, "A. B.")]),
        (
            "A. B. C.",
            [heard(0, "A."), heard(1, "x"), heard(2, "C.")],
            [(0, "A."), (2_000, "B."), (4_000, "C.")],
        ),
    ],
)
def test_what_sentences_lack_is_shown_where_it_was_said(
    text: str, sentences: list[JsonValue], expected: list[tuple[int, str]]
) -> None:
    channel = channel_of(text, *sentences)
    assert is_incomplete(channel)
    shown = captions(Transcript(AudioProperties(), (channel,)))
    assert [(caption.begin_ms, " ".join(caption.lines)) for caption in shown] == expected


def test_a_sentence_of_words_alone_is_shown_with_the_channels_spaces() -> None:
    words: list[JsonValue] = [
        {"begin_time": 0, "end_time": 1_000, "text": "Well", "punctuation": ","},
        {"begin_time": 1_000, "end_time": 2_000, "text": "then", "punctuation": "."},
    ]
    channel = channel_of("Well, then.", {"begin_time": 0, "end_time": 2_000, "words": words})
    assert (channel.text, is_incomplete(channel)) == ("Well, then.", True)
    assert [sentence.text for sentence in said_in(channel)] == ["Well, then."]
    alone = channel_of(None, {"begin_time": 0, "end_time": 2_000, "words": words})
    assert (alone.text, is_incomplete(alone)) == ("Well, then.", True)


def test_a_list_of_sentences_with_something_else_in_it_is_incomplete() -> None:
    assert is_incomplete(channel_of("A.", heard(0, "A."), "B."))


def test_a_channel_without_a_list_of_sentences_lacks_none() -> None:
    assert not is_incomplete(Channel(0, "A."))
    assert is_incomplete(Channel(0, "A.", "A.", sentences=()))


def test_odd_sentences_are_looked_for_near_by_only() -> None:
    """Or 100,000 sentences that are not in ten megabytes of text would take minutes."""
    far = Channel(0, "x" * 30_000 + "A.", None, sentences=(Sentence(1, 0, 9, "A."),))
    assert [sentence.text[:2] for sentence in said_in(far)] == ["xx"]
