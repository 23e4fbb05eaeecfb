"""The memory of result files: one limit in bytes for downloading and parsing together.

A file is downloaded in one of a few download slots for small files. If it turns out larger, it is downloaded
again in the one slot for large files, so that small files never wait behind it. It is parsed once there is
room. No holder of room waits for more room of the same kind, so there is no deadlock.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode
from service.core.transcript.parse_memory import parse_bytes
from service.frozen import dataclass
from service.pipeline.collecting import transcripts
from service.pipeline.collecting.transcripts import INLINE_BYTES
from service.provider.api import Provider

SMALL_BYTES = 4 * 1024**2
"""The size of a small file: two hours of speech with word times."""
RESULT_OVER_MEMORY = ProviderError(
    OwnCode.FETCH_TOO_LARGE,
    "the result is too large to be read: raise SCRIBE_FETCH__MEMORY_BYTES, then replay",
)


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Limits for all result files together, for the largest one, and for the number in flight.

    The settings make `total_bytes` at least `MEMORY_TIMES` times `largest_bytes`: the rest for parsing is
    then enough for the largest file with word times.
    """

    total_bytes: int = 512 * 1024**2
    largest_bytes: int = 24 * 1024**2
    in_flight: int = 8

    @property
    def small_files(self) -> int:
        """How many small files may be in memory: they share an eighth of the total."""
        return max(1, min(self.in_flight, self.total_bytes // 8 // SMALL_BYTES))

    @property
    def reading_bytes(self) -> int:
        """The bytes left for parsing."""
        small_bytes = min(SMALL_BYTES, self.largest_bytes)
        return self.total_bytes - self.small_files * small_bytes - self.largest_bytes


class FetchMemory:
    """Grants download slots and memory for parsing; one for the process."""

    def __init__(self, limits: MemoryLimits) -> None:
        self._small = asyncio.Semaphore(limits.small_files)
        self._large = asyncio.Lock()
        self._is_one_size = limits.largest_bytes <= SMALL_BYTES
        self._parsing = ByteBudget(limits.reading_bytes)

    def download_slot(self, *, is_large: bool) -> AbstractAsyncContextManager[None]:
        """A download slot for one file.

        Entering waits for it, and the file may be held until exit.
        """
        return self._large if is_large else self._small

    async def download(self, provider: Provider, url: str, *, is_large: bool) -> bytes | ProviderError | None:
        """Download `url` while holding a download slot.

        None if the file needs the slot for large files.
        """
        if is_large or self._is_one_size:
            return await provider.fetch(url)
        body = await provider.fetch(url, SMALL_BYTES)
        return None if _is_larger(body) else body

    async def file_url_in(self, provider: Provider, url: str, *, is_large: bool = False) -> str | None:
        """The audio file's URL in a result file.

        None if the file cannot be read or has no URL.
        """
        async with self.download_slot(is_large=is_large):
            body = await self.download(provider, url, is_large=is_large)
            if body is not None:
                return await self._file_url_of(body)
        return await self.file_url_in(provider, url, is_large=True)

    async def _file_url_of(self, body: bytes | ProviderError) -> str | None:
        if isinstance(body, ProviderError):
            return None
        room = await self.parse_memory_for(body, is_rendered=False)
        if room is None:
            return None
        async with room:
            return await transcripts.file_url_in(body)

    async def parse_memory_for(
        self, body: bytes, *, is_rendered: bool
    ) -> AbstractAsyncContextManager[None] | None:
        """Room for parsing the file.

        Entering waits for it. None if the file can never fit.
        """
        need = partial(parse_bytes, body, is_rendered=is_rendered)
        need_bytes = need() if len(body) <= INLINE_BYTES else await asyncio.to_thread(need)
        return self._parsing.reserve(need_bytes) if need_bytes <= self._parsing.total_bytes else None


def _is_larger(body: bytes | ProviderError) -> bool:
    return isinstance(body, ProviderError) and body.code == OwnCode.FETCH_TOO_LARGE


class ByteBudget:
    """A number of bytes, granted in the order of the requests."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserve(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait until these bytes are free and hold them; at most `total_bytes`."""
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
