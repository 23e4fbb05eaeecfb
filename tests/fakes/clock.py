"""Time for tests: an event loop on which waiting costs nothing, and the service's clock on it.

The pipeline waits through `Clock.sleep` and through asyncio's own timeouts alike, so it is the loop's time
that is made: where nothing is ready to run, it leaps to the next timer. The order of things is that of a
real loop, and a test of an hour takes a millisecond.
"""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from dataclasses import dataclass, field
from typing import TypeVar, TypeVarTuple

BEGIN_MS = 1_760_000_000_000
BEGIN_BOOT_SECONDS = 5_000.0
LONGEST_TEST_SECONDS = 6 * 3600.0
"""A test that waits for what never comes fails when this much of the loop's time is over."""
THREAD_SECONDS = 30.0
"""How long a thread, a signal or a socket is really waited for."""
MOMENT_SECONDS = 1e-6

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class StuckError(RuntimeError):
    """The test waits for something that can never come."""


class _Selector(selectors.DefaultSelector):
    """Asks once what is ready; where nothing is, time leaps instead of passing."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0
        self.is_woken = False
        """Whether a thread or a signal has ever called the loop, or may."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or (timeout > 0 and self.threads):
            ready = super().select(THREAD_SECONDS)
            if not ready:
                raise StuckError("nothing will ever happen any more")
            return ready
        # To ask the system at each turn would take a tenth of a long test.
        ready = super().select(0) if self.is_woken or len(self.get_map()) > 1 else []
        if not ready:
            self.now += timeout
        if self.now > LONGEST_TEST_SECONDS:
            self.now = 0.0  # the loop must still end the test's tasks
            raise StuckError(f"what the test waits for did not come in {LONGEST_TEST_SECONDS} s")
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time leaps. While a thread works, time stands still."""

    def __init__(self) -> None:
        self._leaping = _Selector()
        super().__init__(self._leaping)

    def time(self) -> float:
        """The loop's own time, from zero."""
        return self._leaping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], R], *args: *Ts
    ) -> asyncio.Future[R]:
        """As ever, but no time passes until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._leaping.threads += 1
        future.add_done_callback(self._thread_is_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """As ever, without a bound: from Python 3.12 on there is one, and its time would leap."""
        await super().shutdown_default_executor()

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As ever."""
        self._leaping.is_woken = True
        return super().call_soon_threadsafe(callback, *args, context=context)

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """As ever."""
        self._leaping.is_woken = True
        super().add_signal_handler(sig, callback, *args)

    def _thread_is_done(self, _future: asyncio.Future[R]) -> None:
        self._leaping.threads -= 1


@dataclass
class FakeClock:
    """The service's clock, on a leaping loop; elsewhere it stands still until it is moved.

    `draws` come first, then `draw_always`.
    """

    draws: deque[float] = field(default_factory=deque)
    draw_always: float = 0.5
    wall_ahead_seconds: float = 0.0
    suspended_seconds: float = 0.0

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
        """The wall clock."""
        return BEGIN_MS + round(1000 * (_elapsed() + self.suspended_seconds + self.wall_ahead_seconds))

    def boot_seconds(self) -> float:
        """The boot clock."""
        return BEGIN_BOOT_SECONDS + _elapsed() + self.suspended_seconds

    def draw(self) -> float:
        """The next scripted number."""
        return self.draws.popleft() if self.draws else self.draw_always

    async def sleep(self, seconds: float) -> None:
        """Let the loop's time pass."""
        await asyncio.sleep(seconds)

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall_ahead_seconds += seconds

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: both clocks go on, the loop's time does not."""
        self.suspended_seconds += seconds


def _elapsed() -> float:
    loop = asyncio._get_running_loop()
    return loop.time() if isinstance(loop, LeapingLoop) else 0.0


async def settle() -> None:
    """Let everything run that can run without time passing."""
    await asyncio.sleep(MOMENT_SECONDS)
