"""Calls of one kind within our share of the account's quota: each call waits for its own slot."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.core.provider.answers import ProviderError
from service.pipeline.guards.call_limiter import CHECK_SECONDS, SHORTEST_WAIT_SECONDS, CallKind, CallLimiter
from service.provider.api import NO_SLOT, Permit

T = TypeVar("T")
LONGEST_WAIT_SECONDS = 30.0
"""A call without a slot for this long is given up, and the caller tries again."""


class LimitedCalls:
    """Makes calls of one kind, each with the permit of one slot."""

    def __init__(self, limiter: CallLimiter, kind: CallKind) -> None:
        self._limiter = limiter
        self._kind = kind

    async def make(
        self,
        ask: Callable[[Permit], Awaitable[T | ProviderError]],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> T | ProviderError:
        """Make one call in a slot of ours; `NO_SLOT` if there is none in time, or it is wanted no more."""
        clock = self._limiter.clock
        latest = clock.boot_seconds() + LONGEST_WAIT_SECONDS
        while is_wanted() and clock.boot_seconds() < latest:
            wait_seconds = self._limiter.wait_seconds(self._kind)
            if wait_seconds > 0:
                # Another caller may take the slot meanwhile: look again.
                await clock.sleep(min(CHECK_SECONDS, max(SHORTEST_WAIT_SECONDS, wait_seconds)))
                continue
            with self._limiter.begin(self._kind) as call:
                answer = await ask(call.depart)
            if isinstance(answer, ProviderError) and answer.is_throttled:
                self._limiter.penalise(self._kind)
            if answer is not NO_SLOT:
                return answer
        return NO_SLOT
