"""The clock: the only module that reads the time or sleeps."""

import asyncio
import random
import time
from typing import Protocol


class Clock(Protocol):
    """What the pipeline knows of time and chance; tests move it by hand."""

    def now_ms(self) -> int:
        """Wall-clock milliseconds since the epoch: for records and deadlines."""
        ...

    def boot_seconds(self) -> float:
        """Seconds since boot, suspended time included: for ages and rates."""
        ...

    def draw(self) -> float:
        """A random number in [0, 1): for jitter."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; `seconds` may be zero."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Wall-clock milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def boot_seconds(self) -> float:
        """Seconds of CLOCK_BOOTTIME where there is one: CLOCK_MONOTONIC stops while suspended."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def draw(self) -> float:
        """A random number in [0, 1)."""
        return random.random()  # noqa: S311 - jitter, not a secret

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)
