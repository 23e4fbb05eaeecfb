"""The wire of synchronous models for short audio: bodies, and what an answer came to."""

import json

import pytest
from pydantic import JsonValue

from service.core.provider.answers import Answered, Bill, Lost, Refused
from service.provider.wire.answer_fields import HttpAnswer
from service.provider.wire.short_audio import call_body, format_of, read_call

HOST = "dashscope-intl.aliyuncs.com"
URL = "https://media.example.org/clip.mp3?Signature=a%2Bb"


def served(document: JsonValue, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {}, json.dumps(document).encode())


def body(model: str, **options: JsonValue) -> JsonValue:
    document: JsonValue = json.loads(call_body(model, URL, options))
    return document


def test_qwen_asr_is_sent_as_a_chat_with_its_context_first() -> None:
    assert body("qwen3-asr-flash", context="Kafka", asr_options={"language": "en"}) == {
        "model": "qwen3-asr-flash",
        "input": {
            "messages": [
                {"role": "system", "content": [{"text": "Kafka"}]},
                {"role": "user", "content": [{"audio": URL}]},
            ]
        },
        "parameters": {"asr_options": {"language": "en"}},
    }
    assert body("qwen3-asr-flash-us") == {
        "model": "qwen3-asr-flash-us",
        "input": {"messages": [{"role": "user", "content": [{"audio": URL}]}]},
        "parameters": {},
    }


def test_the_other_short_models_get_the_audios_format() -> None:
    assert body("fun-asr-flash", vocabulary_id="v", extra_parameters={"x": 1}) == {
        "model": "fun-asr-flash",
        "input": {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": URL}}]},
            ]
        },
        "parameters": {"format": "mp3", "vocabulary_id": "v", "x": 1},
    }
    told = body("qwen-audio-3.1-asr-flash", format="opus", sample_rate=16000, keep_dialect=True)
    assert isinstance(told, dict)
    assert told["parameters"] == {"format": "opus", "sample_rate": "16000", "keep_dialect": True}


def test_context_messages_come_before_the_audio_and_are_no_parameter() -> None:
    user: JsonValue = {"role": "user", "content": [{"type": "input_text", "text": "Kafka"}]}
    assistant: JsonValue = {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]}
    audio: JsonValue = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": URL}}]}
    assert body("fun-asr-flash-2026-06-15", context=[user, assistant]) == {
        "model": "fun-asr-flash-2026-06-15",
        "input": {"messages": [user, assistant, audio]},
        "parameters": {"format": "mp3"},
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, "mp3"),
        ("https://h/A.WAV", "wav"),
        ("https://h/a", None),
        ("https://h/download.php?id=7", None),
        ("https://h/rec.20240101", None),
        ("https://h/a.", None),
        ("https://h/a.%20x", None),
        ("https://h.wav", None),
        ("oss://b/c.flac", "flac"),
    ],
)
def test_the_format_is_what_the_path_ends_in(url: str, expected: str | None) -> None:
    assert format_of(url) == expected


@pytest.mark.parametrize(
    ("document", "seconds"),
    [
        ({"output": {"choices": []}, "usage": {"seconds": 3}}, 3),
        ({"output": {"text": "a"}, "usage": {"duration": 2.1}}, 3),
        ({"output": {"output": {"text": "a"}, "usage": {"duration": 4}}}, 4),
        ({"output": {"text": "a"}, "usage": {"seconds": True}}, None),
    ],
)
def test_an_answer_is_its_output_and_its_bill(document: dict[str, JsonValue], seconds: int | None) -> None:
    assert read_call(served(document), HOST) == Answered(document["output"], Bill(seconds))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"duration": 3, "input_tokens": 75, "output_tokens": 6, "total_tokens": 81}, (75, 6)),
        ({"duration": 3, "input_tokens": 0, "output_tokens": 6.5}, (0, 7)),
        ({"duration": 3, "input_tokens": "75", "output_tokens": -6}, (None, None)),
        ({"duration": 3, "input_tokens": True, "output_tokens": 1e300}, (None, None)),
        ({"duration": 3, "input_tokens_details": {"text_tokens": 8}}, (None, None)),
    ],
)
def test_the_tokens_of_a_call_are_read_where_they_make_sense(
    usage: dict[str, JsonValue], tokens: tuple[int | None, int | None]
) -> None:
    outer: JsonValue = {"output": {"text": "a"}, "usage": usage}
    inner: JsonValue = {"output": {"text": "a", "usage": usage}}
    for document in (outer, inner):
        answer = read_call(served(document), HOST)
        assert isinstance(answer, Answered)
        assert (answer.bill.input_tokens, answer.bill.output_tokens) == tokens
        assert answer.bill.seconds == 3


@pytest.mark.parametrize("code", ["Throttling.RateQuota", "The odd one"])
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_an_error_in_the_vendors_words_is_refused(code: str, status: int) -> None:
    answer = read_call(served({"code": code, "message": "no"}, status), HOST)
    assert isinstance(answer, Refused)
    assert answer.provider_error.code == code


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(200, {}, b"<html>"),
        HttpAnswer(200, {}, b"{}"),
        HttpAnswer(200, {}, b'{"output":null}'),
        HttpAnswer(502, {}, b"<html>"),
        HttpAnswer(504, {}, b'{"code":"InternalError"}'),
        served({"code": "RequestTimeOut", "message": "300 s"}, 500),
    ],
)
def test_what_may_have_been_billed_is_lost(answer: HttpAnswer) -> None:
    assert isinstance(read_call(answer, HOST), Lost)
