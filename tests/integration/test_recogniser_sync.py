"""Real speech through the simulator's synchronous endpoints: fetched, or sent in the call itself."""

import asyncio
import io
import re
import wave
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import sandbox
from sandbox.simulator.server import serve_app
from tests.integration.sync_client import (
    SSE,
    chat,
    chat_body,
    data_uri,
    native,
    omni_body,
    qwen_body,
    read_events,
    short_body,
)
from tests.integration.vendor_client import vendor

SPEECH = Path(sandbox.__file__).with_name("speech")
NAME = "austen-0880.wav"
TEXTS = dict(line.split("\t") for line in (SPEECH / "texts.tsv").read_text().splitlines())


def _silence(seconds: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8_000)
        writer.writeframes(bytes(16_000 * seconds))
    return file.getvalue()


def _is_heard(text: str) -> bool:
    """Whether most of what is said in the recording is there."""
    said = set(TEXTS[NAME].split())
    return len(said & set(re.findall(r"[a-z]+", text.lower()))) >= 0.7 * len(said)


async def _answer(request: Request) -> Response:
    name = request.path_params["name"]
    return Response((SPEECH / NAME).read_bytes()) if name == NAME else Response(status_code=404)


@pytest.mark.computes
async def test_the_recogniser_answers_through_both_doors() -> None:
    app = Starlette(routes=[Route("/{name}", _answer)])
    async with (
        serve_app(app) as origin,
        vendor(engine="whisper", virtual=False, load_model_at_start=True, submit_rpm=None) as client,
    ):
        url, inline = f"{origin}/{NAME}", data_uri((SPEECH / NAME).read_bytes())
        answer = (await native(client, qwen_body(url))).json()
        assert _is_heard(answer["output"]["choices"][0]["message"]["content"][0]["text"])
        assert answer["usage"]["seconds"] == 3

        events = read_events((await native(client, short_body(inline), **SSE)).text)
        assert _is_heard(events[-1].data["output"]["text"])
        assert events[-1].data["output"]["sentence"]["words"][-1]["end_time"] <= 3_000

        answer = (await chat(client, chat_body(inline))).json()
        assert _is_heard(answer["choices"][0]["message"]["content"])
        chunks = [event.data for event in read_events((await chat(client, omni_body(url))).text)[:-1]]
        assert _is_heard("".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks))

        assert [entry.task.billed_seconds() for entry in client.simulator.ledger().submits] == [3] * 4
        assert all(entry.answered for entry in client.simulator.ledger().submits)


@pytest.mark.computes
async def test_silence_is_an_empty_answer_and_bad_audio_a_refusal() -> None:
    async with (
        serve_app(Starlette(routes=[Route("/{name}", _answer)])) as origin,
        vendor(engine="whisper", virtual=False, submit_rpm=None) as client,
    ):
        quiet = (await native(client, qwen_body(data_uri(_silence(4))))).json()
        assert quiet["output"]["choices"][0]["message"]["content"] == []
        assert quiet["usage"]["seconds"] == 4
        for audio, code in (
            (f"{origin}/missing.wav", "BadRequest.InputDownloadFailed"),
            (data_uri(b"this is no audio at all " * 50), "InvalidFile.Format"),
            (data_uri(_silence(301)), "InvalidFile.Duration"),
        ):
            answer = await native(client, qwen_body(audio))
            assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert [entry.task.billed_seconds() for entry in client.simulator.ledger().submits] == [4]


async def test_a_client_that_leaves_while_its_audio_is_fetched_may_have_paid() -> None:
    asked = asyncio.Event()

    async def never(_: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with (
        serve_app(Starlette(routes=[Route("/a.wav", never)])) as origin,
        vendor(engine="whisper", virtual=False) as client,
    ):
        calling = asyncio.create_task(native(client, qwen_body(f"{origin}/a.wav")))
        await asked.wait()
        calling.cancel()
        ledger = client.simulator.ledger()
        for _ in range(1000):
            if ledger.submits:
                break
            await asyncio.sleep(0.005)
        assert ledger.submitted_urls() == {f"{origin}/a.wav": 1}
        assert [call.status for call in ledger.calls] == [0]
