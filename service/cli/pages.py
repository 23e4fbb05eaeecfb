"""Reads a page of a replica's health port, within a bound.

It speaks HTTP/1.0 itself: the HTTP clients of the product are the provider's, and the standard library's have
no bound for a whole answer.
"""

import asyncio
import os
import socket
import ssl
from urllib.parse import urlsplit

from service.errors import ConfigError, ServiceError
from service.frozen import dataclass

BOUND_SECONDS = 5.0
"""A healthy replica answers in milliseconds: its health port has threads of its own."""
MAX_BYTES = 4 * 1024 * 1024


class NoAnswer(ServiceError):
    """The replica did not answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to one request."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as one line."""
        return self.body.decode(errors="replace").strip()


def base_of(url: str) -> str:
    """The URL of the replica without a page's name; raises `ConfigError` for what is no URL of one."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(parts.scheme)
    except ValueError:
        words = "a replica's URL is http:// or https://, a host and a port: http://127.0.0.1:8080"
        raise ConfigError(words) from None
    path = parts.path.rstrip("/").removesuffix("/status")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


async def addresses_of(base: str, bound_seconds: float = BOUND_SECONDS) -> list[str]:
    """The URL at each address of its host's name: a headless Service of Kubernetes names all replicas.

    The URL itself if it has one address, if it is https, whose certificate is made for the name, or if the
    name cannot be resolved.
    """
    parts = urlsplit(base)
    host, port = parts.hostname or "", parts.port or 80
    try:
        async with asyncio.timeout(bound_seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [base]
    # Of a host with both kinds of addresses, one kind: each would name the replica twice.
    addresses = {str(each[4][0]) for each in found if each[0] == found[0][0]}
    if parts.scheme == "https" or len(addresses) < 2:
        return [base]
    bracketed = (f"[{each}]" if ":" in each else each for each in sorted(addresses))
    return [f"http://{each}:{port}{parts.path}" for each in bracketed]


async def get(url: str, bound_seconds: float = BOUND_SECONDS) -> Page:
    """The page at this URL; raises `NoAnswer`."""
    try:
        async with asyncio.timeout(bound_seconds):
            return _page(await _exchanged(url))
    except TimeoutError:
        raise NoAnswer(f"no answer within {bound_seconds:g} s") from None
    except (OSError, UnicodeError) as error:
        raise NoAnswer(_reason(error)) from error


def _reason(error: Exception) -> str:
    """The system's words for the error: asyncio's own name the address, which the caller has."""
    number = getattr(error, "errno", None)
    if number is not None and number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


async def _exchanged(url: str) -> bytes:
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    context = ssl.create_default_context() if is_tls else None
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        head = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\nUser-Agent: scribe\r\n\r\n"
        writer.write(head.encode("ascii", errors="replace"))
        await writer.drain()
        answer = b""
        while (part := await reader.read(64 * 1024)) and len(answer) <= MAX_BYTES:
            answer += part
        return answer
    finally:
        writer.close()


def _page(answer: bytes) -> Page:
    head, separator, body = answer.partition(b"\r\n\r\n")
    words = head.partition(b"\r\n")[0].split()
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise NoAnswer("what answers is no HTTP server")
    if len(body) > MAX_BYTES:
        raise NoAnswer("the answer is too large for a page of Scribe")
    return Page(int(words[1]), body)
