"""The clock: the only module that reads the time or sleeps."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol

from service.core.time.trusted_time import TimeEvent, TrustedReading, TrustedTime
from service.core.time.vendor_clock import VendorClock


class Clock(Protocol):
    """What the pipeline knows of time and chance; tests move it by hand."""

    def now_ms(self) -> int:
        """Epoch milliseconds that a step of the wall clock does not move: for records and due times."""
        ...

    def confirmed_ms(self) -> int:
        """The same for what ends or is forgotten: 0, when nothing has, before the vendor's first `Date`."""
        ...

    def not_before(self, time_ms: int) -> None:
        """Let time be no earlier than a record of the journal, until the vendor's `Date` is known."""
        ...

    def witnessed(self, time_ms: int) -> None:
        """The broker gave a record this time just before: it stands in for a vendor without any `Date`."""
        ...

    def wall_ms(self) -> int:
        """Epoch milliseconds of the machine's wall clock as it stands: for an intent's age alone."""
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
    """The machine's own clock, believed whatever it says."""

    def now_ms(self) -> int:
        """The wall clock."""
        return self.wall_ms()

    def confirmed_ms(self) -> int:
        """The wall clock."""
        return self.wall_ms()

    def not_before(self, time_ms: int) -> None:
        """Change nothing."""

    def witnessed(self, time_ms: int) -> None:
        """Change nothing."""

    def wall_ms(self) -> int:
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


class TrustedClock:
    """The clock of a process: time that no step of the wall clock moves unless the vendor confirms it.

    `on_event` is told what becomes of it, and by how many seconds the wall clock is ahead of it then.
    """

    def __init__(
        self, machine: Clock, vendor: VendorClock, on_event: Callable[[TimeEvent, float], None]
    ) -> None:
        self._machine = machine
        self._time = TrustedTime(vendor)
        self._on_event = on_event
        self.wall_ms = machine.wall_ms
        self.boot_seconds = machine.boot_seconds
        self.draw = machine.draw
        self.sleep = machine.sleep

    def now_ms(self) -> int:
        """Boot time plus the trusted offset."""
        return self._read().now_ms

    def confirmed_ms(self) -> int:
        """The same, as far as the vendor's `Date` has confirmed it."""
        return self._read().confirmed_ms

    def not_before(self, time_ms: int) -> None:
        """Let time be no earlier than a record of the journal, until the vendor's `Date` is known."""
        self._read()
        self._time.not_before(time_ms, self._machine.boot_seconds())

    def witnessed(self, time_ms: int) -> None:
        """The broker gave a record this time just before: it stands in for a vendor without any `Date`."""
        self._time.witnessed(time_ms, self._machine.boot_seconds())

    def _read(self) -> TrustedReading:
        wall_ms = self._machine.wall_ms()
        reading, event = self._time.read(wall_ms, self._machine.boot_seconds())
        if event is not None:
            self._on_event(event, (wall_ms - reading.now_ms) / 1000)
        return reading
