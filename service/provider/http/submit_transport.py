"""An httpx transport on aiohttp for submits, which bounds when bytes leave."""

import asyncio
import select
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter

from service.provider.http.proxy import Proxy
from service.provider.http.transport import (
    CALL_KEEPALIVE_SECONDS,
    AiohttpTransport,
    ResponseBody,
    Withheld,
    to_response,
)

_SOCKETS: ContextVar[list[socket.socket]] = ContextVar("sockets")
"""The sockets of the request that this task sends: more than one if the host has several addresses."""


def _has_peer(made: socket.socket) -> bool:
    try:
        made.getpeername()
    except OSError:
        return False
    return True


@dataclass(slots=True)
class _ConnectionUse:
    """How a request gets its connection."""

    is_waiting: bool = False
    """It waits for another one's."""
    is_reused: bool = False
    """The connection has served another request."""
    is_closed: bool = False
    """It is a used one, and of no use any more; the permit was not asked."""


def _has_ended(writer: aiohttp.http.StreamWriter) -> bool:
    """Whether the peer has closed the connection since its last answer, or said something.

    Either aiohttp has read it, or it waits in the kernel.
    """
    transport = writer.transport
    if transport is None or transport.is_closing() or getattr(writer.protocol, "should_close", True):
        return True
    arrival = select.poll()
    arrival.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(arrival.poll(0))


class _PermittedBody(aiohttp.Payload):
    """A body that leaves with its headers once its permit allows it, or not at all."""

    def __init__(
        self,
        body: bytes,
        permit: Callable[[], Awaitable[bool]],
        use: _ConnectionUse,
        users: WeakKeyDictionary[asyncio.Transport, object],
    ) -> None:
        super().__init__(body)
        self._size = len(body)
        self._permit = permit
        self._use = use
        self._users = users
        self._turn = object()
        """Stands for this body in `_users`: the body itself would keep its own key, the transport, alive."""
        self._transport: asyncio.Transport | None = None
        self._is_aborted = False
        self.is_asked = False
        """Whether there was a connection, and the permit was asked."""
        self.has_left = False
        """Whether a byte may have left."""
        self.fault: Exception | None = None
        """What the permit raised."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, for messages of aiohttp."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write headers and body, if that is permitted now."""
        # aiohttp has not written the headers yet: they leave in one piece with the body.
        assert isinstance(writer, aiohttp.http.StreamWriter)
        if self._is_over(writer):
            self._use.is_closed = True
            raise Withheld
        assert writer.transport is not None
        self._transport, self.is_asked = writer.transport, True
        self._users[self._transport] = self._turn
        try:
            is_permitted = await self._permit()
        # Any: aiohttp would hide it.
        except Exception as error:
            self.fault = error
            raise
        if not is_permitted or self._is_over(writer):
            raise Withheld
        self.has_left = True
        await writer.write(self._value)

    def _is_over(self, writer: aiohttp.http.StreamWriter) -> bool:
        return self._is_aborted or (self._use.is_reused and _has_ended(writer))

    def abort(self) -> None:
        """Close the connection and drop what was not sent yet; nothing leaves from now on.

        A connection that another request has taken over is left to it.
        """
        self._is_aborted = True
        if self._transport is not None and self._users.get(self._transport) is self._turn:
            self._transport.abort()


def _uses() -> aiohttp.TraceConfig:
    """Keep each request's `_ConnectionUse`."""

    async def waits(_session: object, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.is_waiting = True

    async def goes_on(_session: object, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.is_waiting = False

    async def is_reused(_session: object, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.is_reused = True

    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(waits)
    config.on_connection_queued_end.append(goes_on)
    config.on_connection_reuseconn.append(is_reused)
    return config


class _SubmitAnswerBody(ResponseBody):
    """The bytes of the answer to a submit; a success that was read leaves its connection to others."""

    def __init__(self, response: aiohttp.ClientResponse, sent: _PermittedBody) -> None:
        super().__init__(response)
        self._sent = sent

    async def aclose(self) -> None:
        # aiohttp keeps a response's connection until the end of the answer, and of the request. Who refuses a
        # request may not have read it: what still waits here must not leave.
        if self._response.connection is not None or not self._response.ok:
            self._sent.abort()
        await super().aclose()


class SubmitTransport(AiohttpTransport):
    """A transport whose requests cannot reach the peer late.

    No byte can reach the peer more than `lifetime_seconds` after it was sent: the kernel gives up by then
    (TCP_USER_TIMEOUT), and a request that ends without the whole answer of a success drops what waits here or
    in the kernel (SO_LINGER 0 sends RST). After a success its connection serves the next request if that
    follows within `CALL_KEEPALIVE_SECONDS` and the peer has neither closed it nor spoken meanwhile: what it
    said then would count as the answer.

    The `permit` extension is awaited immediately before the first byte; `connect_seconds` bounds the time
    until there is a connection. A request that fails gets three extensions: `is_connected`, whether the peer
    accepted a connection, `is_permit_asked`, and `has_left`, whether a byte may have left. An answer before
    the request was sent is a ConnectError.

    Through a proxy all this holds for the way to the proxy. A tunnel that is not open yet has carried
    nothing, so `has_left` is exact there too. What a proxy has taken it may pass on after we have given up;
    one that works ends the tunnel at our reset.
    """

    def __init__(
        self,
        max_connections: int,
        lifetime_seconds: float,
        ssl_context: ssl.SSLContext,
        proxy: Proxy | None = None,
    ) -> None:
        super().__init__(max_connections, ssl_context, keepalive_seconds=CALL_KEEPALIVE_SECONDS, proxy=proxy)
        self._lifetime_ms = round(1000 * lifetime_seconds)
        self._users: WeakKeyDictionary[asyncio.Transport, object] = WeakKeyDictionary()
        """What stands for the body that was last written to each connection."""

    def _connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=self._keepalive_seconds,
            use_dns_cache=False,
            resolver=self._resolver,
            ssl=self._ssl_context,
            socket_factory=self._new_socket,
        )

    def _trace(self) -> aiohttp.TraceConfig:
        return _uses()

    def _new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._lifetime_ms)
        _SOCKETS.get().append(made)
        return made

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request with a complete body."""
        while True:
            use = _ConnectionUse()
            body = _PermittedBody(request.content, request.extensions["permit"], use, self._users)
            try:
                return await self._send_body(request, body, use)
            except httpx.TransportError:
                if not use.is_closed:
                    raise

    async def _send_body(
        self, request: httpx.Request, body: _PermittedBody, use: _ConnectionUse
    ) -> httpx.Response:
        timeout = aiohttp.ClientTimeout(total=None, connect=request.extensions["connect_seconds"])
        sockets: list[socket.socket] = []
        _SOCKETS.set(sockets)
        try:
            response = await self._send(request, body, use, timeout)
        except BaseException as error:
            request.extensions["is_connected"] = body.is_asked or any(_has_peer(each) for each in sockets)
            request.extensions["is_permit_asked"] = body.is_asked
            request.extensions["has_left"] = body.has_left
            body.abort()
            if body.fault is not None:
                # aiohttp takes whatever a body raises for a broken connection.
                raise body.fault from error
            if use.is_waiting and isinstance(error, httpx.ConnectTimeout):
                raise httpx.PoolTimeout("all connections are in use") from error
            raise
        if not body.has_left:
            use.is_closed = use.is_reused and not body.is_asked
            request.extensions |= {"is_permit_asked": True, "has_left": False}
            body.abort()
            response.close()
            raise httpx.ConnectError("the peer answered before the request was sent")
        # An attempt before this one may have noted that nothing has left.
        request.extensions |= {"is_permit_asked": True, "has_left": True}
        return to_response(request, response, _SubmitAnswerBody(response, body))
