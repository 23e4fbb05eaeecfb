"""Resolves host names; for result fetches, one address that is not public refuses the name."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from service.read_aside import SharedRead

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host for a port; raises OSError if there are none."""

# In addition to those that `ipaddress` calls not global: networks that tunnel to an IPv4 address.
_TUNNELS = tuple(
    ipaddress.ip_network(network)
    for network in ("::/96", "::ffff:0:0/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Stands for the IPv4 address in its last 32 bits (RFC 6052); in networks without IPv4 every host has one."""
_FAKE = ipaddress.ip_network("198.18.0.0/15")
"""For benchmarks, by RFC 2544; some proxies answer every name with a made-up address of this network."""


class AddressRefused(httpx.ConnectError):
    """The name has an address that is not on the public internet."""


def is_public(address: str) -> bool:
    """Whether the address is an ordinary one of the public internet (RFC 6890 and its registries)."""
    ip = _ip(address)
    if ip is None:
        return False
    if ip in _NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    return ip.version == 4 or not any(ip in network for network in _TUNNELS)


class SystemLookup:
    """The system's resolver. A lookup may hang for a minute: one thread makes it for all who ask meanwhile.

    In the event loop's own threads it would hold up what batches do there, and the end of the process.
    """

    def __init__(self) -> None:
        self._lookups: dict[tuple[str, int], SharedRead[Sequence[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses, in the system's order; the caller bounds the time."""
        self._lookups = {each: lookup for each, lookup in self._lookups.items() if lookup.is_reading}
        found = self._lookups.setdefault((host, port), SharedRead(partial(_addresses, host, port)))
        return await found()


def _addresses(host: str, port: int) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError:
        # An empty label, or one of more than 63 characters: aiohttp expects errors of the system alone.
        raise socket.gaierror(socket.EAI_NONAME, "no name that a resolver takes") from None
    return [str(address[0]) for *_, address in found]


class SystemResolver(AbstractResolver):
    """aiohttp's resolver, which it does not call for numeric addresses."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or SystemLookup()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`; raises OSError if there are none."""
        found = [_result(host, port, address) for address in await self._lookup(host, port)]
        return [result for result in found if family in (socket.AF_UNSPEC, result["family"])]

    async def close(self) -> None:
        """Do nothing: it holds no resources."""


class CheckedResolver(SystemResolver):
    """The resolver for fetches: connections go only to the addresses checked here.

    Hosts in `exempt` may have any address.
    """

    def __init__(self, exempt: frozenset[str], lookup: Lookup | None = None) -> None:
        super().__init__(lookup)
        self._exempt = exempt

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The checked addresses of `host`; raises `AddressRefused` if one of any family is not public."""
        found = await super().resolve(host, port)
        refused = [each["host"] for each in found if not is_public(each["host"])]
        if refused and host not in self._exempt:
            raise AddressRefused(_refusal(host, refused[0]))
        return [result for result in found if family in (socket.AF_UNSPEC, result["family"])]


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _refusal(host: str, address: str) -> str:
    """Name the address, and the setting that allows it."""
    ip = _ip(address)
    is_fake = ip is not None and ip in _FAKE
    cause = ", as names do behind a proxy that answers with made-up addresses" if is_fake else ""
    return (
        f"{host} leads to {address}, which is not a public address{cause};"
        " let it resolve to a public one, or name it in SCRIBE_FETCH__PLAIN_HTTP_HOSTS"
    )


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
