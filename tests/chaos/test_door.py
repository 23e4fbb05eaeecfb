"""The door before the simulator: bytes pass, a cut is seen at once, and a shut door refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandbox import child
from tests.chaos.door import Door, door
from tests.chaos.worker import divert

WITHIN_SECONDS = 20.0


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo a line; on `cut` reset the connection."""
    try:
        while line := await reader.readline():
            if line == b"cut\n":
                writer.transport.abort()
                return
            writer.write(line)
    finally:
        writer.close()


@asynccontextmanager
async def a_door() -> AsyncIterator[tuple[Door, int]]:
    port, inner = child.free_ports(2)
    async with await asyncio.start_server(_serve, "127.0.0.1", inner), door(port, inner) as made:
        yield made, port


async def ask(port: int, line: bytes) -> bytes:
    """What comes back: b"" where the connection ends instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line)
    try:
        return await _rest(reader)
    finally:
        writer.close()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """The next line; a reset is as good as an end."""
    async with asyncio.timeout(WITHIN_SECONDS):
        try:
            return await reader.readline()
        except ConnectionError:
            return b""


async def test_bytes_pass_and_a_connection_that_the_server_resets_ends() -> None:
    async with a_door() as (_, port):
        assert await ask(port, b"hello\n") == b"hello\n"
        assert await ask(port, b"cut\n") == b""


async def test_a_shut_door_refuses_cuts_what_stands_and_opens_at_the_same_port() -> None:
    async with a_door() as (made, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        await made.shut()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await _rest(reader) == b""
        writer.close()
        await made.open()
        assert await ask(port, b"again\n") == b"again\n"


async def test_a_mute_door_keeps_every_byte_back_and_passes_it_on_afterwards() -> None:
    async with a_door() as (made, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"first\n")
        assert await reader.readline() == b"first\n"
        made.mute()
        writer.write(b"second\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.readline()
        made.unmute()
        assert await _rest(reader) == b"second\n"
        writer.close()


async def test_a_diverted_connection_comes_through_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    # Put back at the end of the test.
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", asyncio.BaseEventLoop.create_connection)
    [elsewhere] = child.free_ports(1)
    async with a_door() as (made, port):
        divert({elsewhere: port})
        assert await ask(elsewhere, b"hello\n") == b"hello\n"
        await made.shut()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", elsewhere)
