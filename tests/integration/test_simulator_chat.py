"""The OpenAI-compatible endpoint over HTTP: Qwen3-ASR and Omni as documented, and what is refused."""

from typing import Any

import pytest

from tests.integration.sync_client import chat, chat_body, data_uri, omni_body, qwen_body, read_events
from tests.integration.vendor_client import vendor

A = "https://media.example.org/a.wav?run=0&text=Hello+World,+this+is+a+test.&duration=2.6"
USAGE = {"include_usage": True}


async def test_qwen_answers_with_a_completion() -> None:
    async with vendor() as client:
        answer = await chat(client, chat_body(A, asr_options={"language": "en", "enable_itn": False}))
        assert answer.status_code == 200
        told = answer.json()
        assert told.pop("id").removeprefix("chatcmpl-") == answer.headers["x-request-id"]
        assert told == {
            "object": "chat.completion",
            "created": 1772417701,
            "model": "qwen3-asr-flash",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {
                        "role": "assistant",
                        "content": "Hello World, this is a test.",
                        "annotations": [{"type": "audio_info", "language": "en", "emotion": "neutral"}],
                    },
                }
            ],
            "usage": {
                "prompt_tokens": 75,
                "completion_tokens": 6,
                "total_tokens": 81,
                "seconds": 3,
                "prompt_tokens_details": {"audio_tokens": 75, "text_tokens": 0},
                "completion_tokens_details": {"text_tokens": 6},
            },
        }
        [submit] = client.simulator.ledger().submits
        assert (submit.answered, submit.task.billed_seconds()) == (True, 3)
        assert client.simulator.ledger().submitted_urls() == {A: 1}


async def test_silence_gives_an_empty_completion() -> None:
    async with vendor() as client:
        quiet = "https://media.example.org/a.wav?run=0&silence=1&duration=4"
        answer = (await chat(client, chat_body(quiet))).json()
        assert answer["choices"][0]["message"]["content"] == ""
        assert answer["usage"]["prompt_tokens_details"]["audio_tokens"] == 100
        events = read_events((await chat(client, omni_body(quiet))).text)
        assert [event.data["choices"][0]["delta"].get("content") for event in events[:-1]] == ["", ""]


async def test_omni_streams_prose_and_then_its_usage() -> None:
    async with vendor() as client:
        body = omni_body(A, "Write down what is said.", stream_options=USAGE, modalities=["text"])
        body["messages"].insert(0, {"role": "system", "content": "You transcribe audio."})
        answer = await chat(client, body)
        assert answer.headers["content-type"].startswith("text/event-stream")
        *chunks, usage, done = [event.data for event in read_events(answer.text)]
        assert done == "[DONE]"
        assert {chunk["object"] for chunk in (*chunks, usage)} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in (*chunks, usage)}) == 1
        choices = [chunk["choices"][0] for chunk in chunks]
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"]["content"] for choice in choices) == "Hello World, this is a test."
        assert len(choices) > 3
        assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
        assert {chunk["usage"] for chunk in chunks} == {None}
        assert usage["choices"] == []
        assert usage["usage"] == {
            "prompt_tokens": 29,
            "completion_tokens": 6,
            "total_tokens": 35,
            "prompt_tokens_details": {"audio_tokens": 21, "text_tokens": 8},
            "completion_tokens_details": {"text_tokens": 6},
        }
        [call] = client.simulator.ledger().calls
        assert (call.prompt, call.context) == ("Write down what is said.", "You transcribe audio.")
        assert client.simulator.ledger().submits[0].answered


async def test_the_usage_of_a_stream_comes_only_when_it_is_asked_for() -> None:
    async with vendor() as client:
        for body in (omni_body(A), chat_body(A, stream=True)):
            events = [event.data for event in read_events((await chat(client, body)).text)]
            assert events[-1] == "[DONE]"
            assert all(chunk["choices"] for chunk in events[:-1])
        answer = await chat(client, chat_body(A, stream=True, stream_options=USAGE))
        last, usage, _ = [event.data for event in read_events(answer.text)][-3:]
        assert last["choices"][0]["delta"]["annotations"][0]["type"] == "audio_info"
        assert usage["usage"]["seconds"] == 3


@pytest.mark.parametrize(
    ("model", "tokens", "most"),
    [
        ("qwen3.5-omni-plus", 7, 3 * 3600),
        ("qwen3-omni-flash-2025-12-01", 13, 1200),
        ("qwen-omni-turbo", 25, 180),
        ("qwen3-asr-flash-2025-09-08", 25, 300),
    ],
)
async def test_each_model_counts_tokens_and_seconds_of_its_own(model: str, tokens: int, most: int) -> None:
    async with vendor(submit_rpm=None) as client:
        for seconds, status in ((1, 200), (most, 200), (most + 1, 400)):
            audio = f"https://h.example/a.wav?run=0&text=Hi.&duration={seconds}"
            answer = await chat(client, omni_body(audio, model=model, stream_options=USAGE))
            assert answer.status_code == status
            if seconds == 1:
                usage = read_events(answer.text)[-2].data["usage"]
                assert usage["prompt_tokens_details"]["audio_tokens"] == tokens
            if status == 400:
                assert answer.json()["error"]["code"] == "InvalidFile.Duration"


async def test_a_model_may_stop_before_its_text_is_whole() -> None:
    async with vendor() as client:
        cut = f"{A}&finish=length"
        chunks = [event.data for event in read_events((await chat(client, omni_body(cut))).text)[:-1]]
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        whole = (await chat(client, chat_body(cut))).json()
        assert whole["choices"][0]["finish_reason"] == "length"


async def test_audio_in_the_call_needs_its_prefix_but_no_type() -> None:
    async with vendor(virtual=False, speed=1000, submit_rpm=None) as client:
        assert (await chat(client, omni_body(data_uri(b"sound", mime="")))).status_code == 200
        answer = await chat(client, omni_body("c291bmQ="))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter_error")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (chat_body(A, model=""), 400, "BadRequest.EmptyModel"),
        (chat_body(A, model="whisper"), 404, "model_not_found"),
        (chat_body(A, model="fun-asr"), 404, "model_not_supported"),
        (chat_body(A, model="fun-asr-flash"), 404, "model_not_supported"),
        (chat_body(A, model="qwen3-asr-flash-us"), 404, "model_not_found"),
        (chat_body(A, messages=[]), 400, "invalid_parameter_error"),
        (chat_body(A, messages=[{"role": "user", "content": "Hello"}]), 400, "invalid_parameter_error"),
        (chat_body(A, messages=[{"role": "tool", "content": "Hello"}]), 400, "invalid_parameter_error"),
        (chat_body(A, stream="yes"), 400, "invalid_parameter_error"),
        (chat_body(A, stream_options=USAGE), 400, "invalid_parameter_error"),
        (chat_body(A, stream=True, stream_options={"include_usage": 1}), 400, "invalid_parameter_error"),
        (chat_body(A, asr_options=[]), 400, "invalid_parameter_error"),
        (omni_body(A, modalities=["audio"]), 400, "invalid_parameter_error"),
        (omni_body(A, modalities=["text", "audio"]), 400, "invalid_parameter_error"),
        (omni_body("https://h.example/a.wav?run=soon"), 400, "invalid_parameter_error"),
        (qwen_body(A), 400, "invalid_parameter_error"),
    ],
)
async def test_a_refusal_is_an_error_object(body: dict[str, Any], status: int, code: str) -> None:
    async with vendor() as client:
        answer = await chat(client, body)
        assert answer.status_code == status
        error = answer.json()["error"]
        assert (error["code"], error["type"], error["param"]) == (code, "invalid_request_error", None)
        assert error["message"]
        assert client.simulator.ledger().submits == []


async def test_omni_refuses_an_answer_in_one_piece() -> None:
    async with vendor() as client:
        answer = await chat(client, omni_body(A, stream=False))
        assert answer.status_code == 400
        assert "only support stream mode" in answer.json()["error"]["message"]


async def test_speech_may_be_asked_for_and_text_comes() -> None:
    async with vendor() as client:
        body = {**omni_body(A, modalities=["text", "audio"]), "audio": {"voice": "Cherry", "format": "wav"}}
        assert (await chat(client, body)).status_code == 200


@pytest.mark.parametrize("kind", ["image_url", "video_url"])
async def test_a_message_mixes_text_with_one_other_modality(kind: str) -> None:
    async with vendor() as client:
        body = omni_body(A, "What is this?")
        body["messages"][0]["content"].append({"type": kind, kind: {"url": "https://h.example/x"}})
        answer = await chat(client, body)
        assert "more than one modality" in answer.json()["error"]["message"]


async def test_key_quota_and_async_header_are_refused_in_the_same_shape() -> None:
    async with vendor(quota_clock="simulated") as client:
        answer = await chat(client.as_key("sk-stranger"), chat_body(A))
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        answer = await chat(client, chat_body(A), **{"X-DashScope-Async": "enable"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "access_denied")
        answers = [await chat(client, chat_body(A)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        error = answers[-1].json()["error"]
        assert (error["code"], error["type"]) == ("limit_requests", "limit_requests")
