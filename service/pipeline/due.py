"""Waiting for the next thing that is due: the loop under every stage."""

import asyncio
from typing import Generic, TypeVar

from service.clock import Clock
from service.core.schedule import DueQueue

T = TypeVar("T")
LONGEST_WAIT_SECONDS = 1.0
"""The queue is looked at this often even when nothing is due, so that a stalled stage shows."""


class Due(Generic[T]):
    """A queue by time that can be waited on.

    Wall-clock times become boot-clock times when they are pushed, so that a jump of the wall clock neither
    delays nor releases what is queued.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: DueQueue[T] = DueQueue()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, due_ms: int, item: T) -> None:
        """Add an item that is due at the wall-clock time `due_ms`."""
        delay_ms = max(0, due_ms - self._clock.now_ms())
        self._queue.push(self._boot_ms() + delay_ms, item)
        self._changed.set()

    async def take(self) -> T | None:
        """The item that has been due for longest; None when a second went by without one."""
        item = self._queue.pop_due(self._boot_ms())
        if item is not None:
            return item
        await self._wait()
        return self._queue.pop_due(self._boot_ms())

    async def _wait(self) -> None:
        self._changed.clear()
        due_ms = self._queue.next_due_ms()
        wait_seconds = LONGEST_WAIT_SECONDS
        if due_ms is not None:
            wait_seconds = min(wait_seconds, max(0.0, (due_ms - self._boot_ms()) / 1000))
        try:
            async with asyncio.timeout(wait_seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _boot_ms(self) -> int:
        return round(1000 * self._clock.boot_seconds())
