"""The asynchronous families of the simulator: what each takes, answers and leaves out on the wire."""

from typing import Any

import pytest

from sandbox.simulator.models import BEIJING, FILE_MODELS
from tests.integration.vendor_client import VendorClient, vendor

A = "https://media.example.org/a.wav?run=2&text=Um,+we+need+two+uh+copies.+Good+bye."
B = "https://media.example.org/b.wav?run=2"
QWEN3 = "qwen3-asr-flash-filetrans"
QWEN_AUDIO = "qwen-audio-3.1-asr-flash-filetrans"


async def _submit(client: VendorClient, model: str, file_url: str = A, **parameters: object) -> str:
    given: dict[str, object] = {FILE_MODELS[model].shape: file_url}
    if FILE_MODELS[model].shape == "file_urls":
        given = {"file_urls": [file_url]}
    return await client.task(model=model, input=given, parameters=parameters)


async def _ended(client: VendorClient, task_id: str) -> dict[str, Any]:
    client.simulator.state.clock.advance(2)
    return await client.query(task_id)


async def _document(client: VendorClient, answer: dict[str, Any]) -> dict[str, Any]:
    output = answer["output"]
    [result] = output["results"] if "results" in output else [output["result"]]
    return dict((await client.http.get(result["transcription_url"])).json())


@pytest.mark.parametrize("model", sorted(FILE_MODELS))
async def test_every_model_goes_from_submit_to_a_result_file_in_its_shape(model: str) -> None:
    async with vendor(region=BEIJING) as client:
        task_id = await _submit(client, model)
        assert "task_metrics" in (await client.query(task_id))["output"]
        answer = await _ended(client, task_id)
        document = await _document(client, answer)
        [transcript] = document["transcripts"]
        first, second = transcript["sentences"]
        assert (document["file_url"], transcript["text"]) == (A, "Um, we need two uh copies. Good bye.")
        single = FILE_MODELS[model].shape == "file_url"
        assert single == (model.startswith(QWEN3))
        assert ("result" in answer["output"], "results" in answer["output"]) == (single, not single)
        tokens = ["input_tokens", "output_tokens"] if "3.1" in model else []
        assert list(answer["usage"]) == (["seconds"] if single else ["duration", *tokens])
        assert [first["sentence_id"], second["sentence_id"]] == ([0, 1] if single else [1, 2])
        assert ("audio_info" in document, "properties" in document) == (single, not single)
        assert ("emotion" in first, "language" in first) == (single, single)
        assert ("words" in first) == (not single)
        assert ("content_duration_in_milliseconds" in transcript) == (not single)
        [row] = (await client.list(model_name=model)).json()["data"]
        assert (row["status"], row["region"]) == ("SUCCEEDED", BEIJING)


async def test_a_model_of_another_region_does_not_exist() -> None:
    async with vendor() as singapore, vendor(region="us-east-1") as virginia:
        for client, model in ((singapore, "paraformer-v2"), (virginia, "fun-asr")):
            answer = await client.submit(A, model=model)
            assert (answer.status_code, answer.json()["message"]) == (400, "Model not exist.")
        assert (await singapore.submit(A, model="fun-asr")).status_code == 200


async def test_qwen3_shows_language_and_emotions_and_its_words_when_asked_and_never_speakers() -> None:
    url = (
        "https://media.example.org/a.mp3?run=2&text=One+two.+Three.&emotion=happy,sad&language=de&format=mp3"
    )
    async with vendor() as client:
        bare = await _document(client, await _ended(client, await _submit(client, QWEN3, url)))
        task_id = await _submit(
            client,
            QWEN3,
            url,
            language="en",
            enable_words=True,
            enable_itn=True,
            diarization_enabled=True,
            channel_id=[0, 1],
        )
        full = await _document(client, await _ended(client, task_id))
    assert bare["audio_info"] == {"format": "mp3", "sample_rate": 16000}
    assert bare["transcripts"][0]["sentences"] == [
        {
            "sentence_id": 0,
            "begin_time": 170,
            "end_time": 1076,
            "language": "de",
            "emotion": "happy",
            "text": "One two. ",
        },
        {
            "sentence_id": 1,
            "begin_time": 1076,
            "end_time": 1530,
            "language": "de",
            "emotion": "sad",
            "text": "Three.",
        },
    ]
    spoken, missing = full["transcripts"]
    assert (spoken["text"], missing["channel_id"], missing["sentences"]) == ("1 2. 3.", 1, [])
    first = spoken["sentences"][0]
    assert (first["language"], "speaker_id" in first) == ("en", False)
    assert [(word["text"], word["punctuation"]) for word in first["words"]] == [("1", ""), (" 2", ". ")]


@pytest.mark.parametrize("shape", ["succeeded", "failed", "failed_with_results"])
async def test_a_failed_file_of_qwen3_is_a_failed_task_without_results_in_every_shape(shape: str) -> None:
    async with vendor(all_failed_shape=shape) as client:
        task_id = await _submit(client, QWEN3, f"{B}&fail=FILE_403_FORBIDDEN")
        answer = await _ended(client, task_id)
        output = answer["output"]
        assert (output["task_status"], output["code"], output["message"]) == (
            "FAILED",
            "FILE_403_FORBIDDEN",
            "FILE_403_FORBIDDEN",
        )
        assert not {"result", "results"} & output.keys()
        assert "usage" not in answer
        [row] = (await client.list()).json()["data"]
        assert row["status"] == "FAILED"


@pytest.mark.parametrize("task_fail", ["InternalError", "InternalError&keep_results=1"])
async def test_a_task_of_qwen3_that_fails_whole_shows_no_result(task_fail: str) -> None:
    async with vendor() as client:
        output = (await _ended(client, await _submit(client, QWEN3, f"{B}&task_fail={task_fail}")))["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "InternalError")
        assert not {"result", "results"} & output.keys()


@pytest.mark.parametrize("given", [{"file_urls": [B]}, {"file_urls": "x"}, {}])
async def test_qwen3_with_the_wrong_field_is_accepted_and_its_task_fails(given: dict[str, object]) -> None:
    async with vendor() as client:
        task_id = await client.task(model=QWEN3, input=given)
        output = (await client.query(task_id))["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "REQUEST_INVALID_FILE_URL_VALUE")
        [entry] = client.simulator.ledger().submits
        assert entry.task.billed_seconds() == 0


@pytest.mark.parametrize(
    "file_url", [None, 7, [B], "file:///a.wav", "data:audio/wav;base64,AA==", "oss://b/a"]
)
async def test_a_file_url_that_is_none_is_refused(file_url: object) -> None:
    async with vendor() as client:
        answer = await client.submit(model=QWEN3, input={"file_url": file_url})
        assert (answer.status_code, answer.json()["message"]) == (400, "url error, please check url！")
        assert client.simulator.ledger().submits == []


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("fun-asr", {"file_url": B}),
        (QWEN_AUDIO, {"file_url": B}),
        (QWEN_AUDIO, {"file_urls": [A, B]}),
        (QWEN_AUDIO, {"file_urls": [B], "context": "about trains"}),
        (QWEN_AUDIO, {"file_urls": [B], "context": [{"role": "system", "content": []}]}),
        (QWEN_AUDIO, {"file_urls": [B], "context": [{"role": "user", "content": "about trains"}]}),
        (
            QWEN_AUDIO,
            {"file_urls": [B], "context": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        ),
    ],
)
async def test_an_input_that_the_model_does_not_take_is_400(model: str, given: dict[str, object]) -> None:
    async with vendor() as client:
        answer = await client.submit(model=model, input=given)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


async def test_qwen_audio_takes_a_context_longer_than_it_keeps_and_others_ignore_one() -> None:
    rounds = [
        {"role": "user", "content": [{"type": "input_text", "text": "x" * 1000}]},
        {"role": "assistant", "content": [{"type": "text", "text": "y"}]},
    ] * 6
    async with vendor() as client:
        for model, context in ((QWEN_AUDIO, rounds), ("fun-asr", "anything")):
            given = {"file_urls": [B], "context": context}
            assert (await client.submit(model=model, input=given)).status_code == 200


@pytest.mark.parametrize(
    ("model", "parameters", "is_refused"),
    [
        (QWEN_AUDIO, {"vocabulary": {"Kubernetes": 5, "Helm": 50}}, False),
        (QWEN_AUDIO, {"vocabulary": {"Kubernetes": 6}}, True),
        (QWEN_AUDIO, {"vocabulary": {"Kubernetes": True}}, True),
        (QWEN_AUDIO, {"vocabulary": ["Kubernetes"]}, True),
        (QWEN_AUDIO, {"language_hints": ["en", "de", "fr", "it", "es"]}, False),
        ("paraformer-v2", {"disfluency_removal_enabled": "yes"}, True),
        ("paraformer-v2", {"timestamp_alignment_enabled": 1}, True),
        ("paraformer-v2", {"language_hints": "en"}, True),
        ("paraformer-v1", {"language_hints": "a name it does not know"}, False),
        ("fun-asr", {"disfluency_removal_enabled": "a name it does not know"}, False),
        (QWEN3, {"language": ["en"]}, True),
        (QWEN3, {"enable_itn": "yes"}, True),
        (QWEN3, {"enable_words": 1}, True),
        (QWEN3, {"language_hints": "a name it does not know"}, False),
    ],
)
async def test_a_model_judges_its_own_parameters_alone(
    model: str, parameters: dict[str, object], is_refused: bool
) -> None:
    async with vendor(region=BEIJING) as client:
        given = {"file_url": B} if model == QWEN3 else {"file_urls": [B]}
        answer = await client.submit(model=model, input=given, parameters=parameters)
        assert answer.status_code == (400 if is_refused else 200)
        assert (next(iter(parameters)) in answer.text) == is_refused


@pytest.mark.parametrize(
    ("model", "text"),
    [("paraformer-v2", "we need two copies. Good bye."), ("fun-asr", "Um, we need two uh copies. Good bye.")],
)
async def test_filler_words_go_where_the_model_can_drop_them(model: str, text: str) -> None:
    async with vendor(region=BEIJING) as client:
        task_id = await _submit(client, model, disfluency_removal_enabled=True)
        answer = await _ended(client, task_id)
        [transcript] = (await _document(client, answer))["transcripts"]
        assert transcript["text"] == text
        assert answer["usage"]["duration"] == -(-transcript["content_duration_in_milliseconds"] // 1000)


async def test_a_model_with_a_limit_of_running_tasks_takes_more_when_some_have_ended() -> None:
    async with vendor(region=BEIJING, submit_rpm={}) as client:
        for _ in range(100):
            await _submit(client, "paraformer-8k-v2", B)
        refused = await client.submit(B, model="paraformer-8k-v2")
        assert (refused.status_code, refused.json()["code"]) == (429, "Throttling.Concurrency")
        assert (await client.submit(B, model="paraformer-v2")).status_code == 200
        client.simulator.state.clock.advance(2)
        assert (await client.submit(B, model="paraformer-8k-v2")).status_code == 200
