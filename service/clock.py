"""The clock: the only module that reads the time, and the only one that sleeps.

`Timers` and the bounds of single calls (`asyncio.timeout`) wait on the event loop instead.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from typing import Protocol

from service.core.time.trusted_time import TimeEvent, TrustedReading, TrustedTime
from service.core.time.vendor_clock import VendorClock


class Clock(Protocol):
    """What the pipeline knows of time and chance; tests move it by hand."""

    def now_ms(self) -> int:
        """Trusted time, which no step of the wall clock changes, in epoch milliseconds: for records."""
        ...

    def confirmed_ms(self) -> int:
        """Confirmed trusted time: for deadlines and retention.

        0 before the vendor's first `Date`.
        """
        ...

    def not_before(self, time_ms: int) -> None:
        """Raise the time to that of a journal record, unless the vendor's `Date` has confirmed it."""
        ...

    def witnessed(self, time_ms: int) -> None:
        """Note the time that the broker just gave a record; it replaces `Date` if the vendor sends none."""
        ...

    def wall_ms(self) -> int:
        """The machine's wall clock, in epoch milliseconds: only for an intent's age."""
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
    """The machine's clock, taken as correct."""

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


SAME_SECONDS = 0.001
"""Trusted time has whole milliseconds: a reading serves for one. A job takes some 40 readings."""
SYSTEM_CLOCK = SystemClock()
"""For what runs before the process has a clock of its own, and for the command line."""


class TrustedClock:
    """The clock of a process: trusted time.

    No step of the wall clock moves it unless the vendor confirms it.

    `on_event` gets each change of it, and by how many seconds the wall clock is then ahead.
    """

    def __init__(
        self, machine: Clock, vendor: VendorClock, on_event: Callable[[TimeEvent, float], None]
    ) -> None:
        self._machine = machine
        self._time = TrustedTime(vendor)
        self._on_event = on_event
        self._latest = TrustedReading(0, 0)
        self._latest_at = -math.inf
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
        """Raise the time to that of a journal record, unless the vendor's `Date` has confirmed it."""
        self._read()
        self._time.not_before(time_ms, self._machine.boot_seconds())
        self._latest_at = -math.inf

    def witnessed(self, time_ms: int) -> None:
        """Note the time that the broker just gave a record; it replaces `Date` if the vendor sends none."""
        self._time.witnessed(time_ms, self._machine.boot_seconds())

    def _read(self) -> TrustedReading:
        boot_seconds = self._machine.boot_seconds()
        if boot_seconds - self._latest_at < SAME_SECONDS:
            return self._latest
        wall_ms = self._machine.wall_ms()
        self._latest, event = self._time.read(wall_ms, boot_seconds)
        self._latest_at = boot_seconds
        if event is not None:
            self._on_event(event, (wall_ms - self._latest.now_ms) / 1000)
        return self._latest
