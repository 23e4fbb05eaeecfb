"""The ports that assigned partitions need: the group, the journal, its tail, the observer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from service.core.limits.price import Price
from service.core.limits.slot_share import Predecessor
from service.core.outcome.build import OutcomeRules
from service.core.shard.state import Window
from service.kafka.journal.tail import Followed
from service.kafka.journal.takeover import RestoredShard
from service.kafka.writing.at_least_once import Writer
from service.pipeline.accept import AcceptStage
from service.pipeline.shard.shard_runner import RunnerDeps
from service.pipeline.shard.spawn import Spawn


class Delivery(Protocol):
    """What the shards need from the group consumer."""

    def release(self, partition: int, offset: int) -> None:
        """Deliver the partition's records from `offset` on."""
        ...

    def withhold(self, partition: int) -> None:
        """Deliver nothing more of the partition until the next `release`, which may go back."""
        ...

    async def group_offset(self, partition: int) -> int | None:
        """The group's committed offset."""
        ...

    async def is_member(self, partition: int, offset: int) -> bool:
        """Whether the group accepts a commit from us."""
        ...


class Follower(Protocol):
    """What the shards need from the journal's tail."""

    def follow(self, partition: int, followed: Followed) -> None:
        """Read the partition from `followed.position` on."""
        ...

    def leave(self, partition: int) -> None:
        """Stop reading the partition."""
        ...

    async def proves(self, partition: int, offset: int) -> bool:
        """Wait until the partition is read past `offset`; False if a higher claim comes first."""
        ...


class ShardJournal(Protocol):
    """What the shards need from the journal."""

    @property
    def tail(self) -> Follower:
        """The reader of the shards' own journal partitions."""
        ...

    async def take(self, partition: int, group_offset: int | None) -> RestoredShard:
        """Claim a partition and read it back; raises `RestoreError` or `ClusterError`."""
        ...

    def writer(self, partition: int, taken: RestoredShard, is_owner: Callable[[], Awaitable[bool]]) -> Writer:
        """The writer of a shard that was taken over; `is_owner` asks the group."""
        ...


class ShardObserver(Protocol):
    """Counts and logs the life of shards."""

    def shard(self, change: str, partition: int, detail: str = "") -> None:
        """A shard was taken, resumed, refused, lost, fenced or closed."""
        ...

    def requests_lost(self, partition: int, count: int) -> None:
        """The request topic's retention removed requests before they were read."""
        ...

    def duplicate_member(self, detail: str) -> None:
        """Another process uses our name in the group."""
        ...

    def group_lost(self, detail: str) -> None:
        """We have no client in the group, for this reason."""
        ...

    def group_regained(self) -> None:
        """We have a client in the group again."""
        ...


class SlotUser(Protocol):
    """Makes calls to the provider in the slots of the served partitions."""

    def taken(self, partition: int, predecessor: Predecessor, claimed_at: float) -> None:
        """The partition was claimed then; `predecessor` is what its journal says of the last owner."""
        ...

    def resumed(self, partition: int) -> None:
        """The suspended partition is resumed; nobody else has claimed it meanwhile."""
        ...

    def stopped(self, partition: int) -> None:
        """No call may be sent in its slots any more."""
        ...

    def may_release(self, partition: int) -> bool:
        """Whether its journal may record that nobody calls in its slots."""
        ...


@dataclass(frozen=True, slots=True)
class AssignmentDeps:
    """What serving a shard needs."""

    journal: ShardJournal
    accept: AcceptStage
    runner: RunnerDeps
    spawn: Spawn
    observer: ShardObserver
    window: Window
    outcomes: OutcomeRules
    prices: Mapping[str, Price]
    files_per_task: int | None
    open_jobs: int
    max_shards: int
    limiter: SlotUser
