"""The connection of a submit: what is not answered on it is dropped. And the one of other calls."""

import asyncio
import gc
import socket
import ssl
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from service.provider.api import Permit
from service.provider.http.submit_transport import SubmitTransport, _has_ended, _SubmitAnswerBody
from service.provider.http.transport import AiohttpTransport, Withheld
from tests.unit.provider.http.certificates import server_and_client_contexts
from tests.unit.provider.raw_server import WAIT_SECONDS, answer, end_at_once, raw_server, silence

TLS = ssl.create_default_context()


async def go() -> bool:
    return True


def post(url: str, body: bytes, permit: Permit = go) -> httpx.Request:
    """A submit."""
    return httpx.Request("POST", url, content=body, extensions={"permit": permit, "connect_seconds": 5.0})


async def give_up(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, arrived: Awaitable[object]
) -> None:
    """Wait for an answer that does not come until the request has arrived."""
    sending = asyncio.create_task(transport.handle_async_request(request))
    await asyncio.wait_for(arrived, WAIT_SECONDS)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_the_kernel_gives_up_on_a_submit_after_its_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Noted(socket.socket):
        def __init__(self, *args: int, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            made.append(self)

    async with raw_server(answer(200, "{}")) as server, SubmitTransport(1, 20.0, TLS) as transport:
        monkeypatch.setattr(socket, "socket", Noted)
        response = await transport.handle_async_request(post(server.origin, b"x"))
        [connection] = [each for each in made if each.getpeername()[1] == server.port]
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == b"\x01\0\0\0\0\0\0\0"
        await response.aclose()


async def test_a_submit_that_is_given_up_resets_its_connection() -> None:
    async with raw_server(silence) as server, SubmitTransport(1, 20.0, TLS) as transport:
        await give_up(transport, post(server.origin, b"x"), server.arrival())
        assert await server.ending() == "reset"


async def test_a_submit_that_is_given_up_resets_its_connection_over_tls(tmp_path: Path) -> None:
    server_tls, client_tls = server_and_client_contexts(tmp_path, "localhost")
    async with (
        raw_server(silence, tls=server_tls) as server,
        SubmitTransport(1, 20.0, client_tls) as transport,
    ):
        request = post(f"https://localhost:{server.port}/", b"x")
        await give_up(transport, request, server.arrival())
        # TLS says that it closes; the reset follows.
        assert await server.ending() in ("eof", "reset")
        assert len(server.requests) == 1


@pytest.mark.parametrize(("is_tls", "is_answered"), [(False, False), (True, False), (False, True)])
async def test_what_was_not_yet_taken_by_the_kernel_is_dropped_too(
    is_tls: bool, is_answered: bool, tmp_path: Path
) -> None:
    """A peer that stops reading must not get the rest of the body after the submit has ended."""
    arrived = bytearray()
    reached, began, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.extend(await reader.read(1))
        writer.write(answer(200, "{}") if is_answered else b"")
        reached.set()
        await began.wait()
        with suppress(ConnectionError, ssl.SSLError):
            while chunk := await reader.read(65536):
                arrived.extend(chunk)
            arrived.extend(b"<end>")
        writer.close()
        ended.set()

    # A small window and a reader that pauses: most of the body waits in our own process.
    server_tls, client_tls = server_and_client_contexts(tmp_path, "localhost")
    listener = await asyncio.start_server(
        read_late, "localhost", 0, limit=1024, ssl=server_tls if is_tls else None
    )
    url = f"{'https' if is_tls else 'http'}://localhost:{listener.sockets[0].getsockname()[1]}"
    body = b"x" * 30_000_000
    async with listener, SubmitTransport(1, 20.0, client_tls) as transport:
        if is_answered:
            response = await transport.handle_async_request(post(url, body))
            assert await response.aread() == b"{}"
            await response.aclose()
        else:
            await give_up(transport, post(url, body), reached.wait())
        began.set()
        await asyncio.wait_for(ended.wait(), WAIT_SECONDS)
    assert is_tls or not arrived.endswith(b"<end>")
    assert len(arrived) < len(body) / 2


async def send(transport: httpx.AsyncBaseTransport, url: str, permit: Permit = go) -> int:
    """Send a submit and read its answer: the status."""
    response = await transport.handle_async_request(post(url, b"x", permit))
    await response.aread()
    await response.aclose()
    return response.status_code


@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_submit_takes_the_connection_of_one_that_was_answered(is_tls: bool, tmp_path: Path) -> None:
    server_tls, client_tls = server_and_client_contexts(tmp_path, "localhost")
    async with (
        raw_server(answer(200, "{}"), tls=server_tls if is_tls else None) as server,
        SubmitTransport(1, 20.0, client_tls) as transport,
    ):
        url = f"https://localhost:{server.port}/" if is_tls else server.origin
        assert [await send(transport, url) for _ in range(3)] == [200, 200, 200]
        assert server.connections == 1


async def test_a_refused_submit_leaves_its_connection_to_no_other() -> None:
    async with (
        raw_server(answer(429, "{}"), answer(200, "{}")) as server,
        SubmitTransport(1, 20.0, TLS) as transport,
    ):
        assert [await send(transport, server.origin) for _ in range(2)] == [429, 200]
        assert server.connections == 2


async def test_nothing_is_kept_of_a_submit_and_its_connection() -> None:
    async with raw_server(answer(429, "{}")) as server, SubmitTransport(1, 20.0, TLS) as transport:
        for _ in range(3):
            await send(transport, server.origin)
        await asyncio.sleep(0.02)  # what is closed is forgotten in the next turns of the loop
        gc.collect()
        assert len(transport._users) == 0


async def test_a_submit_whose_answer_is_not_read_to_its_end_resets_its_connection() -> None:
    half = answer(200, "{}", content_length="1000")
    async with raw_server(half) as server, SubmitTransport(1, 20.0, TLS) as transport:
        response = await transport.handle_async_request(post(server.origin, b"x"))
        await response.aclose()
        assert await server.ending() == "reset"


async def test_a_submit_that_ends_late_leaves_the_connection_to_the_one_that_has_it_now() -> None:
    is_asked, may_go = asyncio.Event(), asyncio.Event()

    async def permit() -> bool:
        is_asked.set()
        await may_go.wait()
        return True

    async with raw_server(answer(200, "{}")) as server, SubmitTransport(1, 20.0, TLS) as transport:
        first = await transport.handle_async_request(post(server.origin, b"x"))
        await first.aread()
        second = asyncio.create_task(send(transport, server.origin, permit))
        await asyncio.wait_for(is_asked.wait(), WAIT_SECONDS)
        assert isinstance(first.stream, _SubmitAnswerBody)
        first.stream._sent.abort()
        may_go.set()
        assert (await second, server.connections) == (200, 1)


def test_a_connection_is_over_once_unsolicited_bytes_were_read() -> None:
    """Nothing waits in the kernel then, and the next request would get it as its answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = SimpleNamespace(is_closing=lambda: False, get_extra_info=lambda _name: ours)
        for should_close in (False, True):
            writer = SimpleNamespace(transport=transport, protocol=SimpleNamespace(should_close=should_close))
            assert _has_ended(writer) == should_close  # type: ignore[arg-type]


class Talker:
    """A server's end of a connection that answers, and can go on without being asked."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None

    async def reply(self, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.writer = writer
        writer.write(answer(200, "{}"))

    async def go_on(self, words: bytes) -> None:
        """Say something more; nothing: close."""
        assert self.writer is not None
        self.writer.write(words)
        if not words:
            end_at_once(self.writer)


@pytest.mark.parametrize("words", [answer(408), answer(200, '{"output": {"task_id": "other"}}'), b""])
@pytest.mark.parametrize("is_read", [False, True])
async def test_a_connection_on_which_the_peer_went_on_serves_no_other_submit(
    words: bytes, is_read: bool
) -> None:
    """What it said would count as the answer to the next request, or that one would be lost."""
    talker, permits = Talker(), 0

    async def permit() -> bool:
        nonlocal permits
        permits += 1
        return True

    async with raw_server(talker.reply, answer(201)) as server, SubmitTransport(1, 20.0, TLS) as transport:
        assert await send(transport, server.origin) == 200
        await talker.go_on(words)
        if is_read:
            await asyncio.sleep(0.02)
        assert await send(transport, server.origin, permit) == 201
        assert (server.connections, len(server.requests), permits) == (2, 2, 1)


async def test_a_submit_whose_peer_goes_on_while_its_permit_waits_is_not_sent() -> None:
    talker = Talker()

    async def permit() -> bool:
        await talker.go_on(answer(408))
        return True

    async with raw_server(talker.reply) as server, SubmitTransport(1, 20.0, TLS) as transport:
        assert await send(transport, server.origin) == 200
        request = post(server.origin, b"x", permit)
        with pytest.raises(httpx.TransportError):
            await transport.handle_async_request(request)
        assert (request.extensions["is_permit_asked"], request.extensions["has_left"]) == (True, False)
        assert len(server.requests) == 1


async def test_the_other_transport_checks_certificates_and_names(tmp_path: Path) -> None:
    server_tls, client_tls = server_and_client_contexts(tmp_path, "localhost")
    async with raw_server(answer(200, "{}"), tls=server_tls) as server:
        good, wrong_name = f"https://localhost:{server.port}/", f"https://127.0.0.1:{server.port}/"
        async with AiohttpTransport(2, client_tls) as trusting, AiohttpTransport(2, TLS) as strange:
            response = await trusting.handle_async_request(httpx.Request("GET", good))
            assert await response.aread() == b"{}"
            for transport, url in ((trusting, wrong_name), (strange, good)):
                with pytest.raises(httpx.ConnectError):
                    await transport.handle_async_request(httpx.Request("GET", url))
    assert len(server.requests) == 1


async def test_closing_a_transport_that_was_never_opened_is_fine() -> None:
    await AiohttpTransport(1, TLS).aclose()


async def test_a_permit_is_awaited_when_the_connection_is_there_and_before_the_first_byte() -> None:
    seen: list[int] = []
    async with raw_server(answer(200, "{}")) as server, AiohttpTransport(1, TLS) as transport:

        async def permit() -> bool:
            await asyncio.sleep(0.05)
            seen.append(len(server.requests))
            return True

        for _ in range(2):
            request = httpx.Request("GET", server.origin, extensions={"permit": permit})
            response = await transport.handle_async_request(request)
            await response.aread()
            await response.aclose()
        assert (seen, len(server.requests)) == ([0, 1], 2)


async def test_a_submit_awaits_its_permit_when_the_connection_is_there_and_before_the_first_byte() -> None:
    seen: list[tuple[int, int]] = []
    async with raw_server(answer(200, "{}")) as server, SubmitTransport(1, 20.0, TLS) as transport:

        async def permit() -> bool:
            await asyncio.sleep(0.05)
            seen.append((server.connections, len(server.requests)))
            return True

        for _ in range(2):
            response = await transport.handle_async_request(post(server.origin, b"x", permit))
            await response.aread()
            await response.aclose()
        assert seen == [(1, 0), (1, 1)]


async def test_of_a_submit_without_its_permit_no_byte_is_written() -> None:
    async def permit() -> bool:
        return False

    async with raw_server(answer(200, "{}")) as server, SubmitTransport(1, 20.0, TLS) as transport:
        for _ in range(2):
            with pytest.raises(httpx.ReadError):
                await transport.handle_async_request(post(server.origin, b"x", permit))
        assert await server.ending() == "reset"
        assert server.requests == []


async def test_of_a_request_without_its_permit_nothing_is_written_and_no_connection_is_left() -> None:
    async def permit() -> bool:
        return False

    async with raw_server(answer(200, "{}")) as server, AiohttpTransport(1, TLS) as transport:
        for _ in range(2):
            with pytest.raises(Withheld):
                await transport.handle_async_request(
                    httpx.Request("GET", server.origin, extensions={"permit": permit})
                )
        assert server.requests == []
