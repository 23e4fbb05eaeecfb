"""How many calls of one kind this process may make now.

A token bucket. The provider counts sliding seconds, so what the bucket holds comes on top of the rate: the
burst is what the account's quota leaves free beside the share. A throttling answer halves the rate; it
recovers evenly up to the share.
"""

from dataclasses import dataclass

PENALTY_FACTOR = 0.5
"""What is left of the rate after a throttling answer."""
LOWEST_PART = 0.05
"""The rate never falls below this part of the share, so that a probe always gets through."""
RECOVERY_SECONDS = 60.0
"""How long the rate takes from zero back to the full share."""


@dataclass(slots=True)
class Budget:
    """One account's budget for one kind of call; `now` is any monotonic clock in seconds."""

    share_per_second: float
    now: float
    burst_seconds: float = 1.0
    """How many seconds' worth the bucket holds; one call at least, while there is a share."""
    _rate: float = -1.0
    _tokens: float = -1.0

    def __post_init__(self) -> None:
        self._rate = self.share_per_second
        self._tokens = self._capacity()

    @property
    def rate_per_second(self) -> float:
        """The rate in force, at most the share."""
        return self._rate

    def try_take(self, now: float) -> bool:
        """Take one call if there is one."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait_seconds(self, now: float) -> float:
        """How long until `try_take` can succeed; infinite while the share is zero."""
        self._refill(now)
        if self._tokens >= 1.0:
            return 0.0
        if self._rate <= 0.0:
            return float("inf")
        return (1.0 - self._tokens) / self._rate

    def penalise(self, now: float) -> None:
        """The provider throttled: halve the rate and spend what is saved."""
        self._refill(now)
        self._rate = max(self.share_per_second * LOWEST_PART, self._rate * PENALTY_FACTOR)
        self._tokens = 0.0

    def set_share(self, share_per_second: float, now: float) -> None:
        """Change the share, as at a rebalance; a rate under penalty keeps its proportion."""
        self._refill(now)
        proportion = self._rate / self.share_per_second if self.share_per_second > 0 else 1.0
        self.share_per_second = share_per_second
        self._rate = share_per_second * proportion
        self._tokens = min(self._tokens, self._capacity())

    def _capacity(self) -> float:
        return max(1.0, self.share_per_second * self.burst_seconds) if self.share_per_second > 0 else 0.0

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self.now)
        self.now = max(self.now, now)
        self._tokens = min(self._capacity(), self._tokens + elapsed * self._rate)
        recovered = self.share_per_second * elapsed / RECOVERY_SECONDS
        self._rate = min(self.share_per_second, self._rate + recovered)
