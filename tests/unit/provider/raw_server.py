"""A loopback server that speaks bytes: it keeps what arrived as it arrived and answers what it is told."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Received:
    """One request, byte for byte."""

    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0]

    def header(self, name: str) -> list[str]:
        """Every value that was sent under this name."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        fields = (line.partition(":") for line in lines if line)
        return [value.strip() for key, _, value in fields if key.lower() == name.lower()]


Reply = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """What the server saw. `endings` says how each connection ended: `reset` or `eof`."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    endings: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def origin(self) -> str:
        """The server's address as a URL."""
        return f"http://127.0.0.1:{self.port}"

    async def arrival(self) -> None:
        """Wait for the first request."""
        await asyncio.wait_for(self.arrived.wait(), WAIT_SECONDS)

    async def ending(self) -> str:
        """How the next connection to end ended."""
        return await asyncio.wait_for(self.endings.get(), WAIT_SECONDS)


def answer(status: int, body: bytes | str = b"", **headers: str) -> bytes:
    """A whole HTTP answer; header names are written with underscores."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"content_type": "application/json", "content_length": str(len(content)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Because\r\n{lines}\r\n".encode() + content


async def silence(_writer: asyncio.StreamWriter) -> None:
    """Never answer."""


@asynccontextmanager
async def raw_server(
    *replies: Reply, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Serve the replies in turn, the last one for ever; ends every connection at the end."""
    server = RawServer()
    serving: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(server, reader, writer, replies))
        serving.add(task)
        task.add_done_callback(serving.discard)

    listener = await asyncio.start_server(connected, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def end_at_once(writer: asyncio.StreamWriter) -> None:
    """End the connection before this returns; `close` would do it in a later turn of the loop."""
    writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    writer.close()


async def _serve(
    server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: tuple[Reply, ...]
) -> None:
    server.connections += 1
    try:
        while True:
            await _exchange(server, reader, writer, replies)
    except asyncio.IncompleteReadError:
        server.endings.put_nowait("eof")
    except ConnectionError:
        server.endings.put_nowait("reset")
    finally:
        writer.close()


async def _exchange(
    server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: tuple[Reply, ...]
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    received = Received(head, b"")
    length = int((received.header("content-length") or ["0"])[0])
    server.requests.append(Received(head, await reader.readexactly(length)))
    server.arrived.set()
    reply = replies[min(len(server.requests), len(replies)) - 1]
    if isinstance(reply, bytes):
        writer.write(reply)
        await writer.drain()
    else:
        await reply(writer)
