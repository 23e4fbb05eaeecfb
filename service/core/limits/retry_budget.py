"""How many submits may be repeated: as many as others succeed, so that a bad provider is not asked the more.

A token bucket. A repeated submit costs a token and gets it back when it succeeds; every success adds a part
of one, and time adds a few, so that something always gets through. A healthy provider hardly notices it; one
that fails most of the time meets repetitions at the rate that time alone allows.
"""

from dataclasses import dataclass

CAPACITY = 20.0
"""Repetitions that may be out without any success."""
SUCCESS_PART = 0.2
"""What a success adds."""
FLOOR_PER_SECOND = 0.1
"""What time adds: one probe in ten seconds."""
COST = 1.0


@dataclass(slots=True)
class RetryBudget:
    """The budget for repeated submits; `now` is any monotonic clock in seconds."""

    now: float
    tokens: float = CAPACITY

    def wait_seconds(self, now: float) -> float:
        """How long until `take` may be called."""
        self._refill(now)
        return max(0.0, COST - self.tokens) / FLOOR_PER_SECOND

    def take(self, now: float) -> float:
        """Pay for a repetition; returns what was paid."""
        self._refill(now)
        self.tokens -= COST
        return COST

    def refund(self, paid: float) -> None:
        """The repetition was not sent: it cost nothing."""
        self._add(paid)

    def succeed(self, paid: float) -> None:
        """A submit for which this was paid, or zero for a first one, has succeeded."""
        self._add(paid + SUCCESS_PART)

    def _refill(self, now: float) -> None:
        self._add(max(0.0, now - self.now) * FLOOR_PER_SECOND)
        self.now = max(self.now, now)

    def _add(self, tokens: float) -> None:
        self.tokens = min(CAPACITY, self.tokens + tokens)
