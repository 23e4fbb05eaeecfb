"""The vendor's SDK, the sample programs in it and the `openai` package, all unchanged, must work against the
simulator's synchronous endpoints.
"""

import base64
from pathlib import Path
from typing import Any, cast

import pytest

import sandbox
from sandbox.simulator import Fault, SimulatorConfig, serve
from tests.conformance.running import KEY, run_program, run_sample

SPEECH = Path(sandbox.__file__).with_name("speech") / "austen-0880.wav"
TEXT = "Hello World, this is a speech lab. It is not far."
A = "https://media.example.org/a.wav?run=1&duration=3.2&text=" + TEXT.replace(" ", "+")
QUIET = "https://media.example.org/quiet.wav?silence=1"
LOST = "https://media.example.org/lost.wav?fail=FILE_404_NOT_FOUND"
BAD = "https://media.example.org/bad.wav?words=30"
EXAMPLES = "dashscope.examples"


def _config(**changes: Any) -> SimulatorConfig:
    return SimulatorConfig(speed=10, api_keys={KEY: "a"}, submit_rpm=None, **changes)


async def test_the_vendors_sdk_reads_answers_streams_silence_and_errors_of_qwen() -> None:
    inline = "data:audio/wav;base64," + base64.b64encode(SPEECH.read_bytes()[:20_000]).decode()
    async with serve(_config()) as simulator:
        error: dict[str, Any] = {"code": "InternalError.Algo", "message": "m", "status": 503}
        rule = Fault(on="transcribe", kind="stream_error", chunks=2, times=None, match="bad.wav", **error)
        simulator.state.add_fault(rule)
        audios = [A, QUIET, inline, LOST, BAD]
        code, told, errors = await run_sample("multimodal_sample.py", simulator, *audios)

        assert (code, errors) == (0, "")
        good, quiet, by_content, lost, bad = cast(list[Any], told)
        _check_ways(*good)
        assert {answer["text"] for way in quiet for answer in way} == {""}
        assert by_content[0][0]["text"].startswith("Transcript of inline-")
        refused = {"status": 400, "code": "BadRequest.InputDownloadFailed"}
        assert all(refused.items() <= way[-1].items() for way in lost)
        assert bad[1][-1] == bad[2][-1] == {"status": 503, "code": "InternalError.Algo", "message": "m"}
        assert [len(way) for way in bad[1:]] == [3, 3]

        ledger = simulator.ledger()
        assert {url: ledger.submitted_urls()[url] for url in (A, QUIET, LOST)} == {A: 3, QUIET: 3, LOST: 0}
        assert {call.context for call in ledger.calls_of("transcribe")} == {"Terms: Kubernetes"}
        assert [entry.answered for entry in ledger.submits] == [True] * 9 + [False] * 3


def _check_ways(whole: list[Any], repeating: list[Any], adding: list[Any]) -> None:
    """One audio, told in one piece, in a stream that repeats and in one that adds."""
    for way in (whole, repeating, adding):
        assert [answer["finish_reason"] for answer in way] == ["null"] * (len(way) - 1) + ["stop"]
        assert all(answer["annotations"][0]["language"] == "en" for answer in way)
        assert {answer["seconds"] for answer in way} == {4}
    assert len(repeating) == len(adding) > 2
    assert all(TEXT.startswith(answer["text"]) for answer in repeating)
    assert whole[0]["text"] == repeating[-1]["text"] == "".join(answer["text"] for answer in adding) == TEXT


@pytest.mark.computes
async def test_the_vendors_sdk_hands_the_short_models_output_through() -> None:
    async with serve(_config()) as simulator:
        code, [told], errors = await run_sample("short_audio_sample.py", simulator, "fun-asr-flash", A)
        assert (code, errors) == (0, "")
        assert told["output"]["text"] == told["output"]["sentence"]["text"] == TEXT
        assert told["usage"]["duration"] == 4


@pytest.mark.computes
async def test_the_sample_programs_in_the_vendors_package_run_as_they_are(tmp_path: Path) -> None:
    async with serve(_config()) as simulator:
        conversation = f"{EXAMPLES}.legacy_1x.multimodal_conversation.asr"
        code, out, errors = await run_program(simulator, "-m", conversation)
        assert (code, errors) == (0, "")
        assert out.splitlines()[1] == "Transcript of audios/welcome.mp3."

        direct = f"{EXAMPLES}.01_atomic_capabilities.audio.direct_call.asr_http_stream"
        target = tmp_path / "transcript.txt"
        code, _, errors = await run_program(
            simulator, "-m", direct, "--file", str(SPEECH), "--transcript", str(target)
        )
        assert code == 0, errors
        assert '"usage": {"duration"' in errors
        assert target.read_text().startswith("Transcript of inline-")
        models = [call.model for call in simulator.ledger().calls_of("transcribe")]
        assert models == ["qwen3-asr-flash", "qwen-audio-3.1-asr-flash"]
        assert all(entry.answered for entry in simulator.ledger().submits)


async def test_the_openai_package_reads_text_end_and_usage() -> None:
    calls = {
        "plain:qwen3-asr-flash": 100,
        "stream:qwen3-asr-flash": 100,
        "stream:qwen3.5-omni-plus": 28,
        "stream:qwen-omni-turbo-2025-03-26": 100,
    }
    async with serve(_config()) as simulator:
        code, told, errors = await run_sample("openai_sample.py", simulator, A, *calls)

        assert (code, errors) == (0, "")
        for call, answer in zip(calls, told, strict=True):
            assert "".join(answer["pieces"]) == TEXT
            assert (len(answer["pieces"]) > 2) == call.startswith("stream")
            assert (answer["finish_reason"], answer["error"]) == ("stop", None)
            assert answer["usage"]["prompt_tokens_details"]["audio_tokens"] == calls[call]
        entries = simulator.ledger().calls_of("transcribe")
        assert {entry.context for entry in entries} == {"You transcribe audio."}
        assert [entry.prompt for entry in entries] == ["", ""] + ["Write down what is said."] * 2
        assert simulator.ledger().submitted_urls() == {A: 4}


@pytest.mark.computes
async def test_the_openai_package_raises_what_went_wrong_by_its_class() -> None:
    rules: list[dict[str, Any]] = [
        {"kind": "stream_error", "chunks": 2},
        {"kind": "status", "status": 429, "code": "limit_requests"},
        {"kind": "status", "status": 401, "code": "invalid_api_key"},
        {"kind": "status", "status": 404, "code": "model_not_found"},
        {"kind": "end_stream", "chunks": 2},
    ]
    async with serve(_config()) as simulator:
        for rule in rules:
            simulator.state.add_fault(Fault(on="transcribe", **rule))
        calls = ["stream:qwen3.5-omni-flash"] * len(rules) + ["plain:qwen3.5-omni-flash"]
        code, told, errors = await run_sample("openai_sample.py", simulator, A, *calls)

        assert (code, errors) == (0, "")
        assert [(answer["error"], answer["status"]) for answer in told] == [
            (["APIError", "internal_error"], None),
            (["RateLimitError", "limit_requests"], 429),
            (["AuthenticationError", "invalid_api_key"], 401),
            (["NotFoundError", "model_not_found"], 404),
            # A stream that ends early shows in no error, but in what is missing.
            (None, None),
            (["BadRequestError", "invalid_parameter_error"], 400),
        ]
        assert [len(answer["pieces"]) for answer in told] == [2, 0, 0, 0, 2, 0]
        assert {answer["finish_reason"] for answer in told} == {None}
        assert simulator.ledger().submitted_urls() == {A: 2}
