"""The memory of result files: bounds in bytes what is being downloaded, and what is being read, together.

A file is downloaded in one of a few places for small ones. One that turns out larger is downloaded again in
the one place for large ones, so that small ones never wait behind it. Then it is read once there is room for
what that takes. Nobody who holds room waits for more of its kind, so nobody waits for ever.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from service.core.provider.answers import ProviderError
from service.core.transcript.parse_memory import parse_bytes
from service.pipeline.results import transcripts
from service.pipeline.results.transcripts import INLINE_BYTES
from service.provider.api import Provider

SMALL_BYTES = 4 * 1024**2
"""Of a small file: two hours of speech with the times of its words."""
TOO_LARGE = ProviderError(
    "fetch_too_large", "the result is too large to be read: raise SCRIBE_FETCH__MEMORY_BYTES, then replay"
)


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """What result files may take together, the largest one by itself, and how many are fetched at a time.

    `total_bytes` is at least `MEMORY_TIMES` (the settings see to it) times `largest_bytes`: what is left for
    reading is then enough for the largest file of words with times.
    """

    total_bytes: int = 512 * 1024**2
    largest_bytes: int = 24 * 1024**2
    in_flight: int = 8

    @property
    def small_files(self) -> int:
        """How many small files may be in memory: an eighth of the whole is theirs."""
        return max(1, min(self.in_flight, self.total_bytes // 8 // SMALL_BYTES))

    @property
    def reading_bytes(self) -> int:
        """What is left for reading."""
        small_bytes = min(SMALL_BYTES, self.largest_bytes)
        return self.total_bytes - self.small_files * small_bytes - self.largest_bytes


class FetchMemory:
    """Who may download and read now; one for the process."""

    def __init__(self, limits: MemoryLimits) -> None:
        self._small = asyncio.Semaphore(limits.small_files)
        self._large = asyncio.Lock()
        self._is_one_size = limits.largest_bytes <= SMALL_BYTES
        self._room = Room(limits.reading_bytes)

    def place(self, *, is_large: bool) -> AbstractAsyncContextManager[None]:
        """A place for one file, which its context waits for; the file may be kept until the end of it."""
        return self._large if is_large else self._small

    async def download(self, provider: Provider, url: str, *, is_large: bool) -> bytes | ProviderError | None:
        """The file behind `url`, for which there is a place; None where it takes one for large files."""
        if is_large or self._is_one_size:
            return await provider.fetch(url)
        body = await provider.fetch(url, SMALL_BYTES)
        return None if _is_larger(body) else body

    async def file_url_in(self, provider: Provider, url: str, *, is_large: bool = False) -> str | None:
        """The URL of the file that a result file is about, where it can be read and tells."""
        async with self.place(is_large=is_large):
            body = await self.download(provider, url, is_large=is_large)
            if body is not None:
                return await self._file_url_of(body)
        return await self.file_url_in(provider, url, is_large=True)

    async def _file_url_of(self, body: bytes | ProviderError) -> str | None:
        if isinstance(body, ProviderError):
            return None
        room = await self.room_for(body, is_rendered=False)
        if room is None:
            return None
        async with room:
            return await transcripts.file_url_in(body)

    async def room_for(self, body: bytes, *, is_rendered: bool) -> AbstractAsyncContextManager[None] | None:
        """Room for reading the file, which its context waits for; None where there can be none."""
        need = partial(parse_bytes, body, is_rendered=is_rendered)
        need_bytes = need() if len(body) <= INLINE_BYTES else await asyncio.to_thread(need)
        return self._room.taken(need_bytes) if need_bytes <= self._room.total_bytes else None


def _is_larger(body: bytes | ProviderError) -> bool:
    return isinstance(body, ProviderError) and body.code == "fetch_too_large"


class Room:
    """A number of bytes that are given out in the order in which they are asked for."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold so many bytes, at most all, once they are free."""
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, granted))
        self._grant()
        try:
            await granted
            yield
        finally:
            if granted.done() and not granted.cancelled():
                self._free_bytes += size_bytes
            self._grant()

    def _grant(self) -> None:
        while self._waiting:
            size_bytes, granted = self._waiting[0]
            if granted.cancelled():
                self._waiting.popleft()
                continue
            if size_bytes > self._free_bytes:
                return
            self._waiting.popleft()
            self._free_bytes -= size_bytes
            granted.set_result(None)
