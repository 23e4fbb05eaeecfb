"""Limit repeated submits in proportion to successful ones.

So retries do not overload a provider that fails.

This is a token bucket. A repeated submit costs a token and gets it back when it succeeds. Every success adds
part of a token, and time adds a few, so that some retries always get through. With a healthy provider the
budget rarely limits anything; with one that fails most of the time, retries go at the rate of time alone.
"""

from dataclasses import dataclass

CAPACITY = 20.0
"""Tokens of a full bucket: retries in a row without any success."""
TOKENS_PER_SUCCESS = 0.2
"""Tokens that a success adds."""
FLOOR_PER_SECOND = 0.1
"""Tokens that a second adds: one retry in ten seconds."""
COST = 1.0
"""Tokens that a repeated submit takes."""


@dataclass(slots=True)
class RetryBudget:
    """The budget for repeated submits; `now` is any monotonic clock in seconds."""

    now: float
    """When the last retry was paid; `tokens` are those of this time."""
    tokens: float = CAPACITY

    def left(self, now: float) -> float:
        """The tokens in the bucket, with what time has added since the last retry."""
        return min(CAPACITY, self.tokens + max(0.0, now - self.now) * FLOOR_PER_SECOND)

    def wait_seconds(self, now: float) -> float:
        """How long until `take` may be called."""
        return max(0.0, COST - self.left(now)) / FLOOR_PER_SECOND

    def take(self, now: float) -> float:
        """Pay for a retry; returns the tokens paid."""
        self.tokens = self.left(now) - COST
        self.now = max(self.now, now)
        return COST

    def refund(self, paid: float) -> None:
        """Give back the tokens of a retry that was not sent."""
        self._add(paid)

    def succeed(self, paid: float) -> None:
        """Note the success of a submit that `paid` these tokens, zero for a first attempt."""
        self._add(paid + TOKENS_PER_SUCCESS)

    def _add(self, tokens: float) -> None:
        self.tokens = min(CAPACITY, self.tokens + tokens)
