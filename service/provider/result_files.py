"""Fetches result files from the provider's hosts only, and posts a form to one of them.

The URL is untrusted, so every part of it is checked before a connection is made: scheme, host, port
and each address. No credentials, cookies or redirects; path and query are sent byte for byte. Behind a proxy
the rule is that of names alone: the proxy finds the address, and we cannot see it.
"""

import asyncio
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import lru_cache
from types import TracebackType
from typing import Self

import httpx
from aiohttp.abc import AbstractResolver

from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode
from service.frozen import dataclass
from service.provider.http.addresses import AddressRefused, CheckedResolver
from service.provider.http.bodies import BodyBroken, BodyCutShort, BodyTooLarge, read_body
from service.provider.http.connection_errors import Peer, no_answer
from service.provider.http.proxy import Proxy
from service.provider.http.transport import AiohttpTransport, HeadTooLarge
from service.provider.wire.answer_fields import HttpAnswer, retry_after_seconds

# No user:password, no fragment, no blank, no control or non-ASCII character, no backslash.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<target>/[!\"$-\[\]-~]*)",
    re.IGNORECASE | re.ASCII,
)
# A host name of two or more labels; no resolver reads the last one as part of an address.
_NAME = re.compile(
    r"(?=.{3,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?!0x)(?=[a-z0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII,
)
_USUAL_PORTS = {"http": 80, "https": 443}
STALL_SECONDS = 60.0
"""Bound of each part of a form, and of the answer to it: a large file may take long, and must go on."""
MAX_ANSWER_BYTES = 64 * 1024
"""Of the answer to a form, which is empty or an error."""
_HEADERS = httpx.Headers({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "scribe"})


@dataclass(frozen=True, slots=True)
class FetchGuard:
    """The limits of a fetch. `hosts` are suffixes of whole labels, reached by https on its usual port even
    if the URL says http: the vendor's links do, and their signatures do not cover the scheme.

    `plain_http_hosts` are exact names or addresses that may also be reached by http, on any port, and may
    be private (a simulator's). The byte limits count the body on the wire and after gzip.
    """

    hosts: tuple[str, ...] = ("aliyuncs.com",)
    plain_http_hosts: tuple[str, ...] = ()
    max_compressed_bytes: int = 24 * 1024**2
    max_decoded_bytes: int = 24 * 1024**2
    timeout_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class FetchTarget:
    """The parts of a result URL; `target` is its path and query, unchanged."""

    scheme: str
    host: str
    port: int
    target: str

    def request(self) -> httpx.Request:
        """The request for it.

        httpx would normalise the path, so an extension carries the path.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        origin = _parsed(f"{self.scheme}://{host}:{self.port}/")
        return httpx.Request(
            "GET", origin, headers=_HEADERS, extensions={"target": self.target.encode("ascii")}
        )


@lru_cache(maxsize=64)
def _parsed(origin: str) -> httpx.URL:
    return httpx.URL(origin)


def _refused(reason: str) -> ProviderError:
    return ProviderError(OwnCode.FETCH_REFUSED, f"the result's URL is refused: {reason}")


def _refused_host(host: str, *, is_usual: bool) -> ProviderError:
    """Distinguish a host that the settings could allow from one that no setting allows."""
    if is_usual and _NAME.fullmatch(host):
        return ProviderError(
            OwnCode.FETCH_HOST_REFUSED, f"the result's host {host} is not below SCRIBE_FETCH__HOSTS"
        )
    return _refused(f"its host {host} is not among those allowed")


def fetch_target(url: str, guard: FetchGuard) -> FetchTarget | ProviderError:
    """The URL's parts, unless its text alone is refused.

    Addresses are checked when connecting.
    """
    found = _URL.fullmatch(url)
    if found is None:
        return _refused("it is not a plain http or https URL")
    scheme, host = found["scheme"].lower(), found["host"].lower().strip("[]")
    port = int(found["port"] or _USUAL_PORTS[scheme])
    if host in _lowered(guard.plain_http_hosts):
        return FetchTarget(scheme, host, port, found["target"]) if 0 < port < 65536 else _refused("its port")
    if not _is_below(host, guard.hosts):
        return _refused_host(host, is_usual=port == _USUAL_PORTS[scheme])
    if not _NAME.fullmatch(host):
        return _refused("its host is no name that a resolver takes")
    if port != _USUAL_PORTS[scheme]:
        return _refused(f"{host} may be reached on the usual port only")
    return FetchTarget("https", host, _USUAL_PORTS["https"], found["target"])


def _lowered(hosts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(host.lower().strip("[]") for host in hosts)


def _is_below(host: str, suffixes: tuple[str, ...]) -> bool:
    """Whether the host is one of the suffixes or a name below it.

    Never true for an address.
    """
    if _is_address(host) or "" in host.split("."):
        return False
    return any(host == suffix or host.endswith("." + suffix) for suffix in _lowered(suffixes))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class ResultFetcher:
    """An async context manager that holds the connections to the result hosts.

    A given `resolver` replaces the one that checks addresses.
    """

    def __init__(
        self,
        guard: FetchGuard,
        max_connections: int,
        ssl_context: ssl.SSLContext,
        resolver: AbstractResolver | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._guard = guard
        self._proxy = proxy
        exempt = _lowered(guard.plain_http_hosts) | ({proxy.host} if proxy else set())
        checked = resolver or CheckedResolver(exempt)
        self._transport = AiohttpTransport(max_connections, ssl_context, checked, proxy=proxy)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._transport)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """The decoded bytes of the result file, at most `max_bytes`, within the guard's total time."""
        place = fetch_target(transcription_url, self._guard)
        if isinstance(place, ProviderError):
            return place
        try:
            async with asyncio.timeout(self._guard.timeout_seconds):
                return await self._get(place, max_bytes)
        except (TimeoutError, httpx.HTTPError, BodyTooLarge, BodyBroken) as error:
            return self._fetch_error(error, place)

    def _fetch_error(self, error: Exception, place: FetchTarget) -> ProviderError:
        """The error of a fetch without a body; it repeats no text of other libraries."""
        match error:
            case AddressRefused():
                return _refused(str(error))
            case BodyTooLarge():
                return ProviderError(OwnCode.FETCH_TOO_LARGE, f"the result is too large: {error}")
            case BodyCutShort():
                return ProviderError(OwnCode.CONNECTION_LOST, f"the result is not whole: {error}")
            case BodyBroken() | HeadTooLarge():
                return ProviderError(OwnCode.FETCH_UNREADABLE, f"the result cannot be read: {error}")
            case _:
                way = f" (through the proxy {self._proxy})" if self._proxy and place.scheme == "https" else ""
                peer = Peer(place.host, place.port, f"the result's host {place.host}{way}")
                return no_answer(error, peer, self._guard.timeout_seconds)

    async def post(
        self, url: str, headers: Mapping[str, str], pieces: AsyncIterator[bytes]
    ) -> HttpAnswer | ProviderError:
        """Post a form, whose length is in the headers, to a host that the guard lets results come from."""
        place = fetch_target(url, self._guard)
        if isinstance(place, ProviderError):
            return replace(place, message=place.message.replace("the result's", "the upload's"))
        request = place.request()
        sent = httpx.Request("POST", request.url, headers=headers, extensions=request.extensions)
        peer = Peer(place.host, place.port, f"the upload's host {place.host}")
        try:
            async with asyncio.timeout(STALL_SECONDS) as bound:
                sent.stream = _Pieces(pieces, bound)
                response = await self._transport.handle_async_request(sent)
                try:
                    body = await read_body(response, MAX_ANSWER_BYTES, MAX_ANSWER_BYTES)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.HTTPError, BodyTooLarge, BodyBroken) as error:
            return no_answer(error, peer, STALL_SECONDS)
        return HttpAnswer(response.status_code, response.headers, body)

    async def _get(self, place: FetchTarget, max_bytes: int | None) -> bytes | ProviderError:
        # The transport is called directly: httpx's client would log the URL with its signature.
        guard = self._guard
        max_bytes = guard.max_decoded_bytes if max_bytes is None else min(max_bytes, guard.max_decoded_bytes)
        response = await self._transport.handle_async_request(place.request())
        try:
            if response.status_code == 200:
                return await read_body(response, guard.max_compressed_bytes, max_bytes)
            return ProviderError(
                OwnCode.HTTP_ERROR,
                f"the result's host {place.host} answered {response.status_code}",
                response.status_code,
                retry_after_seconds(response.headers),
            )
        finally:
            await response.aclose()


class _Pieces(httpx.AsyncByteStream):
    """The parts of a body; each that is asked for renews the bound."""

    def __init__(self, pieces: AsyncIterator[bytes], bound: asyncio.Timeout) -> None:
        self._pieces = pieces
        self._bound = bound

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            self._bound.reschedule(asyncio.get_running_loop().time() + STALL_SECONDS)
            yield piece
