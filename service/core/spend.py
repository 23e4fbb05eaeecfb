"""What a day has cost, in seconds of audio, and whether more may be spent.

A shard counts its own jobs, when their ending is decided, by the UTC day. The markers in its journal say the
same after a restart and to its next owner, so what the owners have spent together stays known.
"""

from collections.abc import Iterable
from dataclasses import dataclass

DAY_MS = 86_400_000
SPEND_LIMIT = "spend_limit"
"""The code of the hold that the limit begins; the others are the provider's."""


@dataclass(slots=True)
class DaySpend:
    """Billed seconds of the last day that anything was billed on."""

    day: int = 0
    seconds: int = 0

    def add(self, finished_ms: int, billed_seconds: int | None) -> None:
        """A job ended; what belongs to an earlier day is passed over."""
        day = finished_ms // DAY_MS
        if day > self.day:
            self.day, self.seconds = day, 0
        if day == self.day:
            self.seconds += billed_seconds or 0

    def on(self, now_ms: int) -> int:
        """The seconds billed on the day of `now_ms`."""
        return self.seconds if now_ms // DAY_MS == self.day else 0


@dataclass(frozen=True, slots=True)
class SpendRules:
    """The limit over all replicas, None for none, and the number of shards there are."""

    seconds_per_day: int | None = None
    shards: int = 1


def is_spent(spends: Iterable[DaySpend], rules: SpendRules, now_ms: int) -> bool:
    """Whether shards have used up their part of the day; without a shard nothing can be submitted anyway."""
    if rules.seconds_per_day is None:
        return False
    ours = list(spends)
    spent_seconds = sum(spend.on(now_ms) for spend in ours)
    return bool(ours) and spent_seconds >= rules.seconds_per_day * len(ours) / rules.shards
