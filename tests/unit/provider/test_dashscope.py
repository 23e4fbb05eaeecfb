"""DashScope over HTTP: what goes out, what each ending of a call is called, and that the key stays inside."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.clock import SystemClock
from service.core.provider.answers import (
    Accepted,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    TaskStatus,
    TaskView,
)
from service.core.time.vendor_clock import VendorClock
from service.errors import ConfigError
from service.provider.api import NO_SLOT
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.result_files import FetchGuard
from tests.unit.provider.http.certificates import server_and_client_contexts
from tests.unit.provider.raw_server import WAIT_SECONDS, RawServer, Reply, answer, raw_server, silence

KEY = "sk-canary-0123456789abcdef"
FILES = ["https://a.example/x.wav"]
TASK = "5d0a6c1e-1111-4a3b-9c7d-2f1e0d9c8b7a"
ACCEPTED = answer(200, json.dumps({"output": {"task_status": "PENDING", "task_id": TASK}, "request_id": "r"}))
RUNNING = answer(200, json.dumps({"output": {"task_status": "RUNNING", "task_id": TASK}}))


class VendorClockSeen(VendorClock):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.dateless = 0

    def observe_dateless(self, received_boot: float) -> None:
        """An answer without a `Date`."""
        self.dateless += 1
        super().observe_dateless(received_boot)


class SleepyClock(SystemClock):
    """A clock on which time passes only between its readings."""

    def __init__(self, *readings: float) -> None:
        self._readings = list(readings)

    def boot_seconds(self) -> float:
        return self._readings.pop(0)

    def now_ms(self) -> int:
        raise AssertionError("the wall clock is not asked")

    def draw(self) -> float:
        raise AssertionError("nothing is drawn")

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps")


def config(base_url: str, **rest: Any) -> DashScopeConfig:
    timeouts = {"submit_timeout_seconds": 3.0, "call_timeout_seconds": 3.0}
    return DashScopeConfig(base_url, SecretStr(KEY), **{**timeouts, **rest})


@asynccontextmanager
async def dashscope(*replies: Reply, **rest: Any) -> AsyncIterator[tuple[DashScope, RawServer]]:
    async with (
        raw_server(*replies) as server,
        DashScope(config(server.origin + "/api/v1", **rest)) as provider,
    ):
        yield provider, server


async def test_an_answer_without_a_date_is_distinguished_from_none_and_from_one_with_a_date() -> None:
    seen = VendorClockSeen()
    dated = RUNNING.replace(b"\r\n", b"\r\nDate: Sun, 06 Nov 2044 08:49:37 GMT\r\n", 1)
    undated = RUNNING.replace(b"\r\n", b"\r\nDate: some day\r\n", 1)
    async with raw_server(RUNNING, undated, dated, cut) as server:
        made = DashScope(config(server.origin + "/api/v1"), vendor_clock=seen)
        async with made as provider:
            for expected in (1, 2, 2, 2):
                await provider.query(TASK)
                assert seen.dateless == expected
    assert seen.observed_boot is not None


async def refused_port() -> int:
    async with raw_server(silence) as server:
        return server.port


async def test_a_submit_is_the_documented_post() -> None:
    async with dashscope(ACCEPTED) as (provider, server):
        assert await provider.submit("fun-asr", FILES, {"language_hints": ["en"]}) == Accepted(TASK)
    (request,) = server.requests
    assert request.line == b"POST /api/v1/services/audio/asr/transcription HTTP/1.1"
    assert request.header("authorization") == [f"Bearer {KEY}"]
    assert request.header("content-type") == ["application/json"]
    assert request.header("x-dashscope-async") == ["enable"]
    assert request.header("x-dashscope-workspace") == request.header("x-dashscope-ossresourceresolve") == []
    assert request.header("host") == [f"127.0.0.1:{server.port}"]
    assert json.loads(request.body) == {
        "model": "fun-asr",
        "input": {"file_urls": FILES},
        "parameters": {"language_hints": ["en"]},
    }


async def test_a_workspace_and_an_oss_url_have_their_headers() -> None:
    async with dashscope(ACCEPTED, workspace="ws-1") as (provider, server):
        await provider.submit("fun-asr", ["oss://bucket/x.wav"], {})
    assert server.requests[0].header("x-dashscope-workspace") == ["ws-1"]
    assert server.requests[0].header("x-dashscope-ossresourceresolve") == ["enable"]


@pytest.mark.parametrize("model", ["qwen3-asr-flash", "fun-asr-flash-2026-06-15", "qwen3.5-omni-flash"])
async def test_a_call_that_answers_at_once_has_the_header_of_an_oss_url_too(model: str) -> None:
    async with dashscope(ACCEPTED) as (provider, server):
        await provider.submit(model, ["oss://bucket/x.wav"], {})
        await provider.submit(model, ["https://h.example/x.wav"], {})
    headers = [request.header("x-dashscope-ossresourceresolve") for request in server.requests]
    assert headers == [["enable"], []]


async def test_content_inspection_is_asked_for_where_it_is_set() -> None:
    async with dashscope(ACCEPTED, data_inspection="enable") as (provider, server):
        await provider.submit("fun-asr", FILES, {})
    assert server.requests[0].header("x-dashscope-datainspection") == ["enable"]


async def test_a_query_is_a_get_and_a_cancel_a_post_without_a_body() -> None:
    async with dashscope(RUNNING, answer(200, '{"request_id":"r"}')) as (provider, server):
        view = await provider.query(TASK)
        assert isinstance(view, TaskView)
        assert view.status is TaskStatus.RUNNING
        assert await provider.cancel(TASK) is None
    query, cancel = server.requests
    assert query.line == f"GET /api/v1/tasks/{TASK} HTTP/1.1".encode()
    assert cancel.line == f"POST /api/v1/tasks/{TASK}/cancel HTTP/1.1".encode()
    for request in server.requests:
        assert request.header("authorization") == [f"Bearer {KEY}"]
        assert request.body == b""
    assert query.header("content-length") == query.header("content-type") == []
    assert cancel.header("content-length") == ["0"]


async def test_a_strange_task_id_stays_inside_its_path_segment() -> None:
    async with dashscope(RUNNING) as (provider, server):
        await provider.query("../x?y=1#z")
    assert server.requests[0].line == b"GET /api/v1/tasks/..%2Fx%3Fy%3D1%23z HTTP/1.1"


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with dashscope(ACCEPTED, RUNNING) as (provider, server):
        await provider.submit("fun-asr", FILES, {})
        await provider.query(TASK)
    assert len(server.requests) == 2


async def test_an_error_in_the_vendors_words_is_a_refusal_with_its_wish_for_delay() -> None:
    body = '{"code":"Throttling.RateQuota","message":"slow down","request_id":"r"}'
    async with dashscope(answer(429, body, retry_after="7")) as (provider, server):
        found = await provider.submit("fun-asr", FILES, {})
        assert found == Refused(ProviderError("Throttling.RateQuota", "slow down", 429, 7.0))
        assert await provider.query(TASK) == ProviderError("Throttling.RateQuota", "slow down", 429, 7.0)
    assert len(server.requests) == 2


async def test_a_redirect_is_not_followed() -> None:
    async with raw_server(ACCEPTED) as other, dashscope(answer(307, location=other.origin)) as (provider, _):
        assert isinstance(await provider.submit("fun-asr", FILES, {}), Refused)
        assert isinstance(await provider.query(TASK), ProviderError)
    assert other.requests == []


async def test_a_submit_without_an_answer_is_lost_in_time_and_its_connection_reset() -> None:
    async with dashscope(silence, submit_timeout_seconds=1.5) as (provider, server):
        found = await provider.submit("fun-asr", FILES, {})
        assert isinstance(found, Lost)
        assert found.provider_error.code == "timeout"
        assert await server.ending() == "reset"
    assert len(server.requests) == 1


async def test_the_deadline_of_a_submit_is_total_so_a_dripping_answer_does_not_move_it() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with dashscope(drip, submit_timeout_seconds=1.5) as (provider, _):
        found = await provider.submit("fun-asr", FILES, {})
    assert isinstance(found, Lost)
    assert found.provider_error.code == "timeout"


async def cut(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cut_within_the_answer(writer: asyncio.StreamWriter) -> None:
    writer.write(ACCEPTED[:-20])
    await writer.drain()
    writer.close()


async def not_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("reply", [cut, cut_within_the_answer, not_http])
async def test_a_connection_that_ends_after_the_request_leaves_a_submit_lost_and_is_not_tried_again(
    reply: Reply,
) -> None:
    async with dashscope(reply) as (provider, server):
        found = await provider.submit("fun-asr", FILES, {})
        assert isinstance(found, Lost)
        assert found.provider_error.code == "connection_lost"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(200, b" " * 2_000_000), "not_json"),
        (answer(200, b"{}", content_encoding="br"), "connection_lost"),
    ],
)
async def test_an_answer_that_leaves_it_open_whether_a_task_was_made_is_lost(reply: bytes, code: str) -> None:
    async with dashscope(reply) as (provider, _):
        found = await provider.submit("fun-asr", FILES, {})
    assert isinstance(found, Lost)
    assert found.provider_error.code == code


async def test_a_refusal_with_an_endless_body_is_still_a_refusal() -> None:
    async with dashscope(answer(400, b" " * 2_000_000)) as (provider, _):
        assert isinstance(await provider.submit("fun-asr", FILES, {}), Refused)


async def test_a_submit_works_over_tls(tmp_path: Path) -> None:
    server_tls, client_tls = server_and_client_contexts(tmp_path, "localhost")
    async with raw_server(ACCEPTED, RUNNING, tls=server_tls) as server:
        base_url = f"https://localhost:{server.port}/api/v1"
        async with DashScope(config(base_url), ssl_context=client_tls) as provider:
            assert await provider.submit("fun-asr", FILES, {}) == Accepted(TASK)
            assert isinstance(await provider.query(TASK), TaskView)


async def test_a_machine_that_slept_while_connecting_does_not_send_any_more() -> None:
    async with raw_server(ACCEPTED) as server:
        clock = SleepyClock(1_000.0, 1_000.0, 1_001.0)
        async with DashScope(config(server.origin + "/api/v1"), clock=clock) as provider:
            found = await provider.submit("fun-asr", FILES, {})
            assert isinstance(found, NotSent)
            assert found.provider_error.code == "intent_too_old"
            assert await server.ending() in ("eof", "reset")
    assert server.requests == []


@pytest.mark.parametrize("fault", [KeyError("x"), MemoryError(), ValueError("x")])
async def test_a_fault_of_ours_in_the_permit_is_not_reported_as_an_outage(fault: Exception) -> None:
    async def permit() -> bool:
        raise fault

    async with dashscope(ACCEPTED) as (provider, server):
        with pytest.raises(type(fault)):
            await provider.submit("fun-asr", FILES, {}, permit)
        assert server.requests == []


EARLY = (200, 400, 408, 500, 502, 503, 504)


@pytest.mark.parametrize("status", EARLY)
@pytest.mark.parametrize("is_closed", [False, True])
async def test_an_answer_that_comes_before_the_submit_was_sent_is_none(status: int, is_closed: bool) -> None:
    """A gateway that sheds load may answer as soon as it is connected to."""
    early = answer(status, '{"code":"Throttling","output":{"task_id":"t1"}}')
    waits = asyncio.Event()

    async def answers_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"" if is_closed else early)
        await writer.drain()
        if is_closed:
            writer.close()

    async def permit() -> bool:
        asked.append(1)
        await asyncio.wait_for(waits.wait(), WAIT_SECONDS)
        return True

    asked: list[int] = []
    listener = await asyncio.start_server(answers_at_once, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/api/v1"
    async with listener, DashScope(config(url)) as provider:
        found = await provider.submit("fun-asr", FILES, {}, permit)
        waits.set()
    assert isinstance(found, NotSent)
    assert asked == [1]
    assert found.provider_error.code == "connect_failed"
    assert "ended it before the submit was sent" in found.provider_error.message


async def test_a_submit_whose_used_connection_is_closed_while_its_permit_waits_was_not_sent() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def accepts(writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(ACCEPTED)

    async def permit() -> bool:
        writers[-1].close()
        await writers[-1].wait_closed()
        return True

    async with dashscope(accepts) as (provider, server):
        assert isinstance(await provider.submit("fun-asr", FILES, {}), Accepted)
        found = await provider.submit("fun-asr", FILES, {}, permit)
        assert isinstance(found, NotSent)
        assert found.provider_error.code == "connect_failed"
    assert len(server.requests) == 1


async def test_a_submit_on_a_new_connection_after_a_dead_one_is_lost_if_its_answer_breaks_off() -> None:
    """What the first attempt noted, that nothing had left, must not count for the second."""
    writers: list[asyncio.StreamWriter] = []

    async def accepts(writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(ACCEPTED)

    async def breaks_off(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, "{", content_length="1000"))
        await writer.drain()
        writer.close()

    async with dashscope(accepts, breaks_off) as (provider, server):
        assert isinstance(await provider.submit("fun-asr", FILES, {}), Accepted)
        writers[0].close()
        assert isinstance(await provider.submit("fun-asr", FILES, {}), Lost)
    assert (server.connections, len(server.requests)) == (2, 2)


async def test_a_query_is_not_repeated_when_its_pooled_connection_breaks() -> None:
    async with dashscope(RUNNING, cut, RUNNING) as (provider, server):
        assert isinstance(await provider.query(TASK), TaskView)
        looked = await provider.query(TASK)
        assert isinstance(looked, ProviderError)
        assert looked.code == "connection_lost"
    assert len(server.requests) == 2


async def test_a_cancel_that_came_too_late_says_so() -> None:
    body = '{"code":"UnsupportedOperation","message":"Failed to cancel the task."}'
    async with dashscope(answer(400, body), answer(200, body)) as (provider, _):
        late = ProviderError("UnsupportedOperation", "Failed to cancel the task.", 400)
        assert await provider.cancel(TASK) == late
        assert await provider.cancel(TASK) == ProviderError(late.code, late.message)


async def test_a_stopped_submit_is_cancelled_and_not_swallowed() -> None:
    async with dashscope(silence) as (provider, server):
        submit = asyncio.create_task(provider.submit("fun-asr", FILES, {}))
        await server.arrival()
        submit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submit
        assert await server.ending() == "reset"


async def test_a_fetch_needs_no_key_and_sends_none() -> None:
    guard = FetchGuard(plain_http_hosts=("127.0.0.1",))
    async with (
        raw_server(answer(200, "{}")) as server,
        DashScope(config(server.origin + "/api/v1"), guard) as provider,
    ):
        assert await provider.fetch(server.origin + "/x?Signature=y") == b"{}"
    assert server.requests[0].header("authorization") == []


async def test_a_new_key_is_used_by_the_next_call_and_neither_key_comes_out() -> None:
    new = "sk-new-0123456789"
    quoted = answer(401, f'{{"code":"InvalidApiKey","message":"Incorrect {KEY}, {new}"}}')
    async with dashscope(RUNNING, quoted, ACCEPTED) as (provider, server):
        await provider.query(TASK)
        provider.use_key(SecretStr(new))
        refused = await provider.query(TASK)
        await provider.submit("fun-asr", FILES, {})
        for key in ("", "two words", "sk-ü"):
            with pytest.raises(ConfigError):
                provider.use_key(SecretStr(key))
        assert provider.key == SecretStr(new)
    assert [each.header("authorization") for each in server.requests] == [
        [f"Bearer {KEY}"],
        *2 * [[f"Bearer {new}"]],
    ]
    assert isinstance(refused, ProviderError)
    assert KEY not in refused.message
    assert new not in refused.message


@pytest.mark.parametrize("key", ["", "sk-a b", "sk-a\nb", "sk-ü", " sk-a"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        DashScopeConfig("https://dashscope-intl.aliyuncs.com/api/v1", SecretStr(key))
    assert "sk-" not in str(refused.value)


@pytest.mark.parametrize(
    "base_url", ["", "dashscope-intl.aliyuncs.com/api/v1", "ftp://a.example/", "https:///x"]
)
def test_a_base_url_without_scheme_or_host_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigError):
        DashScopeConfig(base_url, SecretStr(KEY))


async def test_the_key_appears_nowhere_but_in_its_header(caplog: pytest.LogCaptureFixture) -> None:
    """The answers repeat the key in every place where we read a text."""
    caplog.set_level(logging.DEBUG)
    echoed = json.dumps({"code": "InvalidApiKey", "message": f"key {KEY} of Bearer {KEY} is not valid"})
    file = {"file_url": "u", "code": "X", "message": f"with {KEY}", "subtask_status": "FAILED"}
    failed = {"output": {"task_status": "FAILED", "code": "X", "message": KEY, "results": [file]}}
    replies = (answer(401, echoed), answer(200, json.dumps(failed)), answer(401, echoed), cut)
    async with dashscope(*replies) as (provider, server):
        seen = [
            await provider.submit("fun-asr", FILES, {}),
            await provider.query(TASK),
            await provider.cancel(TASK),
            await provider.submit("fun-asr", FILES, {}),
            await provider.fetch(f"https://evil.example/{KEY}?key={KEY}"),
        ]
        shown = [repr(seen), str(seen), repr(provider), repr(provider.__dict__), caplog.text]
        shown += [repr(config(server.origin)), str(config(server.origin))]
    assert all(KEY not in text for text in shown)
    assert all(request.header("authorization") == [f"Bearer {KEY}"] for request in server.requests)


async def test_a_call_without_its_permit_is_not_made() -> None:
    async def permit() -> bool:
        return False

    async with dashscope(ACCEPTED) as (provider, server):
        found = await provider.submit("fun-asr", FILES, {}, permit)
        assert isinstance(found, NotSent)
        assert found.provider_error.code == "intent_too_old"
        assert await provider.query(TASK, permit) is NO_SLOT
        assert await provider.list_tasks(1, permit) is NO_SLOT
        assert await provider.cancel(TASK, permit) is NO_SLOT
    assert server.requests == []
