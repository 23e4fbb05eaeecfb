"""Vendor time: ask the vendor for the time while it is needed and no other call provides it.

It is needed before the first `Date`, without which nothing expires, and while the wall clock disagrees with
our trusted time.
"""

from collections.abc import Callable

from service.clock import Clock
from service.core.time.trusted_time import STEP_SECONDS
from service.core.time.vendor_clock import VendorClock
from service.pipeline.guards.call_limiter import CallKind, CallLimiter
from service.provider.api import NO_SLOT, Provider

ASK_SECONDS = 30.0
"""Ask after this long without an answer: a clock step is adopted once two answers a minute apart agree."""
CHECK_SECONDS = 1.0
"""How often the need is checked: far below `ASK_SECONDS`, and as often as loops report that they run."""


async def ask(
    provider: Provider, limiter: CallLimiter, clock: Clock, vendor: VendorClock, on_tick: Callable[[], None]
) -> None:
    """Ask in slots of list calls until cancelled; only the time of the answer is used."""
    asked_boot: float | None = None
    while True:
        on_tick()
        now = clock.boot_seconds()
        observed = [at for at in (asked_boot, vendor.observed_boot) if at is not None]
        is_quiet = not observed or now - max(observed) >= ASK_SECONDS
        is_due = is_quiet and _is_wanted(clock)
        wait_seconds = limiter.wait_seconds(CallKind.LIST) if is_due else CHECK_SECONDS
        if wait_seconds <= 0:
            with limiter.begin(CallKind.LIST) as call:
                answer = await provider.list_tasks(1, call.depart)
            asked_boot = asked_boot if answer is NO_SLOT else now
            wait_seconds = CHECK_SECONDS
        await clock.sleep(min(CHECK_SECONDS, wait_seconds))


def _is_wanted(clock: Clock) -> bool:
    is_near = abs(clock.wall_ms() - clock.now_ms()) < 1000 * STEP_SECONDS
    return clock.confirmed_ms() == 0 or not is_near
