"""The vendor's own synchronous endpoint over HTTP: each family as documented, and what is refused."""

from typing import Any

import pytest

from tests.integration.sync_client import SSE, data_uri, native, qwen_body, read_events, short_body
from tests.integration.vendor_client import VendorClient, vendor

A = "https://media.example.org/a.wav?run=0&text=Hello+World,+this+is+a+test.+It+ends+here.&duration=2.6"
QUIET = "https://media.example.org/quiet.wav?run=0&silence=1&duration=4"


def _choice(answer: Any) -> dict[str, Any]:
    [choice] = answer["output"]["choices"]
    return dict(choice)


async def test_qwen_answers_with_the_text_the_language_and_the_bill() -> None:
    async with vendor() as client:
        body = qwen_body(A, context="Terms: Kubernetes, etcd", asr_options={"language": "de"})
        answer = await native(client, body)
        assert answer.status_code == 200
        assert answer.json() == {
            "request_id": answer.headers["x-request-id"],
            "output": {
                "choices": [
                    {
                        "finish_reason": "stop",
                        "message": {
                            "role": "assistant",
                            "content": [{"text": "Hello World, this is a test. It ends here."}],
                            "annotations": [{"type": "audio_info", "language": "de", "emotion": "neutral"}],
                        },
                    }
                ]
            },
            "usage": {
                "input_tokens_details": {"text_tokens": 3},
                "output_tokens_details": {"text_tokens": 9},
                "seconds": 3,
            },
        }
        [submit] = client.simulator.ledger().submits
        [call] = client.simulator.ledger().calls
        assert (submit.answered, submit.task.billed_seconds()) == (True, 3)
        assert client.simulator.ledger().submitted_urls() == {A: 1}
        assert (call.kind, call.model, call.status) == ("transcribe", "qwen3-asr-flash", 200)
        assert (call.context, call.prompt, call.task_id) == (
            "Terms: Kubernetes, etcd",
            "",
            submit.task.task_id,
        )
        ledger = await client.ledger()
        assert ledger["submits"][0]["parameters"] == {"asr_options": {"language": "de"}, "language": "de"}
        assert (await client.list()).json()["total"] == 0


async def test_the_options_and_the_context_have_the_effect_that_they_have_on_file_tasks() -> None:
    said = "https://h.example/a.wav?run=0&text=Three+Kubernetes+pods.&misheard=kubernetes:communities"
    async with vendor() as client:
        plain = await native(client, qwen_body(said))
        helped = await native(client, qwen_body(said, context="Kubernetes", asr_options={"enable_itn": True}))
        listed = await native(client, short_body(said, vocabulary={"Kubernetes": 4}))
        assert _choice(plain.json())["message"]["content"] == [{"text": "Three communities pods."}]
        assert _choice(helped.json())["message"]["content"] == [{"text": "3 Kubernetes pods."}]
        assert listed.json()["output"]["text"] == "Three Kubernetes pods."


async def test_silence_gives_empty_content_and_a_bill_for_the_length() -> None:
    async with vendor() as client:
        answer = (await native(client, qwen_body(QUIET))).json()
        assert _choice(answer)["message"]["content"] == []
        assert answer["usage"]["seconds"] == 4
        short = (await native(client, short_body(QUIET))).json()
        assert (short["output"]["text"], short["output"]["sentence"]["words"]) == ("", [])
        assert [entry.task.billed_seconds() for entry in client.simulator.ledger().submits] == [4, 4]


@pytest.mark.parametrize("incremental", [False, True])
async def test_a_qwen_stream_repeats_what_was_said_unless_it_is_incremental(incremental: bool) -> None:
    async with vendor() as client:
        answer = await native(client, qwen_body(A, incremental_output=incremental), **SSE)
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = read_events(answer.text)
        assert [event.fields["id"] for event in events] == [str(n) for n in range(1, len(events) + 1)]
        assert {(event.fields["event"], *event.comments) for event in events} == {
            ("result", "HTTP_STATUS/200")
        }
        texts = [_choice(event.data)["message"]["content"][0]["text"] for event in events]
        whole = "Hello World, this is a test. It ends here."
        assert len(texts) > 2
        assert ("".join(texts) if incremental else texts[-1]) == whole
        assert incremental or all(whole.startswith(text) for text in texts)
        reasons = [_choice(event.data)["finish_reason"] for event in events]
        assert reasons == ["null"] * (len(events) - 1) + ["stop"]
        assert len({event.data["request_id"] for event in events}) == 1
        [submit] = client.simulator.ledger().submits
        assert submit.answered


async def test_the_short_models_answer_with_a_sentence_and_its_words() -> None:
    async with vendor() as client:
        body = short_body("https://h.example/a.wav?run=0&text=Hello+World,+hi.&duration=3", sample_rate=16000)
        answer = (await native(client, body)).json()
        assert answer["output"]["text"] == "Hello World, hi."
        sentence = answer["output"]["sentence"]
        words = sentence.pop("words")
        assert sentence == {
            "sentence_id": 1,
            "sentence_end": True,
            "begin_time": 300,
            "end_time": 2700,
            "channel_id": 0,
            "text": "Hello World, hi.",
        }
        assert words[1] == {
            "text": " World",
            "begin_time": 1100,
            "end_time": 1900,
            "punctuation": ", ",
            "fixed": True,
        }
        assert answer["usage"] == {"duration": 3}


async def test_the_short_models_may_nest_their_output_twice_and_stream_it_by_sentences() -> None:
    async with vendor(short_audio_nesting=2) as client:
        for model in ("qwen-audio-3.0-asr-flash", "qwen-audio-3.1-asr-flash", "fun-asr-flash-2026-06-15"):
            body = {**short_body(A), "model": model}
            whole = (await native(client, body)).json()["output"]["output"]
            assert whole["sentence"]["text"] == whole["text"]
            first, second = read_events((await native(client, body, **SSE)).text)
            outputs = [event.data["output"]["output"] for event in (first, second)]
            assert [output["sentence"]["sentence_id"] for output in outputs] == [1, 2]
            assert [output["text"] for output in outputs] == [outputs[0]["sentence"]["text"], whole["text"]]


async def test_audio_in_the_call_itself_is_heard_and_named_by_its_content() -> None:
    async with vendor(virtual=False, speed=1000, submit_rpm=None) as client:
        first, again, other = [
            (await native(client, qwen_body(data_uri(content)))).json() for content in (b"a", b"a", b"b")
        ]
        texts = [_choice(answer)["message"]["content"][0]["text"] for answer in (first, again, other)]
        assert texts[0].startswith("Transcript of inline-")
        assert texts[0] == texts[1] != texts[2]
        assert sorted(client.simulator.ledger().submitted_urls().values()) == [1, 2]


@pytest.mark.parametrize(
    ("size", "code"),
    [(7 * 1024 * 1024, None), (8 * 1024 * 1024, "InvalidParameter"), (13 << 20, "BadRequest.TooLarge")],
)
async def test_inline_audio_is_counted_as_it_is_sent(size: int, code: str | None) -> None:
    async with vendor(virtual=False, speed=1000) as client:
        answer = await native(client, qwen_body(data_uri(bytes(size))))
        assert answer.json().get("code") == code
        assert code != "InvalidParameter" or "max bytes per data-uri item" in answer.json()["message"]
        assert len(client.simulator.ledger().submits) == (0 if code else 1)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("duration=300", 200, None),
        ("duration=300.1", 400, "InvalidFile.Duration"),
        ("silence=1&duration=301", 400, "InvalidFile.Duration"),
        ("size=10485760", 200, None),
        ("size=10485761", 400, "InvalidFile.Size"),
        ("fail=FILE_404_NOT_FOUND", 400, "BadRequest.InputDownloadFailed"),
        ("fail=DECODE_ERROR", 400, "InvalidFile.Openerror"),
        ("fail=DataInspectionFailed", 400, "DataInspectionFailed"),
        ("fail=Throttling.Concurrency", 429, "Throttling.Concurrency"),
        ("task_fail=InternalError.Algo", 500, "InternalError.Algo"),
        ("run=301", 500, "RequestTimeOut"),
        ("status=RUNNING_FOREVER", 500, "RequestTimeOut"),
        ("run=soon", 400, "InvalidParameter"),
    ],
)
async def test_what_cannot_be_transcribed_is_refused_and_not_billed(
    query: str, status: int, code: str | None
) -> None:
    async with vendor(virtual=False, speed=20_000) as client:
        answer = await native(client, qwen_body(f"https://h.example/a.wav?{query}"))
        assert (answer.status_code, answer.json().get("code")) == (status, code)
        assert len(client.simulator.ledger().submits) == (1 if code is None else 0)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": ""}, 400, "BadRequest.EmptyModel"),
        ({"model": "whisper"}, 400, "InvalidParameter"),
        ({"model": "fun-asr"}, 403, "AccessDenied"),
        ({"model": "qwen3-asr-flash-filetrans"}, 403, "AccessDenied"),
        ({"model": "qwen3-asr-flash-us"}, 400, "InvalidParameter"),
        ({"model": "qwen3.5-omni-flash"}, 400, "InvalidParameter"),
        ({"input": None}, 400, "BadRequest.EmptyInput"),
        ({"input": {}}, 400, "InvalidParameter"),
        ({"input": {"messages": ["x"]}}, 400, "InvalidParameter"),
        ({"input": {"messages": [{"role": "system", "content": "x"}]}}, 400, "InvalidParameter"),
        ({"input": {"messages": [{"role": "user", "content": [{"text": "x"}]}]}}, 400, "InvalidParameter"),
        ({"input": {"messages": [{"role": "user", "content": 7}]}}, 400, "InvalidParameter"),
        ({"parameters": []}, 400, "InvalidParameter"),
        ({"parameters": {"asr_options": "en"}}, 400, "InvalidParameter"),
        ({"parameters": {"asr_options": {"language": ["en"]}}}, 400, "InvalidParameter"),
        ({"parameters": {"asr_options": {"enable_itn": "yes"}}}, 400, "InvalidParameter"),
    ],
)
async def test_a_call_that_makes_no_sense_is_refused(change: dict[str, Any], status: int, code: str) -> None:
    async with vendor() as client:
        answer = await native(client, {**qwen_body(A), **change})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert client.simulator.ledger().submits == []


@pytest.mark.parametrize(
    "audio",
    [7, "", "file:///a.wav", "a.wav", "oss://b/a.wav", "data:audio/wav;base64,", "data:audio/wav;base64,?"],
)
async def test_what_is_no_audio_is_refused(audio: object) -> None:
    async with vendor() as client:
        for body in (qwen_body(audio), short_body(audio)):
            answer = await native(client, body)
            assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


async def test_headers_decide_who_may_call_and_how() -> None:
    async with vendor() as client:
        answer = await native(client, qwen_body(A), **{"X-DashScope-Async": "enable"})
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
        assert answer.json()["message"].endswith("does not support asynchronous calls.")
        answer = await native(client.as_key("sk-stranger"), qwen_body(A))
        assert (answer.status_code, answer.json()["code"]) == (401, "InvalidApiKey")
        answer = await client.submit(A, model="qwen3-asr-flash")
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")


async def test_an_uploaded_file_is_read_with_the_resolve_header_and_for_its_model_alone() -> None:
    resolving = {"X-DashScope-OssResourceResolve": "enable"}
    async with vendor() as client:
        url = "oss://" + await _uploaded(client, "qwen3-asr-flash") + "?run=0&text=From+the+store."
        answer = await native(client, qwen_body(url), **resolving)
        assert _choice(answer.json())["message"]["content"] == [{"text": "From the store."}]
        assert (await native(client, qwen_body(url))).json()["code"] == "InvalidParameter"
        other = await native(client, short_body(url), **resolving)
        assert (other.status_code, other.json()["code"]) == (400, "BadRequest.InputDownloadFailed")
        assert client.simulator.ledger().submitted_urls() == {url: 1}


async def _uploaded(client: VendorClient, model: str) -> str:
    """The key of a small file in the temporary store."""
    policy = await client.call("GET", "/uploads", params={"action": "getPolicy", "model": model})
    leave = policy.json()["data"]
    key = f"{leave['upload_dir']}/a.wav"
    form = {
        "OSSAccessKeyId": leave["oss_access_key_id"],
        "Signature": leave["signature"],
        "policy": leave["policy"],
        "key": key,
        "success_action_status": "200",
    }
    stored = await client.http.post(leave["upload_host"], data=form, files={"file": b"sound"})
    assert stored.status_code == 200
    return key


async def test_a_hotword_list_helps_the_short_model_that_it_is_for() -> None:
    said = "https://h.example/a.wav?run=0&text=Kubernetes+pods.&misheard=kubernetes:communities"
    words = [{"text": "Kubernetes", "weight": 4}]
    order = {"action": "create_vocabulary", "prefix": "a", "vocabulary": words}
    async with vendor() as client:
        texts = []
        for target in ("fun-asr-flash", "fun-asr"):
            body = {"model": "speech-biasing", "input": {**order, "target_model": target}}
            made = await client.call("POST", "/services/audio/asr/customization", json=body)
            vocabulary_id = made.json()["output"]["vocabulary_id"]
            client.simulator.state.clock.advance(60)
            answer = await native(client, short_body(said, vocabulary_id=vocabulary_id))
            texts.append(answer.json()["output"]["text"])
        assert texts == ["Kubernetes pods.", "communities pods."]


async def test_a_format_is_required_of_the_short_models() -> None:
    async with vendor() as client:
        answer = await native(client, short_body(A, format=None))
        assert answer.json()["message"] == "parameters.format is required"


async def test_the_newest_short_model_tells_speakers_apart_and_bills_tokens() -> None:
    async with vendor() as client:
        newest = {**short_body(A, speaker_diarization_enabled=True), "model": "qwen-audio-3.1-asr-flash"}
        answer = (await native(client, newest)).json()
        sentences = answer["output"]["sentences"]
        assert [each["speaker_id"] for each in sentences] == [0, 1]
        assert {word["speaker_id"] for word in sentences[1]["words"]} == {1}
        assert "".join(each["text"] for each in sentences) == answer["output"]["text"]
        assert set(answer["usage"]) == {"duration", "input_tokens", "output_tokens", "total_tokens"}
        older = (await native(client, {**newest, "model": "qwen-audio-3.0-asr-flash"})).json()
        assert ("sentences" in older["output"], set(older["usage"])) == (False, {"duration"})
        odd = {**short_body(A, keep_dialect="yes"), "model": "qwen-audio-3.1-asr-flash"}
        assert (await native(client, odd)).json()["message"] == "parameters.keep_dialect must be a boolean"


async def test_what_tells_the_topic_comes_before_the_audio() -> None:
    told = {"role": "user", "content": [{"type": "input_text", "text": "Kafka"}]}
    async with vendor(submit_rpm=None) as client:
        body = short_body(A)
        [audio] = body["input"]["messages"]
        for messages, status in (
            ([told, audio], 200),
            ([audio, told], 400),
            ([{**told, "role": "assistant"}, audio], 400),
            ([{"role": "system", "content": [{"text": "Kafka"}]}, audio], 400),
        ):
            answer = await native(client, {**body, "input": {"messages": messages}})
            assert answer.status_code == status, messages
        ledger = client.simulator.ledger()
        assert [(call.prompt, call.context) for call in ledger.calls if call.status == 200] == [("", "Kafka")]


async def test_virginia_has_its_own_models_alone() -> None:
    async with vendor(region="us-east-1") as client:
        for model, status in (
            ("qwen3-asr-flash-us", 200),
            ("qwen3-asr-flash-2025-09-08-us", 200),
            ("qwen3-asr-flash", 200),
            ("qwen3-asr-flash-2026-02-10", 400),
            ("fun-asr-flash", 400),
        ):
            assert (await native(client, {**qwen_body(A), "model": model})).status_code == status


async def _statuses(client: VendorClient, model: str, calls: int) -> list[int]:
    return [(await native(client, {**qwen_body(A), "model": model})).status_code for _ in range(calls)]


async def test_each_model_has_its_quota_of_a_minute_and_a_sixtieth_of_it_in_a_second() -> None:
    async with vendor(quota_clock="simulated") as client:
        assert await _statuses(client, "qwen3-asr-flash", 3) == [200, 200, 429]
        assert await _statuses(client, "qwen3-asr-flash-2026-02-10", 2) == [200, 200]
        for _ in range(49):
            client.simulator.state.clock.advance(1)
            assert await _statuses(client, "qwen3-asr-flash", 2) == [200, 200]
        client.simulator.state.clock.advance(1)
        assert await _statuses(client, "qwen3-asr-flash", 1) == [429]
