"""Normalising result files: nothing is lost, nothing is invented, and it gets smaller where it must."""

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from service.contract.model_table import Family
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word, empty_transcript
from service.contract.untrusted_json import parse_json
from service.core.transcript.missing_times import speech_ms
from service.core.transcript.normalise import normalise, text_only, without_words

FUN_ASR: dict[str, Any] = {
    "file_url": "https://h/a.wav?Signature=canary",
    "properties": {
        "audio_format": "pcm_s16le",
        "channels": [0, 1],
        "original_sampling_rate": 16000,
        "original_duration_in_milliseconds": 3834,
    },
    "transcripts": [
        {
            "channel_id": 1,
            "content_duration_in_milliseconds": 2480,
            "text": "Hello World, this is.",
            "sentences": [
                {
                    "begin_time": 760,
                    "end_time": 3240,
                    "text": "Hello World, this is.",
                    "sentence_id": 1,
                    "speaker_id": 0,
                    "words": [
                        {"begin_time": 760, "end_time": 1000, "text": "Hello", "punctuation": ""},
                        {"begin_time": 1000, "end_time": 1120, "text": " World", "punctuation": ", "},
                        {"begin_time": 1400, "end_time": 3240, "text": "this is", "punctuation": "."},
                    ],
                }
            ],
        }
    ],
}
QWEN: dict[str, Any] = {
    "audio_info": {"format": "mp3", "sample_rate": 44100},
    "transcripts": [
        {
            "channel_id": 0,
            "text": "Good morning.",
            "sentences": [
                {
                    "sentence_id": 0,
                    "begin_time": 320,
                    "end_time": 1980,
                    "language": "en",
                    "emotion": "neutral",
                    "text": "Good morning.",
                },
                {"sentence_id": 1, "begin_time": 2000, "end_time": 2500, "text": "Yes."},
            ],
        }
    ],
}


def read(document: Any) -> Transcript:
    return normalise(document, Family.FUN_ASR)


def read_bytes(document: JsonValue) -> Transcript:
    return read(parse_json(json.dumps(document).encode()))


def channel_of(**fields: Any) -> Channel:
    return read({"transcripts": [fields]}).channels[0]


def sentence_of(**fields: JsonValue) -> Sentence:
    sentences = channel_of(sentences=[{"begin_time": 0, "end_time": 9, "text": "a", **fields}]).sentences
    assert sentences is not None
    return sentences[0]


def text_of(*texts: str) -> str:
    return channel_of(sentences=[{"begin_time": 0, "end_time": 9, "text": text} for text in texts]).text


# The documented forms


def test_a_fun_asr_file_becomes_the_v1_form() -> None:
    words = (
        Word(760, 1000, "Hello", ""),
        Word(1000, 1120, " World", ", "),
        Word(1400, 3240, "this is", "."),
    )
    sentence = Sentence(1, 760, 3240, "Hello World, this is.", speaker_id=0, words=words)
    assert read(FUN_ASR) == Transcript(
        audio=AudioProperties("pcm_s16le", 16000, 3834, (0, 1)),
        channels=(Channel(1, "Hello World, this is.", "Hello World, this is.", 2480, (sentence,)),),
    )


def test_a_qwen_file_becomes_the_same_form_with_ids_from_1() -> None:
    transcript = read(QWEN)
    assert transcript.audio == AudioProperties("mp3", 44100)
    assert transcript.channels[0].content_duration_ms is None
    assert transcript.channels[0].sentences == (
        Sentence(1, 320, 1980, "Good morning.", language="en", emotion="neutral"),
        Sentence(2, 2000, 2500, "Yes."),
    )


def test_the_url_of_the_file_is_not_repeated() -> None:
    assert "canary" not in repr(read(FUN_ASR))


def test_missing_means_null_and_empty_stays_empty() -> None:
    assert channel_of(text="a").sentences is None
    assert channel_of(text="a", sentences=None).sentences is None
    assert channel_of(text="a", sentences=[]).sentences == ()
    assert sentence_of().words is None
    assert sentence_of(words=[]).words == ()


def test_without_sentences_the_text_is_the_providers() -> None:
    assert channel_of(text=" whole text ").text == " whole text "
    assert channel_of(text="whole", sentences=[]).text == "whole"
    assert channel_of(sentences=[]).text == ""


def test_the_input_is_not_changed() -> None:
    before = copy.deepcopy(FUN_ASR)
    read(FUN_ASR)
    assert before == FUN_ASR


# The text


@pytest.mark.parametrize(
    ("sentences", "text"),
    [
        (["Morning, team. ", "Ready."], "Morning, team. Ready."),
        ([" Morning.", " Ready."], "Morning. Ready."),
        (["Morning.", "Ready."], "Morning. Ready."),
        (["你好。", "再见。"], "你好。再见。"),
        (["你好", "OK", "再见"], "你好OK再见"),
        (["こんにちは。", "はい。"], "こんにちは。はい。"),
        (["안녕하세요.", "네."], "안녕하세요. 네."),
        (["One.", "", "Two."], "One. Two."),
        (["", ""], ""),
    ],
)
def test_sentences_are_joined_as_their_language_writes_them(sentences: list[str], text: str) -> None:
    assert text_of(*sentences) == text


def test_text_is_not_rebuilt_from_words_where_a_sentence_has_one() -> None:
    word: JsonValue = {"begin_time": 0, "end_time": 1, "text": "other", "punctuation": ""}
    given: JsonValue = [{"begin_time": 0, "end_time": 1, "text": "said", "words": [word]}]
    assert channel_of(text="said", sentences=given).text == "said"


def wordy(*words: str, **fields: JsonValue) -> dict[str, JsonValue]:
    """A sentence with words, each of a second, and without a text."""
    spoken: list[JsonValue] = [
        {"begin_time": at * 1_000, "end_time": (at + 1) * 1_000, "text": word, "punctuation": ""}
        for at, word in enumerate(words)
    ]
    return {"begin_time": 0, "end_time": len(words) * 1_000, "words": spoken, **fields}


A, B, C = (
    {"begin_time": at, "end_time": at + 9, "text": text} for at, text in ((0, "A."), (10, "B."), (20, "C."))
)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"text": "A. B. C.", "sentences": [A, C]}, "A. B. C."),
        ({"text": "A. B. C.", "sentences": [B]}, "A. B. C."),
        ({"text": " A. B.\n", "sentences": [A, {**B, "text": None}]}, "A. B."),
        ({"text": "A. B.", "sentences": [A, {**B, "text": " "}]}, "A. B."),
        ({"text": "A. B.", "sentences": [A, {**B, "text": ["B."]}]}, "A. B."),
        ({"text": "A. B.", "sentences": [A, "B."]}, "A. B."),
        ({"text": "A. B.", "sentences": [{**A, "text": ""}]}, "A. B."),
        ({"text": "A. B.", "sentences": []}, "A. B."),
        ({"text": "Hello World", "sentences": [wordy("Hello", " World")]}, "Hello World"),
        ({"text": "你好世界", "sentences": [wordy("你好", "世界", text="")]}, "你好世界"),
        ({"text": "", "sentences": [wordy("Hello", " World")]}, "Hello World"),
        ({"sentences": [wordy("Hello", "World")]}, "Hello World"),
        ({"sentences": [wordy("你好", "世界")]}, "你好世界"),
        ({"sentences": [A, wordy("B.")]}, "A. B."),
        ({"sentences": [{**A, "text": None, "words": ["A", "b"]}]}, "A b"),
        ({"sentences": [{"text": "A."}, {"text": "B."}]}, "A. B."),
        ({"sentences": [{"words": [{"text": "A", "punctuation": "."}, {"text": "b"}]}]}, "A. b"),
        ({"text": "A.", "sentences": [{"text": "A."}, {"text": "B."}]}, "A. B."),
        ({"text": "A. B.", "sentences": [{"text": "A."}]}, "A. B."),
        ({"text": "A", "sentences": [A, B]}, "A. B."),
        ({"text": "totally else", "sentences": [A, B]}, "totally else"),
        ({"text": "x", "sentences": [A, B]}, "A. B."),
    ],
)
def test_the_text_is_the_fuller_of_sentences_and_channel(fields: dict[str, Any], text: str) -> None:
    assert channel_of(**fields).text == text


def test_what_is_no_sentence_among_sentences_is_kept_beside_them() -> None:
    channel = channel_of(text="A.", sentences=[A, None, "B."])
    assert [sentence.text for sentence in channel.sentences or ()] == ["A."]
    assert channel.provider_extra == {"sentences": [None, "B."]}


# Unusual forms


def test_fields_of_later_versions_are_kept_at_their_level() -> None:
    document = copy.deepcopy(FUN_ASR)
    levels: list[Any] = [document, document["properties"], document["transcripts"][0]]
    levels += [levels[2]["sentences"][0], levels[2]["sentences"][0]["words"][1]]
    for number, level in enumerate(levels):
        level["new"] = {"level": number, "null": None}
        level["nothing"] = None
    transcript = read(document)
    channel = transcript.channels[0]
    assert channel.sentences is not None
    sentence = channel.sentences[0]
    assert sentence.words is not None
    found: list[Any] = [transcript, transcript.audio, channel, sentence, sentence.words[1]]
    assert [level.provider_extra for level in found] == [
        {"new": {"level": number, "null": None}, "nothing": None} for number in range(5)
    ]
    assert sentence.words[0].provider_extra is None


def test_urls_in_unknown_fields_lose_their_query() -> None:
    extra = read({"transcripts": [], "source": {"urls": ["https://h/a?Signature=canary"]}}).provider_extra
    assert extra == {"source": {"urls": ["https://h/a"]}}


def test_times_as_fractions_or_digits_become_integers() -> None:
    sentence = sentence_of(begin_time=760.4, end_time="1980")
    assert (sentence.begin_ms, sentence.end_ms) == (760, 1980)


NO_TIMES: list[JsonValue] = [None, "soon", "-5", "٣", True, [], float("nan"), float("inf"), 1e300, "9" * 19]


@pytest.mark.parametrize("bad", NO_TIMES)
def test_sentences_without_a_readable_time_are_kept_as_given_beside_the_text(bad: JsonValue) -> None:
    given: JsonValue = [{"begin_time": bad, "text": "a"}, {"end_time": bad, "text": "b"}]
    channel = channel_of(text="whole", sentences=given)
    assert (channel.text, channel.sentences) == ("whole", None)
    assert channel.provider_extra is not None
    assert channel.provider_extra["sentences"] is not None


@pytest.mark.parametrize("bad", NO_TIMES)
@pytest.mark.parametrize("name", ["begin_time", "end_time"])
def test_one_sentence_without_a_time_does_not_take_those_of_the_others(name: str, bad: JsonValue) -> None:
    """What stood in its place is kept, so that all can see which times are interpolated."""
    given: list[Any] = [
        {"begin_time": 0, "end_time": 900, "text": "a"},
        {"begin_time": 1_000, "end_time": 2_000, "text": "b", name: bad},
        {"begin_time": 2_100, "end_time": 3_000, "text": "c"},
    ]
    first, second, third = channel_of(text="a b c", sentences=given).sentences or ()
    assert (first.begin_ms, first.end_ms, third.begin_ms, third.end_ms) == (0, 900, 2_100, 3_000)
    interpolated = (900, 2_000) if name == "begin_time" else (1_000, 2_100)
    assert (second.begin_ms, second.end_ms) == interpolated
    assert repr(second.provider_extra) == repr({name: bad})
    assert first.provider_extra is third.provider_extra is None


def test_a_time_that_is_not_there_is_interpolated_from_the_words() -> None:
    words = [
        {"begin_time": 100, "end_time": 400, "text": "Hello", "punctuation": ""},
        {"begin_time": 400, "end_time": 900, "text": " there", "punctuation": "."},
    ]
    [sentence] = channel_of(sentences=[{"text": "Hello there.", "words": words}]).sentences or ()
    assert (sentence.begin_ms, sentence.end_ms) == (100, 900)
    assert sentence.provider_extra == {"begin_time": None, "end_time": None}


def test_sentences_without_times_share_what_is_between_their_neighbours_by_length() -> None:
    texts = ["first", "ab", "abcdef", "last"]
    given: list[Any] = [{"text": text} for text in texts]
    given[0] |= {"begin_time": 0, "end_time": 1_000}
    given[3] |= {"begin_time": 9_000, "end_time": 9_500}
    sentences = channel_of(sentences=given).sentences or ()
    assert [(each.begin_ms, each.end_ms) for each in sentences] == [
        (0, 1_000),
        (1_000, 3_000),
        (3_000, 9_000),
        (9_000, 9_500),
    ]


@pytest.mark.parametrize(
    "words", ["a b", [{"begin_time": 0, "end_time": 1}, 3], [None], {"begin_time": 0, "end_time": 1}]
)
def test_unreadable_words_stay_as_given_in_their_sentence(words: JsonValue) -> None:
    sentence = sentence_of(words=words)
    assert sentence.words is None
    assert sentence.provider_extra == {"words": words}


def test_one_word_without_a_time_does_not_take_those_of_the_others() -> None:
    words: list[Any] = [
        {"begin_time": 0, "end_time": 3, "text": "a", "punctuation": ""},
        {"begin_time": None, "end_time": None, "text": "b", "punctuation": ""},
        {"text": "c"},
        {"begin_time": 7, "end_time": 9, "text": "d", "punctuation": ""},
    ]
    assert sentence_of(words=words).words == (
        Word(0, 3, "a", ""),
        Word(3, 5, "b", "", {"begin_time": None, "end_time": None}),
        Word(5, 7, "c", None, {"begin_time": None, "end_time": None}),
        Word(7, 9, "d", ""),
    )
    untimed: JsonValue = [{"text": "ab"}, {"text": "c"}]
    spread = sentence_of(words=untimed).words or ()
    assert [(word.begin_ms, word.end_ms) for word in spread] == [(0, 6), (6, 9)]


def test_known_fields_of_another_type_are_kept_as_given() -> None:
    sentence = sentence_of(speaker_id="anna", language=["en"], emotion=3)
    assert (sentence.speaker_id, sentence.language, sentence.emotion) == (None, None, None)
    assert sentence.provider_extra == {"speaker_id": "anna", "language": ["en"], "emotion": 3}
    audio = read({"transcripts": [], "properties": {"channels": [0, "left"], "audio_format": 1}}).audio
    assert audio == AudioProperties(provider_extra={"channels": [0, "left"], "audio_format": 1})


def test_a_word_without_punctuation_or_text_is_still_a_word() -> None:
    assert sentence_of(words=[{"begin_time": 0, "end_time": 1, "text": None}]).words == (
        Word(0, 1, "", None),
    )


def test_sentence_ids_that_skip_are_kept_beside_ours() -> None:
    given = [{"begin_time": 0, "end_time": 1, "text": "a", "sentence_id": number} for number in (1, 3)]
    sentences = channel_of(sentences=given).sentences
    assert sentences is not None
    assert [(sentence.sentence_id, sentence.provider_extra) for sentence in sentences] == [
        (1, None),
        (2, {"sentence_id": 3}),
    ]


def test_a_channel_without_an_id_gets_its_position() -> None:
    assert [
        channel.channel_id for channel in read({"transcripts": [{"text": "a"}, {"text": "b"}]}).channels
    ] == [0, 1]


@pytest.mark.parametrize("is_escaped", [True, False])
def test_half_a_surrogate_pair_becomes_the_replacement_character(is_escaped: bool) -> None:
    word: JsonValue = {
        "begin_time": 0,
        "end_time": 1,
        "text": "a\ud800",
        "punctuation": "",
        "x\udfff": "\ud83d",
    }
    given_ = {"transcripts": [{"sentences": [{"words": [word], "text": "\U0001f600"}]}]}
    body = json.dumps(given_, ensure_ascii=is_escaped).encode("utf-8", "surrogatepass")
    [channel] = read(parse_json(body)).channels
    [sentence] = channel.sentences or ()
    assert sentence.words == (Word(0, 1, "a\ufffd", "", {"x\ufffd": "\ufffd"}),)
    assert sentence.text == "\U0001f600"
    TypeAdapter(Sentence).dump_json(sentence)


NONE_OF = "none of the {} `transcripts` has a text or readable sentences"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "the fun-asr result file is not a JSON object"),
        ([FUN_ASR], "the fun-asr result file is not a JSON object"),
        ({"secret": "words"}, "the fun-asr result file has no list `transcripts`"),
        ({"transcripts": {"0": "secret"}}, "the fun-asr result file has no list `transcripts`"),
        ({"transcripts": None}, "the fun-asr result file has no list `transcripts`"),
        ({"transcripts": None, "text": " "}, "the fun-asr result file has no list `transcripts`"),
        ({"transcripts": [{"channel_id": 0}]}, NONE_OF.format(1)),
        ({"transcripts": [{"sentences": [7]}]}, NONE_OF.format(1)),
        ({"transcripts": [{"text": None, "sentences": None}, {"text": {}}]}, NONE_OF.format(2)),
        ({"transcripts": [None, 7, {}], "text": ""}, NONE_OF.format(3)),
    ],
)
def test_what_is_no_transcript_is_refused_without_repeating_it(document: JsonValue, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read(document)


SAID: JsonValue = {"channel_id": 1, "text": "b"}
UNREADABLE: list[JsonValue] = [
    {"channel_id": 0, "text": None, "sentences": None},
    {"channel_id": 0},
    {"channel_id": 0, "text": None},
    {"channel_id": 0, "sentences": None},
    {"channel_id": 0, "sentences": [None]},
    {"channel_id": 0, "sentences": [7]},
    {"channel_id": 0, "sentences": [{}]},
    {"channel_id": 0, "sentences": [{"text": None}]},
    {"channel_id": 0, "sentences": [{"text": " "}]},
    {"channel_id": 0, "sentences": {}},
    {"channel_id": 0, "sentences": 7},
    {"channel_id": 0, "text": 7},
    {"channel_id": 0, "text": {}},
    {"channel_id": 0, "text": []},
    {"channel_id": 0, "text": [None], "sentences": [[]]},
    {"channel_id": 0, "content_duration_in_milliseconds": 0},
    {"channel_id": 0, "subtask_status": "FAILED", "message": "silent"},
    {"code": "SILENT"},
    {},
    None,
    7,
    False,
    [],
]


@pytest.mark.parametrize("raw", UNREADABLE)
def test_one_unreadable_channel_does_not_cost_the_others_their_text(raw: JsonValue) -> None:
    for raws in ([raw, SAID], [SAID, raw], [raw, SAID, raw]):
        channels = read({"transcripts": raws}).channels
        assert [channel.text for channel in channels] == ["b" if each is SAID else "" for each in raws]
        numbers = [
            each.get("channel_id", place) if isinstance(each, dict) else place
            for place, each in enumerate(raws)
        ]
        assert [channel.channel_id for channel in channels] == numbers
    with pytest.raises(ValueError, match="none of the 2"):
        read({"transcripts": [raw, raw]})


def test_what_an_unreadable_channel_has_is_kept() -> None:
    raws: list[JsonValue] = [{"text": 7, "code": "SILENT"}, 7, None, SAID]
    extras = [channel.provider_extra for channel in read({"transcripts": raws}).channels]
    assert extras == [{"text": 7, "code": "SILENT"}, {"text": 7}, None, None]


ODD_TEXTS: list[JsonValue] = [
    ["Good morning."],
    ["Good ", "morning."],
    ["", "Good morning."],
    [None, "Good morning."],
    [["Good "], "morning."],
    {"text": "Good morning."},
    {"content": "Good morning."},
    {"value": "Good morning."},
    {"text": ["Good ", "morning."]},
    {"text": {"value": "Good morning."}},
    {"text": None, "content": "Good morning."},
    {"content": [{"text": "Good "}, {"text": "morning."}]},
    {"type": "text", "text": "Good morning.", "lang": "en"},
    [{"text": "Good morning."}],
    [{"text": "Good "}, {"text": "morning."}],
    [{"type": "text", "text": "Good "}, "morning."],
    [{"value": "Good morning."}],
    [{"content": ["Good ", "morning."]}],
    ["Good morning.", 7],
    [{"image": 1}, "Good morning."],
    "Good morning.",
]


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_a_text_in_an_odd_form_is_read_and_kept(odd: JsonValue) -> None:
    kept = None if isinstance(odd, str) else {"text": odd}
    spoken_at: dict[str, JsonValue] = {"begin_time": 0, "end_time": 9, "text": odd}
    for sentence_of_it in (spoken_at, {**spoken_at, "words": []}, {**spoken_at, "words": [spoken_at]}):
        channel = channel_of(sentences=[sentence_of_it])
        [sentence] = channel.sentences or ()
        assert channel.text == sentence.text == "Good morning."
        assert sentence.provider_extra == kept
        assert [word.text for word in sentence.words or ()] in ([], ["Good morning."])
    assert channel_of(sentences=[{"text": odd}]).text == "Good morning."
    assert channel_of(sentences=[{"words": [{"text": odd}]}]).text == "Good morning."
    assert isinstance(odd, dict) or channel_of(sentences=[odd]).text == "Good morning."
    channel = channel_of(text=odd)
    assert (channel.text, channel.provider_text, channel.provider_extra) == (
        "Good morning.",
        "Good morning.",
        kept,
    )


@pytest.mark.parametrize("odd", ODD_TEXTS)
@pytest.mark.parametrize(
    "rest", [{"transcripts": []}, {"transcripts": None}, {}, {"transcripts": [None, {}]}, {"transcripts": {}}]
)
def test_a_file_without_channels_keeps_its_own_text(rest: dict[str, JsonValue], odd: JsonValue) -> None:
    transcript = read({**rest, "text": odd, "properties": {"channels": [0]}})
    assert transcript.channels == (Channel(0, "Good morning.", "Good morning."),)
    assert transcript.audio.channels == (0,)
    kept = {name: value for name, value in rest.items() if value}
    assert (transcript.provider_extra or {}) == (kept if isinstance(odd, str) else {**kept, "text": odd})


def test_a_files_own_text_stays_beside_channels_and_an_empty_one_is_none() -> None:
    assert read({"transcripts": [SAID], "text": "hello"}).provider_extra == {"text": "hello"}
    assert read({"transcripts": [], "text": " "}).channels == ()


# Nothing is lost

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: "://" not in text)
MS = st.integers(0, 50_000_000)
EXTRAS = st.dictionaries(
    st.sampled_from(["fixed", "loudness", "new"]), st.integers() | TEXT | st.lists(TEXT), max_size=2
)


def with_extras(fields: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda known, extra: {**extra, **known}, fields, EXTRAS)


def spoken(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    times = {"begin_time": MS, "end_time": MS, "text": TEXT}
    return with_extras(st.fixed_dictionaries({**times, **fields}))


WORDS = spoken(punctuation=TEXT)
SENTENCES = spoken(
    words=st.lists(WORDS, max_size=3), speaker_id=st.integers(0, 9), emotion=TEXT, language=TEXT
)
CHANNELS = with_extras(
    st.fixed_dictionaries(
        {"channel_id": st.integers(0, 3), "text": TEXT, "sentences": st.lists(SENTENCES, max_size=3)},
        optional={"content_duration_in_milliseconds": MS},
    )
)
PROPERTIES = with_extras(
    st.fixed_dictionaries(
        {},
        optional={
            "audio_format": TEXT,
            "channels": st.lists(st.integers(0, 3), max_size=2),
            "original_sampling_rate": MS,
            "original_duration_in_milliseconds": MS,
        },
    )
)
FILES = with_extras(
    st.fixed_dictionaries({"transcripts": st.lists(CHANNELS, max_size=2), "properties": PROPERTIES})
)


def undone(transcript: Transcript) -> dict[str, Any]:
    """The vendor's file again, from the normalised form alone."""
    names = {
        "format": "audio_format",
        "sampling_rate_hz": "original_sampling_rate",
        "duration_ms": "original_duration_in_milliseconds",
        "content_duration_ms": "content_duration_in_milliseconds",
        "provider_text": "text",
        "begin_ms": "begin_time",
        "end_ms": "end_time",
        "audio": "properties",
    }

    def back(value: Any, level: str = "") -> Any:
        if isinstance(value, list):
            return [back(item, level) for item in value]
        if not isinstance(value, dict):
            return value
        known = {name: item for name, item in value.items() if item is not None and name != "provider_extra"}
        if "provider_text" in known:
            del known["text"]
        known.pop("sentence_id", None)
        return {names.get(name, name): back(item) for name, item in known.items()} | value.get(
            "provider_extra", {}
        )

    document = back(json.loads(TypeAdapter(Transcript).dump_json(transcript)))
    document["transcripts"] = document.pop("channels")
    assert isinstance(document, dict)
    return document


@given(FILES)
def test_everything_the_provider_gave_can_be_read_back(document: dict[str, Any]) -> None:
    assert undone(read(document)) == document


KEYS = [
    "transcripts",
    "properties",
    "audio_info",
    "text",
    "sentences",
    "words",
    "begin_time",
    "end_time",
    "channels",
]
ODD = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
)


@given(ODD | st.lists(ODD, max_size=2).map(lambda odd: {"transcripts": odd}))
def test_any_json_is_normalised_or_refused_and_always_encodable(document: JsonValue) -> None:
    try:
        transcript = read_bytes(document)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        TypeAdapter(Transcript).dump_json(transcript)
    assert len(message) < 100


# Smaller forms, speech


def test_silence_has_no_channel() -> None:
    assert empty_transcript() == Transcript(AudioProperties(), ())
    assert speech_ms(empty_transcript()) == 0


def test_without_words_keeps_all_but_words() -> None:
    full = json.loads(TypeAdapter(Transcript).dump_json(read(FUN_ASR)))
    full["channels"][0]["sentences"][0]["words"] = None
    assert json.loads(TypeAdapter(Transcript).dump_json(without_words(read(FUN_ASR)))) == full
    assert without_words(empty_transcript()) == empty_transcript()
    assert without_words(text_only(read(FUN_ASR))) == text_only(read(FUN_ASR))


def test_text_only_keeps_channels_their_texts_and_the_audio() -> None:
    document = copy.deepcopy(QWEN)
    document["new"] = document["audio_info"]["new"] = document["transcripts"][0]["new"] = 1
    small = text_only(read(document))
    assert small == Transcript(
        AudioProperties("mp3", 44100), (Channel(0, "Good morning. Yes.", "Good morning."),)
    )


def test_speech_is_the_providers_figure_over_all_channels() -> None:
    document = {"transcripts": [{"text": "a", "content_duration_in_milliseconds": ms} for ms in (2480, 20)]}
    assert speech_ms(read(document)) == 2500


def test_speech_is_the_length_of_the_sentences_where_the_provider_gives_no_figure() -> None:
    assert speech_ms(read(QWEN)) == 1660 + 500
    assert speech_ms(read({"transcripts": [{"text": "a"}]})) == 0
