"""Two httpx transports: one for submits, where what left the machine matters, one for everything else.

Neither follows redirects, keeps cookies, reads the environment or retries; both map foreign exceptions to
httpx's. `AiohttpTransport` is ours instead of httpx-aiohttp's because that one decodes `%3A` in a path
(a signed URL breaks) and reports a connection lost after sending as one that never came about.
"""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

CHUNK_BYTES = 64 * 1024

_KEEPALIVE_SECONDS = 15.0
"""Shorter than any gateway's idle time-out that we know of, so that a pooled connection is rarely dead."""
CALL_KEEPALIVE_SECONDS = 0.5
"""Of calls with a quota: one that was idle for longer says nothing about its path, and what waits on a broken
path arrives at once when it is mended, from every replica. A new one shows that the path is there."""

MAX_FIELD_BYTES = 64 * 1024
"""Of one header: object storages allow 8 KB of metadata, proxies add policies of some KB."""
MAX_HEADERS = 256


class HeadTooLarge(httpx.RemoteProtocolError):
    """The answer's headers are over a limit: it would be the same at the next try."""


def submit_transport(
    max_connections: int, lifetime_seconds: float, ssl_context: ssl.SSLContext
) -> httpx.AsyncHTTPTransport:
    """A transport that makes a connection per request and resets it at the end.

    Nothing written to it can reach the peer more than `lifetime_seconds` after it was sent: the kernel
    gives up by then (TCP_USER_TIMEOUT), and closing drops what is still queued (SO_LINGER 0 sends RST).
    A fresh connection per submit also rules out the doubt about one that the peer had just closed.
    """
    options: list[tuple[int, int, int] | tuple[int, int, bytes]] = [
        (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ]
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * lifetime_seconds)))
    return httpx.AsyncHTTPTransport(
        verify=ssl_context,
        trust_env=False,
        limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=0),
        retries=0,
        socket_options=options,
    )


class Withheld(Exception):
    """The request's permit was refused: nothing of it was written."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx on aiohttp's connection pool: a quarter of the CPU of httpx's own, and the URL byte for byte.

    Use it as an async context manager. Time is the caller's to bound. Connections are shared by host name;
    `resolver` says where they may go. A request's `permit` extension is awaited when its connection is there;
    where it says no, `Withheld` is raised.
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
        connector = aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=self._keepalive_seconds,
            use_dns_cache=False,
            resolver=self._resolver,
            ssl=self._ssl_context,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=MAX_FIELD_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            trace_configs=[_permits()],
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request whose body is at hand; its `target` extension, where set, goes out as it is."""
        assert self._session is not None, "the transport is not open"
        with _translated():
            response = await self._session.request(
                request.method,
                _url_of(request),
                headers=request.headers.multi_items(),
                data=request.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),
                trace_request_ctx=request.extensions.get("permit"),
                middlewares=(_Once(),),
            )
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Body(response), request=request
        )


def _permits() -> aiohttp.TraceConfig:
    """Ask for each request's permit; aiohttp says that headers are sent before it writes them."""

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


class _Once:
    """Lets one request leave: aiohttp repeats a GET whose pooled connection broke, and no budget knows."""

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
    """The bytes of an answer as they come from the wire, still compressed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in self._response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    async def aclose(self) -> None:
        # aiohttp returns the connection to its pool only if the body was read to its end.
        self._response.release()


def _url_of(request: httpx.Request) -> URL:
    target: bytes = request.extensions.get("target", request.url.raw_path)
    origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    return URL(origin + target.decode("ascii"), encoded=True)


@contextmanager
def _translated() -> Iterator[None]:
    """httpx's exceptions for aiohttp's: a ConnectError means that nothing was sent."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError("no connection") from error
    except aiohttp.ClientResponseError as error:
        if _is_too_large(error):
            told = f"its headers are over {MAX_FIELD_BYTES} bytes each, or more than {MAX_HEADERS}"
            raise HeadTooLarge(told) from error
        raise httpx.RemoteProtocolError("the answer is not HTTP") from error
    except aiohttp.ClientError as error:
        raise httpx.ReadError("the connection was lost") from error


def _is_too_large(error: aiohttp.ClientResponseError) -> bool:
    """Whether the parser stopped at one of our limits; aiohttp tells one by a class, the other in words."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LineTooLong):
        cause = cause.__cause__
    return cause is not None or "Too many headers" in error.message
