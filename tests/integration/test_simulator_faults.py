"""Each fault switch over HTTP: what the client sees, and what the ledger says was billed."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import httpx
import pytest

from sandbox.simulator import Fault
from tests.integration.vendor_client import SUBMIT, VendorClient, vendor

A = "https://media.example.org/a.wav?run=0"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def _give_up(call: Coroutine[Any, Any, httpx.Response], arrived: Callable[[], bool]) -> None:
    """Be a client that waits for an answer until the condition holds, and no longer."""
    calling = asyncio.create_task(call)
    await _until(arrived)
    assert not calling.done()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_an_answer_dropped_after_the_submit_leaves_a_billed_task_without_a_known_id() -> None:
    async with vendor() as client:
        await client.fault(on="submit", kind="drop_after")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.submit(A)
        [entry] = client.simulator.ledger().submits
        [call] = client.simulator.ledger().calls
        assert (entry.answered, call.status, call.fault) == (False, 0, "drop_after")
        assert call.task_id == entry.task.task_id
        [row] = (await client.list()).json()["data"]
        assert row["task_id"] == entry.task.task_id
        assert await client.status(entry.task.task_id) == "SUCCEEDED"
        await client.task(A)
        assert client.simulator.ledger().submitted_urls() == {A: 2}


async def test_a_submit_dropped_before_it_arrived_is_not_billed() -> None:
    async with vendor() as client:
        await client.fault(on="submit", kind="drop_before", times=2)
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.submit(A)
        await client.task(A)
        assert client.simulator.ledger().submitted_urls() == {A: 1}


@pytest.mark.parametrize("retry_after", [None, 7, "Mon, 02 Mar 2026 02:16:00 GMT"])
async def test_a_status_comes_with_its_code_and_perhaps_with_retry_after(retry_after: object) -> None:
    async with vendor() as client:
        await client.fault(
            on="submit",
            kind="status",
            status=429,
            code="Throttling.BurstRate",
            message="m",
            retry_after=retry_after,
        )
        answer = await client.submit(A)
        assert (answer.status_code, answer.json()["code"]) == (429, "Throttling.BurstRate")
        assert answer.headers.get("retry-after") == (None if retry_after is None else str(retry_after))
        assert client.simulator.ledger().submits == []


@pytest.mark.parametrize("call", ["submit", "query", "list", "cancel"])
async def test_every_call_can_be_hit_by_business_codes_and_by_a_proxys_page(call: str) -> None:
    async with vendor() as client:
        task_id = await client.task("https://media.example.org/a.wav?pending=9")
        calls: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
            "submit": lambda: client.submit(A),
            "query": lambda: client.call("GET", f"/tasks/{task_id}"),
            "list": client.list,
            "cancel": lambda: client.cancel(task_id),
        }
        await client.fault(on=call, kind="business_code", code="InternalError.Algo")
        answer = await calls[call]()
        assert (answer.status_code, answer.json()["code"]) == (200, "InternalError.Algo")
        await client.fault(on=call, kind="garbage", status=502)
        answer = await calls[call]()
        assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")
        assert (await calls[call]()).status_code == 200
        assert len(client.simulator.ledger().submits) == (2 if call == "submit" else 1)


@pytest.mark.parametrize("kind", ["status", "business_code", "garbage", "redirect"])
async def test_a_submit_may_be_accepted_and_answered_as_if_it_were_not(kind: str) -> None:
    async with vendor() as client:
        await client.fault(on="submit", kind=kind, accept=True)
        answer = await client.submit(A)
        assert "task_id" not in answer.text
        assert answer.status_code == {"status": 500, "redirect": 302}.get(kind, 200)
        [entry] = client.simulator.ledger().submits
        [call] = client.simulator.ledger().calls
        assert (entry.answered, call.task_id) == (False, entry.task.task_id)


async def test_a_running_task_may_be_unknown_for_a_while() -> None:
    async with vendor() as client:
        task_id = await client.task(A)
        await client.fault(on="query", kind="unknown", times=2, match=task_id)
        assert [await client.status(task_id) for _ in range(3)] == ["UNKNOWN", "UNKNOWN", "SUCCEEDED"]


async def test_a_rule_hits_only_what_it_matches() -> None:
    async with vendor() as client:
        rule = client.simulator.state.add_fault(Fault(on="submit", kind="status", times=None, match="b.wav"))
        statuses = [
            (await client.submit(f"https://media.example.org/{name}.wav")).status_code for name in "abab"
        ]
        assert (statuses, rule.hits) == ([200, 500, 200, 500], 2)
        answer = await client.http.get(f"{client.simulator.origin}/_sim/faults")
        assert [(told["match"], told["hits"]) for told in answer.json()] == [("b.wav", 2)]
        await client.http.delete(f"{client.simulator.origin}/_sim/faults")
        assert (await client.submit("https://media.example.org/b.wav")).status_code == 200


async def test_a_rule_that_cannot_be_read_is_refused_over_http() -> None:
    async with vendor() as client:
        for body in (b"{", b'{"on": "submit", "kind": "explode"}'):
            answer = await client.http.post(f"{client.simulator.origin}/_sim/faults", content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]


async def test_a_slow_submit_is_billed_even_when_the_client_gives_up() -> None:
    async with vendor() as client:
        await client.fault(on="submit", kind="slow", seconds=0.05)
        await client.task(A)
        await client.fault(on="submit", kind="slow", seconds=30)
        await _give_up(
            client.call(
                "POST",
                SUBMIT,
                json={"model": "fun-asr", "input": {"file_urls": [A]}, "parameters": {}},
                headers={"X-DashScope-Async": "enable"},
            ),
            lambda: len(client.simulator.ledger().submits) == 2,
        )
        assert [entry.answered for entry in client.simulator.ledger().submits] == [True, False]


async def test_a_hanging_call_ends_with_the_client_or_with_the_simulator() -> None:
    async with vendor() as client:
        client.simulator.state.add_fault(Fault(on="query", kind="hang", times=None))
        await _give_up(client.call("GET", "/tasks/x"), lambda: len(client.simulator.ledger().calls) == 1)
        hanging = asyncio.create_task(client.call("GET", "/tasks/x"))
        await _until(lambda: len(client.simulator.ledger().calls) == 2)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout, RuntimeError)):
        await asyncio.wait_for(hanging, 60)
    assert [call.status for call in client.simulator.ledger().calls] == [0, 0]


async def test_a_result_file_can_be_cut_short_late_refused_or_moved() -> None:
    async with vendor() as client:
        url = await client.result_url(await client.task(A))
        for rule in (
            {"kind": "truncate"},
            {"kind": "drop_before"},
        ):
            await client.fault(on="result", **rule)
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                await client.http.get(url)
        await client.fault(on="result", kind="status", status=503, code="SlowDown")
        refused = await client.http.get(url)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/xml")
        await client.fault(on="result", kind="redirect", location="https://elsewhere.example/x")
        moved = await client.http.get(url)
        assert (moved.status_code, moved.headers["location"]) == (302, "https://elsewhere.example/x")
        await client.fault(on="result", kind="slow", seconds=0.2)
        began = time.monotonic()
        assert (await client.http.get(url)).json()["file_url"] == A
        assert time.monotonic() - began >= 0.2


async def test_a_result_file_can_be_huge_and_huge_only_once_unpacked() -> None:
    async with vendor() as client:
        url = await client.result_url(await client.task(A))
        await client.fault(on="result", kind="huge", size_bytes=1_000_000)
        assert len((await client.http.get(url)).content) == 1_000_000
        await client.fault(on="result", kind="huge", size_bytes=10_000_000, gzip=True)
        async with client.http.stream("GET", url) as answer:
            packed = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert len(packed) < 20_000
        assert len(gzip.decompress(packed)) == 10_000_000


async def test_a_fault_on_one_call_leaves_its_neighbours_alone() -> None:
    async with vendor() as client:
        await client.fault(on="submit", kind="hang", times=1)
        await _give_up(client.submit(A), lambda: len(client.simulator.ledger().calls) == 1)
        answers = await asyncio.gather(*(client.submit(A) for _ in range(5)))
        assert [answer.status_code for answer in answers] == [200] * 5


async def test_a_list_may_lag_come_in_no_order_and_show_other_times_and_names() -> None:
    async with vendor() as client:
        first = await client.task("https://h.example/a.wav")
        client.simulator.state.clock.advance(10)
        others = [await client.task(f"https://h.example/{number}.wav") for number in range(5)]
        [newest, *_, oldest] = await _rows(client)
        assert (oldest["task_id"], newest["task_id"]) == (first, others[-1])

        await client.fault(on="list", kind="lag", seconds=5)
        assert [row["task_id"] for row in await _rows(client)] == [first]
        await client.fault(on="list", kind="shuffle", times=2)
        pages = [row["task_id"] for page_no in (1, 2) for row in await _rows(client, page_no, 3)]
        assert pages != [*reversed(others), first]
        await client.fault(on="list", kind="misdate", seconds=-3_600)
        assert (await _rows(client))[0]["gmt_create"] == newest["gmt_create"] - 3_600_000
        await client.fault(on="list", kind="rename")
        assert {row["model_name"] for row in await _rows(client)} == {"fun-asr-2025-11-07"}
        assert {row["model_name"] for row in await _rows(client)} == {"fun-asr"}


async def _rows(client: VendorClient, page_no: int = 1, page_size: int = 100) -> list[dict[str, Any]]:
    return list((await client.list(page_no=page_no, page_size=page_size)).json()["data"])


async def test_the_list_shows_the_key_of_each_task() -> None:
    keys = {"sk-simulator": "account-1", "sk-stranger": "account-1"}
    async with vendor(api_keys=keys) as client:
        ours, theirs = (
            await client.task("https://h/a.wav"),
            await client.as_key("sk-stranger").task("https://h/b.wav"),
        )
        rows = {row["task_id"]: row["api_key_id"] for row in await _rows(client)}
        assert rows == {ours: "12345", theirs: "12346"}


async def test_times_without_a_zone_follow_the_zone_that_is_set() -> None:
    async with vendor(zone_hours=-3.5) as client:
        task_id = await client.task("https://h/a.wav")
        assert (await client.query(task_id))["output"]["submit_time"] == "2026-03-01 22:45:01.113"
