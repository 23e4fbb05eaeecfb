"""A member of the group: its shards, on a consumer and a journal that the test plays."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from service.core.job.request_record import Cursor, Record
from service.core.limits.slot_share import Predecessor
from service.core.outcome.build import OutcomeRules
from service.core.shard.state import Window
from service.errors import ClusterError, RestoreError
from service.kafka.group.consumer import RequestConsumer
from service.kafka.journal.tail import Followed, Tail
from service.kafka.journal.takeover import BeforeReading, RestoredShard
from service.kafka.writing.writer_port import Writer
from service.pipeline.assignment.assigned_partition import PartitionState
from service.pipeline.assignment.assignment import Assignment
from service.pipeline.assignment.dependencies import AssignmentDeps
from service.pipeline.guards.call_limiter import CallLimiter
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.spawn import Spawn
from tests.unit.pipeline.world import World

OPEN_JOBS = 40


@dataclass
class FakeDelivery(RequestConsumer):
    """The group consumer as the shards see it."""

    offsets: dict[int, int] = field(default_factory=dict)
    is_owner: bool = True
    provider_error: deque[ClusterError] = field(default_factory=deque)
    started: list[tuple[int, int]] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    proofs: list[tuple[int, int]] = field(default_factory=list)

    def deliver_from(self, partition: int, offset: int) -> None:
        self.started.append((partition, offset))

    def stop_delivery(self, partition: int) -> None:
        self.stopped.append(partition)

    async def group_offset(self, partition: int) -> int | None:
        await asyncio.sleep(0.01)
        return self.offsets.get(partition)

    async def prove_membership(self, partition: int, offset: int) -> bool:
        self.proofs.append((partition, offset))
        await asyncio.sleep(0.01)
        if self.provider_error:
            raise self.provider_error.popleft()
        return self.is_owner


@dataclass
class FakeTail(Tail):
    """The journal's tail: the test is the stranger."""

    followed: dict[int, Followed] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    says: bool = True
    guards: asyncio.Event = field(default_factory=asyncio.Event)
    """Proofs wait for this event; it is set at first."""

    def __post_init__(self) -> None:
        self.guards.set()

    def follow(self, partition: int, followed: Followed) -> None:
        self.followed[partition] = followed

    def unfollow(self, partition: int) -> None:
        self.followed.pop(partition, None)
        self.left.append(partition)

    async def proves(self, partition: int, offset: int) -> bool:
        await self.guards.wait()
        return self.says and partition in self.followed


@dataclass
class FakeJournal:
    """Take-overs of the journal in memory; `refusals` come first."""

    world: World
    tail: FakeTail = field(default_factory=FakeTail)
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    refusals: deque[RestoreError | ClusterError] = field(default_factory=deque)
    taken: list[tuple[int, float]] = field(default_factory=list)
    reading: list[int] = field(default_factory=list)
    """The partitions whose journal was read, or is being read."""
    records: int = 0
    """How long each journal is."""
    lost_requests: int = 0
    latest_ms: int = 0
    """The time of the journal's latest record."""
    broker_ms: int | None = None
    """The same, where the broker gave it."""
    asks_group: dict[int, Callable[[], Awaitable[bool]]] = field(default_factory=dict)

    def hang(self, partition: int) -> asyncio.Event:
        """Let take-overs of the partition wait for this event."""
        self.gates[partition] = asyncio.Event()
        return self.gates[partition]

    async def take_over(
        self, partition: int, group_offset: int | None, before_reading: BeforeReading
    ) -> RestoredShard:
        self.taken.append((partition, self.world.clock.boot_seconds()))
        await before_reading(self.records)
        self.reading.append(partition)
        if partition in self.gates:
            await self.gates[partition].wait()
        if self.refusals:
            raise self.refusals.popleft()
        restore = self.world.broker.restore(partition)
        restore.latest_ms, restore.broker_ms = self.latest_ms, self.broker_ms
        epoch = restore.epoch + 1
        claim_offset = len(self.world.broker.journal(partition))
        cursor = restore.cursor or Cursor(0)
        lost, predecessor = self.lost_requests, restore.predecessor
        return RestoredShard(restore, epoch, claim_offset, cursor, lost, self.world.broker, predecessor)

    def writer(self, partition: int, taken: RestoredShard, is_owner: Callable[[], Awaitable[bool]]) -> Writer:
        self.asks_group[partition] = is_owner
        return self.world.writer(partition, taken.epoch)


@dataclass
class FakeSlots(CallLimiter):
    """Writes down whose slots may be used."""

    served: dict[int, str] = field(default_factory=dict)
    """How each partition came to be served."""
    claimed: dict[int, float] = field(default_factory=dict)
    stops: list[int] = field(default_factory=list)
    is_sure: bool = True
    """Whether nobody before us calls any more."""

    def taken(self, partition: int, predecessor: Predecessor, claimed_at: float) -> None:
        self.served[partition] = predecessor
        self.claimed[partition] = claimed_at

    def resumed(self, partition: int) -> None:
        self.served[partition] = "resumed"

    def stopped(self, partition: int) -> None:
        self.served.pop(partition, None)
        self.stops.append(partition)

    def may_release(self, partition: int) -> bool:
        return self.is_sure


@dataclass
class Member:
    """A process's shards, and what surrounds them."""

    world: World
    delivery: FakeDelivery = field(default_factory=FakeDelivery)
    slots: FakeSlots = field(default_factory=FakeSlots)
    max_shards: int = 200
    spawn: Spawn | None = None
    """Who starts tasks; the world does unless told otherwise."""

    def __post_init__(self) -> None:
        self.journal = FakeJournal(self.world)
        world = self.world
        self.assignment = Assignment(
            AssignmentDeps(
                journal=self.journal,
                accept=world.accept,
                runner=world.runner_deps,
                spawn=self.spawn or world.spawn,
                observer=world.seen,
                window=Window(),
                outcomes=OutcomeRules(),
                prices=world.limits.prices,
                files_per_task=world.limits.files_per_task,
                open_jobs=OPEN_JOBS,
                max_shards=self.max_shards,
                limiter=self.slots,
            ),
            self.delivery,
        )

    async def own(self, *partitions: int) -> list[ShardRunner]:
        """Be assigned partitions, and have taken them over."""
        self.assignment.assigned(partitions)
        await self.world.clock.sleep(0.1)
        return self.assignment.open_shards()

    def shard(self, partition: int = 0) -> ShardRunner:
        found = self.assignment.partitions[partition].runner
        assert found is not None
        return found

    def state(self, partition: int = 0) -> PartitionState:
        return self.assignment.partitions[partition].state

    def deliver(self, partition: int, *requests: str) -> list[Record]:
        records = [self.world.record(partition, each) for each in requests]
        self.assignment.deliver(partition, records)
        return records

    def words(self, partition: int = 0) -> list[str]:
        """What became of a shard."""
        return [word for word, of in self.world.seen.shards if of == partition]
