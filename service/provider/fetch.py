"""Fetches result files from where the provider put them, and from nowhere else.

The URL comes from outside, so every part of it is judged before a connection is made: scheme, host, port
and each address. No credentials, cookies, proxies or redirects; the path and query go out byte for byte.
"""

import asyncio
import ipaddress
import re
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from service.core.task import Trouble
from service.provider.addresses import AddressRefused, CheckedResolver, Lookup, system_lookup
from service.provider.answers import retry_after_seconds
from service.provider.bodies import BodyBroken, BodyTooLarge, read_body
from service.provider.causes import Peer, no_answer
from service.provider.transport import AiohttpTransport

# No user:password, no fragment, no blank, no control or non-ASCII character, no backslash.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[!\"$-\[\]-~]*)",
    re.IGNORECASE | re.ASCII,
)
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "scribe"}


@dataclass(frozen=True, slots=True)
class FetchGuard:
    """What a fetch may do. `hosts` are suffixes of whole labels, reached by https on its usual port.

    `plain_http_hosts` are exact names or addresses that may also be reached by http, on any port, and may
    be private (a simulator's). The byte limits count the body on the wire and after gzip.
    """

    hosts: tuple[str, ...] = ("aliyuncs.com",)
    plain_http_hosts: tuple[str, ...] = ()
    max_compressed_bytes: int = 64 * 1024**2
    max_decoded_bytes: int = 128 * 1024**2
    timeout_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """A result URL taken apart; `target` is its path and query as they stand."""

    scheme: str
    host: str
    port: int
    target: str

    def request(self) -> httpx.Request:
        """The request for it. httpx would tidy the path up, so the path travels beside its URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return httpx.Request(
            "GET",
            f"{self.scheme}://{host}:{self.port}/",
            headers=_HEADERS,
            extensions={"target": self.target.encode("ascii")},
        )


def _refused(reason: str) -> Trouble:
    return Trouble("fetch_refused", f"the result's URL is refused: {reason}")


def place_of(url: str, guard: FetchGuard) -> Place | Trouble:
    """The URL taken apart if its text alone does not forbid it; its addresses are judged at connecting."""
    found = _URL.fullmatch(url)
    if found is None:
        return _refused("it is not a plain http or https URL")
    scheme, host = found["scheme"].lower(), found["host"].lower().strip("[]")
    port = int(found["port"] or (443 if scheme == "https" else 80))
    if host in _lowered(guard.plain_http_hosts):
        return Place(scheme, host, port, found["target"]) if 0 < port < 65536 else _refused("its port")
    if not _is_below(host, guard.hosts):
        return _refused(f"its host {host} is not among those allowed")
    if scheme != "https" or port != 443:
        return _refused(f"{host} may be reached by https on port 443 only")
    return Place(scheme, host, port, found["target"])


def _lowered(hosts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(host.lower().strip("[]") for host in hosts)


def _is_below(host: str, suffixes: tuple[str, ...]) -> bool:
    """Whether the host is one of the suffixes or a name below it. An address is below nothing."""
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
    """An async context manager that holds the connections to the result hosts."""

    def __init__(
        self,
        guard: FetchGuard,
        max_connections: int,
        ssl_context: ssl.SSLContext,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._guard = guard
        resolver = CheckedResolver(_lowered(guard.plain_http_hosts), lookup)
        self._transport = AiohttpTransport(max_connections, ssl_context, resolver)
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

    async def fetch(self, transcription_url: str) -> bytes | Trouble:
        """The decoded bytes of the result file, in at most the guard's total time."""
        place = place_of(transcription_url, self._guard)
        if isinstance(place, Trouble):
            return place
        try:
            async with asyncio.timeout(self._guard.timeout_seconds):
                return await self._get(place)
        except TimeoutError:
            return Trouble("timeout", f"the result did not come within {self._guard.timeout_seconds:g} s")
        except AddressRefused as error:
            return _refused(str(error))
        except httpx.HTTPError as error:
            peer = Peer(place.host, place.port, f"the result's host {place.host}")
            return no_answer(error, peer, self._guard.timeout_seconds)
        except BodyTooLarge as error:
            return Trouble("fetch_too_large", f"the result is too large: {error}")
        except BodyBroken as error:
            return Trouble("connection_lost", f"the result is damaged: {error}")

    async def _get(self, place: Place) -> bytes | Trouble:
        # The transport is called directly: httpx's client would log the URL with its signature.
        guard = self._guard
        response = await self._transport.handle_async_request(place.request())
        try:
            if response.status_code == 200:
                return await read_body(response, guard.max_compressed_bytes, guard.max_decoded_bytes)
            return Trouble(
                "http_error",
                f"the result's host {place.host} answered {response.status_code}",
                response.status_code,
                retry_after_seconds(response.headers),
            )
        finally:
            await response.aclose()
