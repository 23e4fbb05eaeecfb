"""What slots are for: the account as it fares with a token bucket in each process."""

import pytest

from service.core.limits.slot_share import Instant
from service.core.limits.time_slots import Grid
from tests.unit.core.limits.slot_world import Limiter, Member, SlotWorld


class TokenBucket:
    """A process's share of three quarters of the quota, with a bucket of one call."""

    def __init__(self, member: Member, grid: Grid) -> None:
        self._member = member
        self._quota = 0.75 * grid.most
        self._tokens = 1.0
        self._at = 0.0

    @property
    def _rate(self) -> float:
        share = self._member.share
        return self._quota * len(share.served) / share.partitions if share.partitions else 0.0

    def opens_at(self, now: Instant) -> float:
        """When there is a token."""
        self._tokens = min(1.0, self._tokens + self._rate * max(0.0, now.boot_seconds - self._at))
        self._at = now.boot_seconds
        return now.boot_seconds + (1 - self._tokens) / self._rate if self._rate else float("inf")

    def take(self, now: Instant) -> bool:
        """Take it."""
        is_there = self.opens_at(now) <= now.boot_seconds + 1e-9
        self._tokens -= is_there
        return is_there


def bucket_of(member: Member, grid: Grid) -> Limiter:
    return TokenBucket(member, grid)


@pytest.mark.parametrize("replicas", [12, 48])
def test_token_buckets_of_many_replicas_exceed_the_quota(replicas: int) -> None:
    """The world that shows that slots keep the quota must show that something does not."""
    world = SlotWorld(1, make=bucket_of)
    world.start(replicas)
    world.run(30)
    assert world.worst_over()
