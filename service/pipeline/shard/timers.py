"""Wait for the next due item: the loop under every stage."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from service.clock import Clock
from service.core.limits.schedule import DueQueue

T = TypeVar("T")
OnTick = Callable[[], None]
LONGEST_WAIT_SECONDS = 1.0
"""The queue is checked this often even if nothing is due, so that a stalled stage is detected."""
TICK_SECONDS = 1.0
"""How often a long wait reports that its loop is alive."""
SHORTEST_WAIT_SECONDS = 0.001
"""Times are rounded to milliseconds; a wait rounded to zero would cause a busy loop."""


class Timers(Generic[T]):
    """A queue ordered by time; `take` waits for the next due item.

    Trusted times become boot-clock times when they are pushed, so that a step of trusted time neither delays
    nor releases what is queued.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: DueQueue[T] = DueQueue()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, due_ms: int, item: T) -> None:
        """Add an item that is due at `due_ms`, in trusted time."""
        delay_ms = max(0, due_ms - self._clock.now_ms())
        self._queue.push(self._boot_ms() + delay_ms, item)
        self._changed.set()

    def wake(self) -> None:
        """Let a waiting `take` return now, with None unless an item is due."""
        self._changed.set()

    async def take(self, within_seconds: float = LONGEST_WAIT_SECONDS) -> T | None:
        """The item that has been due longest; None if none was due in time, or on `wake`."""
        due_ms = self._queue.next_due_ms()
        if due_ms is None or due_ms > self._boot_ms():
            await self._wait(within_seconds)
        else:
            # A long queue must not hold up the event loop.
            await asyncio.sleep(0)
        return self._queue.pop_due(self._boot_ms())

    async def _wait(self, within_seconds: float) -> None:
        self._changed.clear()
        wait_seconds = min(LONGEST_WAIT_SECONDS, within_seconds)
        due_ms = self._queue.next_due_ms()
        if due_ms is not None:
            wait_seconds = min(wait_seconds, (due_ms - self._boot_ms()) / 1000)
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(max(SHORTEST_WAIT_SECONDS, wait_seconds), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            alarm.cancel()

    def _boot_ms(self) -> int:
        return round(1000 * self._clock.boot_seconds())


async def ticking(work: Coroutine[None, None, T], on_tick: OnTick) -> T:
    """Await work that bounds itself, and call `on_tick` each second to show that the loop is alive."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            on_tick()
            await asyncio.wait({task}, timeout=TICK_SECONDS)
        return task.result()
    finally:
        if task.cancel():
            await asyncio.wait({task})
