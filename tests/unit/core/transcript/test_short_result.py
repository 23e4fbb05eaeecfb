"""Answers of synchronous models as transcripts: chat, sentences with times, prose."""

import pytest
from pydantic import JsonValue

from service.contract.model_table import Family
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.core.transcript.normalise import normalise
from service.core.transcript.short_result import is_cut_off

AUDIO_INFO: JsonValue = {"type": "audio_info", "language": "en", "emotion": "neutral"}


def chat(content: JsonValue, annotations: JsonValue = None, **more: JsonValue) -> JsonValue:
    message: dict[str, JsonValue] = {"role": "assistant", "content": content}
    if annotations is not None:
        message["annotations"] = annotations
    return {"choices": [{"finish_reason": "stop", "message": message, **more}]}


def channel_of(document: JsonValue, family: Family = Family.QWEN_ASR) -> Channel:
    [channel] = normalise(document, family).channels
    return channel


def test_a_chat_answer_gives_text_language_and_emotion_and_no_times() -> None:
    assert normalise(chat([{"text": "Hello from the clip."}], [AUDIO_INFO]), Family.QWEN_ASR) == Transcript(
        AudioProperties(),
        (Channel(0, "Hello from the clip.", "Hello from the clip.", language="en", emotion="neutral"),),
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"text": "a "}, {"text": "b"}, {"image": 1}, 7], "a b"),
        (["a ", {"type": "text", "text": {"value": "b"}}, None], "a b"),
        ({"text": "a"}, "a"),
        ("plain", "plain"),
        ([], ""),
        ("", ""),
    ],
)
def test_the_pieces_of_a_chat_answer_are_joined_and_none_are_silence(content: JsonValue, text: str) -> None:
    assert channel_of(chat(content)).text == text


def test_what_is_no_text_in_a_message_and_further_choices_are_kept() -> None:
    document = chat(["a", {"image": 1}, 7, [8]])
    assert isinstance(document, dict)
    assert isinstance(document["choices"], list)
    transcript = normalise(
        {"choices": [*document["choices"], {"message": {"content": "b"}}]}, Family.QWEN_ASR
    )
    assert transcript.channels[0].provider_extra == {"content": [{"image": 1}, 7, [8]]}
    assert transcript.provider_extra == {"choices": [{"message": {"content": "b"}}]}


def test_what_has_no_place_is_kept() -> None:
    document = chat([{"text": "a"}], [AUDIO_INFO, {"type": "odd"}], index=0)
    assert isinstance(document, dict)
    transcript = normalise({**document, "x": 1}, Family.QWEN_ASR)
    assert transcript.provider_extra == {"x": 1, "index": 0}
    assert transcript.channels[0].provider_extra == {"annotations": [AUDIO_INFO, {"type": "odd"}]}
    told: JsonValue = {"type": "audio_info", "language": "en", "loudness": 3}
    assert channel_of(chat("a", [told])).provider_extra == {"loudness": 3}


SENTENCE: JsonValue = {
    "sentence_id": 1,
    "sentence_end": True,
    "begin_time": 100,
    "end_time": 900,
    "channel_id": 0,
    "text": "Hello there.",
    "words": [
        {"text": "Hello", "begin_time": 100, "end_time": 400, "punctuation": "", "fixed": True},
        {"text": " there", "begin_time": 400, "end_time": 900, "punctuation": ".", "fixed": True},
    ],
}
TIMED = Sentence(
    1, 100, 900, "Hello there.", words=(Word(100, 400, "Hello", ""), Word(400, 900, " there", "."))
)


@pytest.mark.parametrize(
    "document",
    [
        {"sentence": SENTENCE, "text": "Hello there."},
        {"sentence": [SENTENCE], "text": "Hello there."},
        {"output": {"sentence": SENTENCE, "text": "Hello there."}},
    ],
)
def test_a_sentence_keeps_its_times_in_both_nestings(document: JsonValue) -> None:
    expected = Channel(0, "Hello there.", "Hello there.", sentences=(TIMED,))
    assert channel_of(document, Family.SHORT_AUDIO) == expected


def test_the_sentences_of_several_speakers_are_all_read_and_the_last_one_not_twice() -> None:
    def said(number: int, speaker: int | None, begin_ms: int) -> JsonValue:
        word: JsonValue = {
            "text": "Yes",
            "begin_time": begin_ms,
            "end_time": begin_ms + 9,
            "punctuation": ".",
        }
        times: dict[str, JsonValue] = {"begin_time": begin_ms, "end_time": begin_ms + 9}
        word = {**word, "speaker_id": speaker, "fixed": True} if isinstance(word, dict) else word
        return {"sentence_id": number, "text": "Yes.", "speaker_id": speaker, **times, "words": [word]}

    both = [said(1, 0, 100), said(2, 1, 200)]
    document: JsonValue = {"sentences": both, "sentence": both[-1], "text": "Yes.Yes."}
    transcript = normalise(document, Family.SHORT_AUDIO)
    assert transcript.provider_extra is None
    sentences = transcript.channels[0].sentences or ()
    assert [(each.speaker_id, each.begin_ms) for each in sentences] == [(0, 100), (1, 200)]
    assert [word.provider_extra for each in sentences for word in each.words or ()] == [None, None]
    [alone] = channel_of({"sentence": said(1, None, 100), "text": "Yes."}, Family.SHORT_AUDIO).sentences or ()
    assert (alone.speaker_id, (alone.words or ())[0].provider_extra) == (None, None)


@pytest.mark.parametrize("every", [None, [], {}, 7, "x"])
def test_a_list_of_sentences_that_is_none_leaves_the_one_sentence(every: JsonValue) -> None:
    channel = channel_of(
        {"sentences": every, "sentence": SENTENCE, "text": "Hello there."}, Family.SHORT_AUDIO
    )
    assert channel.sentences == (TIMED,)


def test_a_word_of_another_speaker_than_its_sentences_keeps_it() -> None:
    word: JsonValue = {"text": "a", "begin_time": 0, "end_time": 1, "punctuation": "", "speaker_id": 1}
    sentence: JsonValue = {"begin_time": 0, "end_time": 1, "text": "a", "speaker_id": 0, "words": [word]}
    [read] = channel_of({"sentence": sentence}, Family.SHORT_AUDIO).sentences or ()
    assert [word.provider_extra for word in read.words or ()] == [{"speaker_id": 1}]


def test_an_answer_of_text_alone_has_no_times() -> None:
    channel = channel_of({"text": "Hello"}, Family.SHORT_AUDIO)
    assert (channel.text, channel.sentences) == ("Hello", None)
    silent = channel_of({"text": ""}, Family.SHORT_AUDIO)
    assert (silent.text, silent.sentences) == ("", ())


def test_a_sentence_with_odd_words_keeps_them_as_they_came() -> None:
    odd: JsonValue = {"begin_time": 0, "end_time": 1, "text": "x", "words": [7]}
    [sentence] = channel_of({"sentence": odd}, Family.SHORT_AUDIO).sentences or ()
    assert sentence.provider_extra == {"words": [7]}


@pytest.mark.parametrize("sentence", [["x"], {"begin_time": None, "text": "a"}, {}, "a"])
def test_a_text_is_kept_whatever_its_sentence_is_like(sentence: JsonValue) -> None:
    transcript = normalise({"sentence": sentence, "text": "a"}, Family.SHORT_AUDIO)
    assert transcript.channels[0].text == "a"
    assert transcript.channels[0].sentences is None
    assert transcript.provider_extra == {"sentence": sentence}


def test_a_sentence_with_a_null_time_keeps_the_other() -> None:
    given: JsonValue = [{"begin_time": 5, "end_time": None, "text": "a"}, 7]
    channel = channel_of({"sentence": given, "text": "a"}, Family.SHORT_AUDIO)
    assert channel.sentences == (Sentence(1, 5, 5, "a", provider_extra={"end_time": None}),)
    assert channel.provider_extra == {"sentences": [7]}


def test_the_text_of_a_sentence_without_any_time_is_kept() -> None:
    channel = channel_of({"sentence": {"text": "no times"}}, Family.SHORT_AUDIO)
    assert (channel.text, channel.sentences) == ("no times", None)


@pytest.mark.parametrize(
    "document", [{"sentence": ["a"]}, {"text": ["a"]}, {"text": {"text": "a"}}, {"sentence": {"text": ["a"]}}]
)
def test_the_text_of_an_answer_in_an_odd_form_is_kept(document: JsonValue) -> None:
    assert channel_of(document, Family.SHORT_AUDIO).text == "a"


def test_prose_is_one_text() -> None:
    document: JsonValue = {"text": " Good morning. ", "finish_reason": "stop"}
    transcript = normalise(document, Family.OMNI)
    assert transcript == Transcript(AudioProperties(), (Channel(0, "Good morning.", " Good morning. "),))
    assert not is_cut_off(transcript)


def test_prose_that_was_cut_off_says_so() -> None:
    assert is_cut_off(normalise({"text": "Good", "finish_reason": "length"}, Family.OMNI))


@pytest.mark.parametrize(
    ("family", "document"),
    [
        (Family.QWEN_ASR, []),
        (Family.QWEN_ASR, {}),
        (Family.QWEN_ASR, {"choices": []}),
        (Family.QWEN_ASR, {"choices": [7]}),
        (Family.QWEN_ASR, {"choices": [{}]}),
        (Family.QWEN_ASR, chat(7)),
        (Family.SHORT_AUDIO, {}),
        (Family.SHORT_AUDIO, {"output": {}}),
        (Family.SHORT_AUDIO, {"sentence": []}),
        (Family.SHORT_AUDIO, {"sentence": [7]}),
        (Family.SHORT_AUDIO, {"text": {"no": "no times"}}),
        (Family.SHORT_AUDIO, {"sentence": {"text": " "}}),
        (Family.OMNI, {}),
        (Family.OMNI, {"text": 7}),
    ],
)
def test_a_file_that_is_no_transcript_is_reported_without_its_text(
    family: Family, document: JsonValue
) -> None:
    with pytest.raises(ValueError, match="the answer") as caught:
        normalise(document, family)
    assert "no times" not in str(caught.value)


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    assert channel_of(chat([{"text": "a\ud83d"}])).text == "a\ufffd"
    assert channel_of(chat("a", [{"language": "\udc00"}])).language == "\ufffd"


def test_a_chat_answer_that_was_cut_off_says_so() -> None:
    transcript = normalise(chat("Good", finish_reason="length"), Family.QWEN_ASR)
    assert is_cut_off(transcript)
    assert transcript.channels[0].text == "Good"
