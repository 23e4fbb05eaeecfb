"""The spending of a UTC day, in seconds of audio and at the set prices, and whether more may be spent.

A shard counts its own jobs when their ending is decided. The sum has its own journal record, so a shard's
total survives a change of owner and does not depend on the de-duplication window. A writer without
transactions writes the sum after the records it counts: a crash between the two loses one batch of it.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from service.frozen import dataclass

DAY_MS = 86_400_000
SPEND_LIMIT = "spend_limit"
"""The code of the hold that the limit causes; other holds have provider codes."""


class SpendLimit(StrEnum):
    """The quantity that is limited per day."""

    SECONDS = "seconds"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class DaySpend:
    """The last day with spending: billed seconds, and the cost of seconds and tokens."""

    day: int = 0
    seconds: int = 0
    cost: float = 0.0

    def count(self, now_ms: int, billed_seconds: int | None, cost: float = 0.0) -> "DaySpend":
        """Add what was billed now.

        If the clock is behind the last day, it counts on that day.
        """
        day = max(now_ms // DAY_MS, self.day)
        seconds, earlier = (self.seconds, self.cost) if day == self.day else (0, 0.0)
        return DaySpend(day, seconds + (billed_seconds or 0), earlier + cost)

    def not_after(self, now_ms: int) -> "DaySpend":
        """Limit the day to that of `now_ms`: after a clock that was ahead, counting must go on."""
        return self if self.day <= now_ms // DAY_MS else replace(self, day=now_ms // DAY_MS)

    def on(self, now_ms: int) -> int:
        """The seconds billed on the day of `now_ms`.

        A clock behind the last day does not lift a limit.
        """
        return self.seconds if now_ms // DAY_MS <= self.day else 0

    def cost_on(self, now_ms: int) -> float:
        """The cost billed on the day of `now_ms`, at the prices in force at the time of billing."""
        return self.cost if now_ms // DAY_MS <= self.day else 0.0


@dataclass(frozen=True, slots=True)
class SpendRules:
    """The limits over all replicas; None: no limit."""

    seconds_per_day: int | None = None
    cost_per_day: float | None = None


def limits_reached(
    spends: Iterable[DaySpend], rules: SpendRules, shards: int, now_ms: int
) -> list[SpendLimit]:
    """The limits of the day of which these shards have used up their part; `shards` is the number of all.

    Without shards of ours no limit is reached: nothing can be submitted anyway.
    """
    if rules.seconds_per_day is rules.cost_per_day is None:
        return []
    ours = list(spends)
    part = len(ours) / max(1, shards)
    limited = (
        (SpendLimit.SECONDS, sum(spend.on(now_ms) for spend in ours), rules.seconds_per_day),
        (SpendLimit.COST, math.fsum(spend.cost_on(now_ms) for spend in ours), rules.cost_per_day),
    )
    return [each for each, spent, limit in limited if ours and _is_over(spent, limit, part)]


def _is_over(spent: float, limit: float | None, part: float) -> bool:
    return limit is not None and spent >= limit * part
