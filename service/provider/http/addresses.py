"""Resolves host names for result fetches.

One address that is not public refuses the name.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

import httpx
from aiohttp.abc import AbstractResolver, ResolveResult

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


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """The addresses that the system's resolver returns, in its order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in found]


class CheckedResolver(AbstractResolver):
    """aiohttp's resolver for fetches: connections go only to the addresses checked here.

    Hosts in `exempt` may have any address. aiohttp does not call it for numeric addresses.
    """

    def __init__(self, exempt: frozenset[str], lookup: Lookup = system_lookup) -> None:
        self._exempt = exempt
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The checked addresses of `host`.

        Raises AddressRefused, or OSError if there are none.
        """
        addresses = await self._lookup(host, port)
        refused = [] if host in self._exempt else [each for each in addresses if not is_public(each)]
        if refused:
            raise AddressRefused(_refusal(host, refused[0]))
        found = [_result(host, port, address) for address in addresses]
        return [result for result in found if family in (socket.AF_UNSPEC, result["family"])]

    async def close(self) -> None:
        """Do nothing: it holds no resources."""


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
