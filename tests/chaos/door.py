"""A door before a server: open, shut (connections are refused, and those that stand are cut), or mute."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK_BYTES = 64 * 1024


class Door:
    """Passes bytes on to a server on loopback; its own port stays the same, open or shut."""

    def __init__(self, port: int, to_port: int) -> None:
        self.port = port
        self.to_port = to_port
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self._is_heard = asyncio.Event()
        self._is_heard.set()

    async def open(self) -> None:
        """Take connections."""
        if self._server is None:
            self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def shut(self) -> None:
        """Refuse connections, and cut those that stand."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            passing = list(self._passing)
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            await server.wait_closed()

    def mute(self) -> None:
        """Keep every byte back, both ways, as a network that loses all packets: nobody sees an end."""
        self._is_heard.clear()

    def unmute(self) -> None:
        """Pass on what was kept back, and all that follows."""
        self._is_heard.set()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
            await self._exchange((reader, far_writer), (far_reader, writer))
        except (OSError, asyncio.CancelledError):
            # Who is at the near end sees a connection that was cut.
            writer.transport.abort()
        finally:
            self._passing.discard(task)

    async def _exchange(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Copy both ways until one ends: then both do, so that nobody waits for who is gone."""
        copying = [asyncio.create_task(self._copy(*way)) for way in ways]
        try:
            await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for _, writer in ways:
                writer.transport.abort()
            raise
        finally:
            for each in copying:
                each.cancel()
            await asyncio.gather(*copying, return_exceptions=True)
            for _, writer in ways:
                writer.close()  # what is in its buffer still goes out

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._is_heard.wait()
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def door(port: int, to_port: int) -> AsyncIterator[Door]:
    """An open door; shut for good at the end of the block."""
    made = Door(port, to_port)
    await made.open()
    try:
        yield made
    finally:
        await made.shut()
