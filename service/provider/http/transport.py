"""Two httpx transports on aiohttp: one for submits, which bounds when bytes leave, and one for other calls.

Neither follows redirects, keeps cookies, reads the environment or retries; both map foreign exceptions to
httpx's. `AiohttpTransport` replaces httpx-aiohttp's transport, which decodes `%3A` in a path (this breaks
a signed URL) and reports a connection lost after sending as one that was never made.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace, TracebackType

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

CHUNK_BYTES = 64 * 1024

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""The caller bounds the time."""

_KEEPALIVE_SECONDS = 15.0
"""Shorter than any known gateway's idle timeout, so that a pooled connection is rarely dead."""
CALL_KEEPALIVE_SECONDS = 0.5
"""For calls with a quota. A connection that was idle for longer may be on a broken path; once it works again,
the calls of all replicas that waited on it arrive at the same time. A new connection tests the path."""

MAX_FIELD_BYTES = 64 * 1024
"""Of one header: object stores allow 8 KB of metadata, and proxies add policies of some KB."""
MAX_HEADERS = 256


class HeadTooLarge(httpx.RemoteProtocolError):
    """The answer's headers are over a limit; a retry would get the same."""


class Withheld(Exception):
    """The request's permit was refused; nothing was written."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx on aiohttp's connection pool: a quarter of the CPU of httpx's own.

    Sends the URL byte for byte.

    Use it as an async context manager. The caller bounds the time. Connections are shared by host name;
    `resolver` chooses their addresses. A request's `permit` extension is awaited once it has a connection;
    if it returns False, `Withheld` is raised.
    """

    def __init__(
        self,
        max_connections: int,
        ssl_context: ssl.SSLContext,
        resolver: AbstractResolver | None = None,
        *,
        keepalive_seconds: float = _KEEPALIVE_SECONDS,
    ) -> None:
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._ssl_context = ssl_context
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "AiohttpTransport":
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=MAX_FIELD_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            trace_configs=[self._trace()],
        )
        return self

    def _connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=self._keepalive_seconds,
            use_dns_cache=False,
            resolver=self._resolver,
            ssl=self._ssl_context,
        )

    def _trace(self) -> aiohttp.TraceConfig:
        return _permits()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection, also those of calls in flight.

        May be called again, or without any call.
        """
        if self._session is not None:
            await self._session.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request with a complete body; a `target` extension replaces path and query, unchanged."""
        permit = request.extensions.get("permit")
        response = await self._send(request, request.content or None, permit, _NO_TIMEOUT)
        return _answer(request, response, _Body(response))

    async def _send(
        self,
        request: httpx.Request,
        body: bytes | aiohttp.Payload | None,
        context: object,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        assert self._session is not None, "the transport is not open"
        with _translated():
            return await self._session.request(
                request.method,
                _url_of(request),
                headers=request.headers.multi_items(),
                data=body,
                allow_redirects=False,
                timeout=timeout,
                trace_request_ctx=context,
                middlewares=(_Once(),),
            )


class SubmitTransport(AiohttpTransport):
    """A transport that makes one connection per request and resets it at the end.

    No byte can reach the peer more than `lifetime_seconds` after it was sent: the kernel gives up by then
    (TCP_USER_TIMEOUT), and the end of the request drops what waits here or in the kernel (SO_LINGER 0 sends
    RST). A new connection per submit also rules out one that the peer has just closed.

    The `permit` extension is awaited immediately before the first byte; `connect_seconds` bounds the time
    until there is a connection. A request that fails gets two extensions: `is_connected`, whether the peer
    accepted a connection, and `is_permit_asked`. An answer before the request was sent is a ConnectError.
    """

    def __init__(self, max_connections: int, lifetime_seconds: float, ssl_context: ssl.SSLContext) -> None:
        super().__init__(max_connections, ssl_context)
        self._lifetime_ms = round(1000 * lifetime_seconds)

    def _connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self._max_connections,
            force_close=True,
            use_dns_cache=False,
            ssl=self._ssl_context,
            socket_factory=self._new_socket,
        )

    def _trace(self) -> aiohttp.TraceConfig:
        return _queueing()

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
        sockets: list[socket.socket] = []
        _SOCKETS.set(sockets)
        queue = _Queue()
        body = _PermittedBody(request.content, request.extensions["permit"])
        timeout = aiohttp.ClientTimeout(total=None, connect=request.extensions["connect_seconds"])
        try:
            response = await self._send(request, body, queue, timeout)
        except BaseException as error:
            request.extensions["is_connected"] = any(_has_peer(each) for each in sockets)
            request.extensions["is_permit_asked"] = body.is_asked
            body.abort()
            if body.fault is not None:
                # aiohttp takes whatever a body raises for a broken connection.
                raise body.fault from error
            if queue.is_waiting and isinstance(error, httpx.ConnectTimeout):
                raise httpx.PoolTimeout("all connections are in use") from error
            raise
        if not body.has_left:
            request.extensions["is_permit_asked"] = True
            body.abort()
            response.close()
            raise httpx.ConnectError("the peer answered before the request was sent")
        return _answer(request, response, _AbortedBody(response, body))


_SOCKETS: ContextVar[list[socket.socket]] = ContextVar("sockets")
"""The sockets of the request that this task sends: more than one if the host has several addresses."""


def _has_peer(made: socket.socket) -> bool:
    try:
        made.getpeername()
    except OSError:
        return False
    return True


@dataclass(slots=True)
class _Queue:
    """Whether a request waits for another one's connection to close."""

    is_waiting: bool = False


class _PermittedBody(aiohttp.Payload):
    """A body that leaves with its headers once its permit allows it, or not at all."""

    def __init__(self, body: bytes, permit: Callable[[], Awaitable[bool]]) -> None:
        super().__init__(body)
        self._size = len(body)
        self._permit = permit
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
        self._transport, self.is_asked = writer.transport, True
        try:
            is_permitted = await self._permit()
        # Any: aiohttp would hide it.
        except Exception as error:
            self.fault = error
            raise
        if not is_permitted or self._is_aborted:
            raise Withheld
        self.has_left = True
        await writer.write(self._value)

    def abort(self) -> None:
        """Close the connection and drop what was not sent yet; nothing leaves from now on."""
        self._is_aborted = True
        if self._transport is not None:
            self._transport.abort()


def _answer(request: httpx.Request, response: aiohttp.ClientResponse, body: "_Body") -> httpx.Response:
    return httpx.Response(response.status, headers=response.raw_headers, stream=body, request=request)


def _permits() -> aiohttp.TraceConfig:
    """Await each request's permit: aiohttp calls `on_request_headers_sent` before it writes the headers."""

    async def ask(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _headers: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        permit = context.trace_request_ctx
        if permit is not None and not await permit():
            raise Withheld

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(ask)
    return config


def _queueing() -> aiohttp.TraceConfig:
    """Keep each request's `_Queue`."""

    async def waits(_session: object, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.is_waiting = True

    async def goes_on(_session: object, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.is_waiting = False

    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(waits)
    config.on_connection_queued_end.append(goes_on)
    return config


class _Once:
    """Lets a request leave once: aiohttp repeats a GET whose pooled connection broke, unseen by limits."""

    def __init__(self) -> None:
        self._has_left = False

    async def __call__(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._has_left:
            raise aiohttp.ServerDisconnectedError
        self._has_left = True
        return await send(request)


class _Body(httpx.AsyncByteStream):
    """The bytes of an answer as received, still compressed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in self._response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    async def aclose(self) -> None:
        # aiohttp returns the connection to its pool only if the whole body was read.
        self._response.release()


class _AbortedBody(_Body):
    """The bytes of the answer to a submit; its end is that of the connection."""

    def __init__(self, response: aiohttp.ClientResponse, sent: _PermittedBody) -> None:
        super().__init__(response)
        self._sent = sent

    async def aclose(self) -> None:
        await super().aclose()
        self._sent.abort()


def _url_of(request: httpx.Request) -> URL:
    target: bytes = request.extensions.get("target", request.url.raw_path)
    origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    return URL(origin + target.decode("ascii"), encoded=True)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise httpx's exceptions for aiohttp's.

    A ConnectError means that nothing was sent.
    """
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError("no connection") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout("no connection in time") from error
    except aiohttp.ClientResponseError as error:
        if _is_too_large(error):
            message = f"its headers are over {MAX_FIELD_BYTES} bytes each, or more than {MAX_HEADERS}"
            raise HeadTooLarge(message) from error
        raise httpx.RemoteProtocolError("the answer is not HTTP") from error
    except aiohttp.ClientError as error:
        raise httpx.ReadError("the connection was lost") from error


def _is_too_large(error: aiohttp.ClientResponseError) -> bool:
    """Whether the parser stopped at one of our limits: aiohttp has a class for one, a text for the other."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LineTooLong):
        cause = cause.__cause__
    return cause is not None or "Too many headers" in error.message
