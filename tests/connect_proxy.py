"""A proxy on loopback that opens tunnels on CONNECT, and fails where a test wants it to.

It knows addresses of its own for host names, as a company's proxy does.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class ConnectProxy:
    """`asked` is each CONNECT's target with its authorization."""

    ports: Mapping[str, int]
    """The port on loopback for each host name."""
    status: int = 200
    """What it answers to CONNECT."""
    closes_first: bool = False
    """It ends the connection in place of an answer to CONNECT."""
    swallows: bool = False
    """It takes what a client sends, passes nothing on, and ends the connection."""
    mutes: bool = False
    """It passes a client's bytes on, and ends the connection when an answer comes."""
    hangs: bool = False
    """It answers no CONNECT."""
    port: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Its URL without a login."""
        return f"http://127.0.0.1:{self.port}"

    def drop(self) -> None:
        """End every tunnel now."""
        for writer in self.open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open.add(writer)
        try:
            with suppress(OSError, EOFError):
                await self._serve(reader, writer)
        finally:
            self.open.discard(writer)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        assert method == "CONNECT"
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
        self.asked.append((target, headers.get("proxy-authorization")))
        if self.hangs:
            await reader.read()
        if self.closes_first or self.hangs:
            return
        if self.status != 200:
            body = b"<html>the proxy's own page</html>"
            head = f"HTTP/1.1 {self.status} No\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.ports[target.split(":")[0]])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            up = asyncio.ensure_future(self._up(reader, up_writer))
            down = asyncio.ensure_future(self._down(up_reader, writer))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for each in (up, down):
                each.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        finally:
            up_writer.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            if self.swallows:
                return
            writer.write(chunk)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            if self.mutes:
                return
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def connect_proxy(ports: Mapping[str, int]) -> AsyncIterator[ConnectProxy]:
    """The proxy, for a block; its tunnels end with it."""
    proxy = ConnectProxy(ports)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        await proxy.serve(reader, writer)
        serving.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
