"""The connection of a submit: its own, with a bounded life, and reset at the end."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable
from pathlib import Path

import httpx
import pytest

from service.provider.api import Permit
from service.provider.http.transport import AiohttpTransport, SubmitTransport, Withheld
from tests.unit.provider.http.certificates import server_and_client_contexts
from tests.unit.provider.raw_server import WAIT_SECONDS, answer, raw_server, silence

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


@pytest.mark.parametrize("is_tls", [False, True])
async def test_what_was_not_yet_taken_by_the_kernel_is_dropped_too(is_tls: bool, tmp_path: Path) -> None:
    """A peer that stops reading must not get the rest of the body after the submit was given up."""
    arrived = bytearray()
    reached, began, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.extend(await reader.read(1))
        reached.set()
        await began.wait()
        try:
            while chunk := await reader.read(65536):
                arrived.extend(chunk)
        except (ConnectionError, ssl.SSLError):
            arrived.extend(b"<reset>")
        writer.close()
        ended.set()

    # A small window and a reader that pauses: most of the body waits in our own process.
    server_tls, client_tls = server_and_client_contexts(tmp_path, "localhost")
    scheme, used_tls = ("https", server_tls) if is_tls else ("http", None)
    listener = await asyncio.start_server(read_late, "localhost", 0, limit=1024, ssl=used_tls)
    port = listener.sockets[0].getsockname()[1]
    body = b"x" * 30_000_000
    async with listener, SubmitTransport(1, 20.0, client_tls) as transport:
        request = post(f"{scheme}://localhost:{port}", body)
        await give_up(transport, request, reached.wait())
        began.set()
        await asyncio.wait_for(ended.wait(), WAIT_SECONDS)
    assert is_tls or arrived.endswith(b"<reset>")
    assert len(arrived) < len(body)


async def test_two_submits_never_share_a_connection() -> None:
    async with raw_server(answer(200, "{}")) as server, SubmitTransport(1, 20.0, TLS) as transport:
        for _ in range(2):
            response = await transport.handle_async_request(post(server.origin, b"x"))
            await response.aread()
            await response.aclose()
        assert server.connections == 2


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
        assert seen == [(1, 0), (2, 1)]


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
