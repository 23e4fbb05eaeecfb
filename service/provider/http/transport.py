"""An httpx transport on aiohttp, for all calls but submits (`provider.http.submit_transport`).

It does not follow redirects, keep cookies, read the environment or retry, and maps foreign exceptions to
httpx's. It replaces httpx-aiohttp's transport, which decodes `%3A` in a path (this breaks
a signed URL) and reports a connection lost after sending as one that was never made.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType
from typing import Self

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

from service.provider.http.addresses import SystemResolver
from service.provider.http.proxy import Proxy, ProxyFailed

CHUNK_BYTES = 64 * 1024
"""Read at once: large enough that a file of some MB takes few turns of the event loop."""

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
"""Ten times what the vendor and object stores send."""


class HeadTooLarge(httpx.RemoteProtocolError):
    """The answer's headers are over a limit; a retry would get the same."""


class Withheld(Exception):
    """The request's permit was refused; nothing was written."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx on aiohttp's connection pool: a quarter of the CPU of httpx's own.

    Sends the URL byte for byte.

    Use it as an async context manager. The caller bounds the time. Connections are shared by host name;
    `resolver` chooses their addresses. What is https goes through the `proxy`, if there is one; plain http,
    which only simulators speak, does not. A request's `permit` extension is awaited once it has a connection;
    if it returns False, `Withheld` is raised.
    """

    def __init__(
        self,
        max_connections: int,
        ssl_context: ssl.SSLContext,
        resolver: AbstractResolver | None = None,
        *,
        keepalive_seconds: float = _KEEPALIVE_SECONDS,
        proxy: Proxy | None = None,
    ) -> None:
        self._proxy = proxy
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._ssl_context = ssl_context
        self._resolver = resolver or SystemResolver()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
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
        """Send one request; a `target` extension replaces path and query, unchanged.

        A body that is no `httpx.ByteStream` is sent piece by piece; its length stands in the headers.
        """
        permit = request.extensions.get("permit")
        response = await self._send(request, _body_of(request), permit, _NO_TIMEOUT)
        return to_response(request, response, ResponseBody(response))

    async def _send(
        self,
        request: httpx.Request,
        body: bytes | aiohttp.Payload | None,
        context: object,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        assert self._session is not None, "the transport is not open"
        url = _url_of(request)
        proxy = self._proxy if url.scheme == "https" else None
        with _translated(proxy):
            return await self._session.request(
                request.method,
                url,
                proxy=None if proxy is None else proxy.origin,
                proxy_headers=None if proxy is None else _login(proxy),
                headers=request.headers.multi_items(),
                data=body,
                allow_redirects=False,
                timeout=timeout,
                trace_request_ctx=context,
                middlewares=(_Once(),),
            )


def to_response(
    request: httpx.Request, response: aiohttp.ClientResponse, body: "ResponseBody"
) -> httpx.Response:
    """httpx's form of aiohttp's response; `body` reads it."""
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


class ResponseBody(httpx.AsyncByteStream):
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


def _body_of(request: httpx.Request) -> bytes | aiohttp.Payload | None:
    if isinstance(request.stream, httpx.ByteStream):
        return request.content or None
    assert isinstance(request.stream, httpx.AsyncByteStream)
    return aiohttp.AsyncIterablePayload(request.stream)


def _url_of(request: httpx.Request) -> URL:
    target: bytes = request.extensions.get("target", request.url.raw_path)
    origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    return URL(origin + target.decode("ascii"), encoded=True)


def _login(proxy: Proxy) -> dict[str, str]:
    return {} if proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}


@contextmanager
def _translated(proxy: Proxy | None = None) -> Iterator[None]:
    """Raise httpx's exceptions for aiohttp's.

    A ConnectError means that nothing was sent.
    """
    try:
        yield
    except aiohttp.ClientHttpProxyError as error:
        assert proxy is not None
        raise ProxyFailed(proxy, error.status) from error
    except aiohttp.ClientConnectorError as error:
        # aiohttp has a class of its own for a proxy that refuses, and none for one without an address.
        if proxy is not None and (error.host, error.port) == (proxy.host, proxy.port):
            raise ProxyFailed(proxy) from error
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
