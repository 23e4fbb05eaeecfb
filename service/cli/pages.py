"""Reads a page of a replica's health port, within a bound.

It speaks HTTP/1.0 itself: the HTTP clients of the product are the provider's, and the standard library's have
no bound for a whole answer.
"""

import asyncio
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
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigError("a replica's URL is http:// or https://, a host and a port: http://127.0.0.1:8080")
    path = parts.path.rstrip("/").removesuffix("/status")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


async def get(url: str, bound_seconds: float = BOUND_SECONDS) -> Page:
    """The page at this URL; raises `NoAnswer`."""
    try:
        async with asyncio.timeout(bound_seconds):
            return _page(await _exchanged(url))
    except TimeoutError:
        raise NoAnswer(f"no answer within {bound_seconds:g} s") from None
    except (OSError, asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
        raise NoAnswer(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error


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
