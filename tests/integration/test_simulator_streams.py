"""Synchronous calls that take their time or go wrong: what the client sees, and what was billed."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sandbox.simulator import Fault
from tests.integration.sync_client import (
    SSE,
    chat,
    chat_body,
    native,
    omni_body,
    qwen_body,
    read_events,
)
from tests.integration.vendor_client import KEY, VendorClient, vendor

A = "https://media.example.org/a.wav?run=0&words=40"
SLOW = "https://media.example.org/slow.wav?run=10&words=40"


async def _until_calls(client: VendorClient, number: int) -> None:
    for _ in range(10_000):
        if len(client.simulator.ledger().calls) == number:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{number} calls never came")


@contextlib.asynccontextmanager
async def _open_stream(client: VendorClient, body: object) -> AsyncIterator[httpx.Response]:
    url = f"{client.simulator.chat_base_url}/chat/completions"
    async with client.http.stream(
        "POST", url, json=body, headers={"Authorization": f"Bearer {KEY}"}
    ) as answer:
        yield answer


async def _read_until_it_breaks(client: VendorClient, body: object) -> str:
    """What came of a stream before its connection closed."""
    read = io.StringIO()
    async with _open_stream(client, body) as answer:
        with pytest.raises(httpx.RemoteProtocolError):
            await _read_all(answer, read)
    return read.getvalue()


async def _read_all(answer: httpx.Response, read: io.StringIO) -> None:
    async for text in answer.aiter_text():
        read.write(text)


async def test_a_call_takes_the_seconds_of_its_script_on_the_simulators_clock() -> None:
    async with vendor() as client:
        calling = asyncio.create_task(native(client, qwen_body(SLOW)))
        await _until_calls(client, 1)
        client.simulator.state.clock.advance(9)
        done, _ = await asyncio.wait({calling}, timeout=0.2)
        assert not done
        assert client.simulator.ledger().calls[0].status == 0
        client.simulator.state.clock.advance(1)
        assert (await calling).status_code == 200
        assert client.simulator.ledger().calls[0].status == 200


async def test_a_stream_comes_in_time_with_the_work() -> None:
    async with vendor() as client, _open_stream(client, omni_body(SLOW)) as answer:
        assert answer.status_code == 200
        texts = answer.aiter_text()
        [submit] = client.simulator.ledger().submits
        client.simulator.state.clock.advance(1)
        assert read_events(await anext(texts))[0].data["choices"][0]["delta"]["role"] == "assistant"
        assert not submit.answered
        client.simulator.state.clock.advance(9)
        rest = "".join([text async for text in texts])
        assert rest.endswith("data: [DONE]\n\n")
        assert submit.answered


async def test_a_clock_that_stands_still_holds_no_call_for_ever() -> None:
    async with vendor(call_patience_seconds=0.01) as client:
        answer = await native(client, qwen_body(SLOW))
        assert (answer.status_code, answer.json()["code"]) == (500, "RequestTimeOut")
        assert (await chat(client, omni_body(SLOW))).text.endswith("[DONE]\n\n")
        assert [entry.answered for entry in client.simulator.ledger().submits] == [False, True]


async def test_a_call_that_its_client_left_is_billed_unless_it_would_have_failed() -> None:
    async with vendor(submit_rpm=None) as client:
        stuck = "https://h.example/stuck.wav?status=RUNNING_FOREVER"
        lost = "https://h.example/lost.wav?run=10&fail=FILE_404_NOT_FOUND"
        for number, url in enumerate((SLOW, lost, stuck), 1):
            calling = asyncio.create_task(native(client, qwen_body(url)))
            await _until_calls(client, number)
            calling.cancel()
        ledger = client.simulator.ledger()
        for _ in range(10_000):
            if len(ledger.submits) == 2:
                break
            await asyncio.sleep(0.005)
        assert ledger.submitted_urls() == {SLOW: 1, stuck: 1}
        assert [call.status for call in ledger.calls] == [0, 0, 0]
        assert [entry.answered for entry in ledger.submits] == [False, False]


async def test_a_call_in_progress_ends_with_the_simulator() -> None:
    async with vendor() as client:
        calling = asyncio.create_task(native(client, qwen_body(SLOW)))
        await _until_calls(client, 1)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, RuntimeError)):
        await asyncio.wait_for(calling, 60)


async def test_an_answer_that_was_lost_is_billed_and_one_that_never_began_is_not() -> None:
    async with vendor() as client:
        for kind, billed in (("drop_after", 1), ("drop_before", 1)):
            await client.fault(on="transcribe", kind=kind)
            with pytest.raises(httpx.RemoteProtocolError):
                await native(client, qwen_body(A))
            assert client.simulator.ledger().submitted_urls() == {A: billed}
        assert not client.simulator.ledger().submits[0].answered
        assert [call.status for call in client.simulator.ledger().calls] == [0, 0]


async def test_a_stream_breaks_off_behind_so_many_events() -> None:
    async with vendor() as client:
        await client.fault(on="transcribe", kind="break_stream", chunks=3)
        events = read_events(await _read_until_it_breaks(client, omni_body(A)))
        assert len(events) == 3
        assert all(event.data["choices"][0]["finish_reason"] is None for event in events)
        [submit] = client.simulator.ledger().submits
        assert not submit.answered
        assert client.simulator.ledger().calls[0].fault == "break_stream"


async def test_a_stream_ends_early_as_if_that_were_all() -> None:
    async with vendor() as client:
        await client.fault(on="transcribe", kind="end_stream", chunks=1000)
        answer = await chat(client, omni_body(A))
        assert read_events(answer.text)[-1].data["choices"][0]["finish_reason"] == "stop"
        assert "[DONE]" not in answer.text
        await client.fault(on="transcribe", kind="end_stream", chunks=0)
        assert (await native(client, qwen_body(A), **SSE)).text == ""
        assert [entry.answered for entry in client.simulator.ledger().submits] == [False, False]


async def test_an_error_comes_in_the_middle_of_a_stream() -> None:
    error: dict[str, Any] = {"code": "InternalError.Algo", "message": "m", "status": 429}
    async with vendor() as client:
        client.simulator.state.add_fault(
            Fault(on="transcribe", kind="stream_error", chunks=2, times=2, **error)
        )
        *chunks, last = read_events((await chat(client, omni_body(A))).text)
        assert (len(chunks), last.data["error"]["code"]) == (2, "InternalError.Algo")
        *chunks, last = read_events((await native(client, qwen_body(A), **SSE)).text)
        assert (len(chunks), last.fields["event"], last.fields["status"]) == (2, "error", "429")
        assert last.comments == ["HTTP_STATUS/429"]
        assert (last.data["code"], last.data["message"]) == ("InternalError.Algo", "m")


async def test_what_breaks_a_stream_breaks_an_answer_in_one_piece() -> None:
    async with vendor(submit_rpm=None) as client:
        for kind in ("break_stream", "end_stream"):
            await client.fault(on="transcribe", kind=kind)
            with pytest.raises(httpx.RemoteProtocolError):
                await chat(client, chat_body(A))
        await client.fault(on="transcribe", kind="stream_error", code="InternalError")
        answer = await chat(client, chat_body(A))
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, "internal_error")
        await client.fault(on="transcribe", kind="break_stream")
        assert (await chat(client, chat_body(A, model="whisper"))).status_code == 404


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "limit_requests", "limit_requests"),
        (429, "insufficient_quota", "insufficient_quota"),
        (401, "invalid_api_key", "invalid_request_error"),
        (404, "model_not_found", "invalid_request_error"),
        (500, "internal_error", "internal_error"),
    ],
)
async def test_a_status_has_the_shape_of_its_endpoint(status: int, code: str, kind: str) -> None:
    async with vendor() as client:
        rule = {"on": "transcribe", "kind": "status", "status": status, "code": code, "retry_after": 7}
        await client.fault(**rule)
        answer = await chat(client, omni_body(A))
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
        assert (answer.json()["error"]["code"], answer.json()["error"]["type"]) == (code, kind)
        await client.fault(**rule, match="multimodal-generation")
        assert (await chat(client, omni_body(A))).status_code == 200
        answer = await native(client, qwen_body(A))
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_business_code_comes_with_status_200() -> None:
    async with vendor() as client:
        await client.fault(on="transcribe", kind="business_code", code="InternalError", times=2)
        answer = await native(client, qwen_body(A))
        assert (answer.status_code, answer.json()["code"]) == (200, "InternalError")
        answer = await chat(client, chat_body(A))
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, "internal_error")
        assert client.simulator.ledger().submits == []


async def test_the_work_may_be_done_and_billed_before_an_error_is_answered() -> None:
    async with vendor(submit_rpm=None) as client:
        await client.fault(on="transcribe", kind="status", status=504, accept=True, times=2)
        assert (await native(client, qwen_body(A))).status_code == 504
        assert (await chat(client, omni_body(A))).json()["error"]["code"] == "internal_error"
        assert [entry.answered for entry in client.simulator.ledger().submits] == [False, False]


async def test_the_faults_of_other_calls_hit_these_too() -> None:
    async with vendor(submit_rpm=None) as client:
        await client.fault(on="transcribe", kind="garbage", status=502)
        assert (await chat(client, chat_body(A))).headers["content-type"].startswith("text/html")
        await client.fault(on="transcribe", kind="truncate")
        with pytest.raises(httpx.RemoteProtocolError):
            await chat(client, omni_body(A))
        await client.fault(on="transcribe", kind="slow", seconds=0.05, times=2)
        assert (await chat(client, omni_body(A))).text.endswith("[DONE]\n\n")
        assert (await native(client, qwen_body(A))).status_code == 200
        answered = [entry.answered for entry in client.simulator.ledger().submits]
        assert answered == [False, True, True]
