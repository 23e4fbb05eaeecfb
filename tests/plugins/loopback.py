"""Keeps Python's sockets on this machine. A test that reaches out fails, even where its error was swallowed.

Sockets of C libraries (librdkafka) and of child processes are not seen.
"""

import ipaddress
import socket
from collections.abc import Generator
from typing import Any

import pytest

_attempts: list[str] = []
_patches = pytest.MonkeyPatch()


class ForeignAddressError(RuntimeError):
    """Not an OSError, so that no retry takes it for a network that is down."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    for method in ("connect", "connect_ex"):
        _guard_method(method)
    _guard_sendto()
    _guard_names()


def pytest_unconfigure() -> None:
    _patches.undo()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    _attempts.clear()
    result = yield
    if _attempts:
        raise ForeignAddressError(f"the test reached for {', '.join(_attempts)}, and went on")
    return result


def _guard_method(method: str) -> None:
    original = getattr(socket.socket, method)

    def guarded(self: socket.socket, address: Any) -> object:
        _require_local(self, address)
        return original(self, address)

    _patches.setattr(socket.socket, method, guarded)


def _guard_sendto() -> None:
    original = socket.socket.sendto

    def guarded(self: socket.socket, data: bytes, *rest: Any) -> int:
        _require_local(self, rest[-1])
        return original(self, data, *rest)

    _patches.setattr(socket.socket, "sendto", guarded)


def _guard_names() -> None:
    original = socket.getaddrinfo

    def guarded(host: bytes | str | None, *rest: Any, **named: Any) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".invalid"):  # RFC 2606: no resolver knows one, and none need be asked
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name and not _is_literal(name):
            _require_loopback(name)
        return original(host, *rest, **named)

    _patches.setattr(socket, "getaddrinfo", guarded)


def _require_local(used: socket.socket, address: Any) -> None:
    if used.family in (socket.AF_INET, socket.AF_INET6):
        _require_loopback(address[0])


def _require_loopback(host: str) -> None:
    if host != "localhost" and not _is_loopback(host):
        _attempts.append(host)
        raise ForeignAddressError(f"tests talk to loopback only, and this one reached for {host}")


def _is_loopback(host: str) -> bool:
    if not _is_literal(host):
        return False
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
