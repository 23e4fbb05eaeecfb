"""The topic of shared pages in memory: what is sent reaches every reader, in order, after a delay.

It passes the contract of the real one (`tests/contract/test_page_topic.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from service.clock import Clock

TICK_SECONDS = 1.0


@dataclass
class MemoryTopic:
    """The topic. `delay` draws the delay of each record for each reader; down, it loses what is sent."""

    clock: Clock
    delay: Callable[[], float] = lambda: 0.0
    is_down: bool = False
    sent: list[bytes] = field(default_factory=list)
    _readers: "list[asyncio.Queue[tuple[float, bytes | None]]]" = field(default_factory=list)

    def send(self, value: bytes | None) -> None:
        """As the real one; does not wait."""
        if self.is_down:
            return
        self.sent += [] if value is None else [value]
        for reader in self._readers:
            reader.put_nowait((self.clock.boot_seconds() + self.delay(), value))

    async def read(
        self,
        take: Callable[[bytes | None], Awaitable[None]],
        is_wanted: Callable[[], bool],
        on_tick: Callable[[], None],
    ) -> None:
        """As the real one."""
        unread: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()
        while True:
            on_tick()
            if is_wanted() and unread not in self._readers:
                self._readers.append(unread)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    due, value = await unread.get()
                await self.clock.sleep(max(0.0, due - self.clock.boot_seconds()))
                if is_wanted():
                    await take(value)
