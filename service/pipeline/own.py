"""Own: take shards over when they are assigned, serve them, give them back when they are revoked.

A shard that cannot be taken over is tried again with a growing delay and says why meanwhile; one that is
fenced while the group still counts us as its owner is taken over again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from service.core.outcomes import OutcomeRules
from service.core.record import Record
from service.core.retry import Backoff
from service.core.shard import Shard, Window
from service.errors import ClusterError, RestoreError
from service.kafka.tail import Followed
from service.kafka.takeover import Taken
from service.kafka.writer import Writer
from service.pipeline.accept import AcceptStage
from service.pipeline.publish import PENDING_LIMIT, OwnedShard, Surroundings
from service.pipeline.submit import Spawn
from service.pipeline.tenancy import (
    ENDING_SECONDS,
    REVOCATION_SECONDS,
    Standing,
    Tenancy,
    come_to_rest,
    retire,
)

RETAKE = Backoff(first_seconds=0.5, longest_seconds=30.0)
RESUME_BELOW = 0.8
"""A full shard takes requests again below this part of its limit: pausing drops what was prefetched."""


class Delivery(Protocol):
    """What the shards ask of the group consumer."""

    def release(self, partition: int, offset: int) -> None:
        """Deliver the partition's records from `offset` on."""
        ...

    def withhold(self, partition: int) -> None:
        """Stop delivering until the next release."""
        ...

    async def group_offset(self, partition: int) -> int | None:
        """The group's committed offset."""
        ...

    async def is_member(self, partition: int, offset: int) -> bool:
        """Whether the group takes a commit from us."""
        ...


class Follower(Protocol):
    """What the shards ask of the journal's tail."""

    def follow(self, partition: int, followed: Followed) -> None:
        """Read the partition from `followed.position` on."""
        ...

    def leave(self, partition: int) -> None:
        """Read the partition no more."""
        ...


class ShardJournal(Protocol):
    """What the shards ask of the journal."""

    @property
    def tail(self) -> Follower:
        """Who reads the shards' own partitions back."""
        ...

    async def take(self, partition: int, group_offset: int | None) -> Taken:
        """Claim a partition and read it back; raises `RestoreError` or `ClusterError`."""
        ...

    def writer(self, partition: int, taken: Taken, is_owner: Callable[[], Awaitable[bool]]) -> Writer:
        """The writer of a shard that was taken over; `is_owner` asks the group."""
        ...


class Watcher(Protocol):
    """Who counts and logs what becomes of shards."""

    def shard(self, word: str, partition: int, detail: str = "") -> None:
        """A shard was taken, refused, fenced or closed."""
        ...

    def requests_lost(self, partition: int, count: int) -> None:
        """The request topic's retention removed requests that nobody had read."""
        ...


@dataclass(frozen=True, slots=True)
class Ownership:
    """What shards need to be served."""

    journal: ShardJournal
    accept: AcceptStage
    around: Surroundings
    spawn: Spawn
    watcher: Watcher
    window: Window
    outcomes: OutcomeRules
    open_jobs: int
    on_share: Callable[[int], None]
    """Told how many partitions are ours whenever that changes."""


@dataclass(slots=True)
class Shards:
    """The shards this member owns; the group consumer tells it about partitions."""

    need: Ownership
    delivery: Delivery | None = None
    """Set once, before the consumer starts: the consumer and this class know each other."""
    tenancies: dict[int, Tenancy] = field(default_factory=dict)
    assignments: int = 0
    """How many assignments there were; zero means that the group has not spoken yet."""
    is_leaving: bool = False
    """Whether the process is about to stop: a rebalance on the way out begins nothing."""

    def open_shards(self) -> list[OwnedShard]:
        """The shards that are being served."""
        return [t.shard for t in self.tenancies.values() if t.shard is not None and t.shard.is_open]

    def assigned(self, partitions: Collection[int]) -> None:
        """Begin to take each of them over; what was ours before and was never revoked is dropped."""
        self.assignments += 1
        for tenancy in self.tenancies.values():
            tenancy.end()
        self.tenancies = {} if self.is_leaving else {partition: Tenancy() for partition in partitions}
        for partition, tenancy in self.tenancies.items():
            tenancy.task = self.need.spawn(self._serve(partition, tenancy), name=f"shard {partition}")
        self.need.on_share(len(self.tenancies))

    async def revoked(self, partitions: Collection[int]) -> None:
        """Give them back: no new intent, answers on the wire awaited and written down, within the bound."""
        leaving = [self.tenancies.pop(partition) for partition in partitions if partition in self.tenancies]
        await come_to_rest(leaving, REVOCATION_SECONDS)
        for tenancy in leaving:
            tenancy.end()
        tasks = [tenancy.task for tenancy in leaving if tenancy.task]
        if tasks:
            await asyncio.wait(tasks, timeout=ENDING_SECONDS)

    async def leave(self, bound_seconds: float) -> None:
        """Come to rest for good: take nothing over any more, and let what is served finish its writing."""
        self.is_leaving = True
        await come_to_rest(list(self.tenancies.values()), bound_seconds)

    def deliver(self, partition: int, records: list[Record]) -> None:
        """Hand records to their shard; what comes for a shard that is gone will be read by its next owner."""
        shard = self._shard(partition)
        if shard is not None and shard.takes_work:
            self.need.accept.accept(shard, records)

    def displaced(self, partition: int) -> None:
        """Take the shard over again: that judges where requests go on, and counts what is lost."""
        shard = self._shard(partition)
        if shard is not None:
            self.need.spawn(retire(shard), name=f"retire {partition}")

    def has_room(self, partition: int) -> bool:
        """Whether the shard is below its fair part of the limits, with hysteresis."""
        tenancy, shard = self.tenancies.get(partition), self._shard(partition)
        if tenancy is None or shard is None:
            return False
        part = max(1, self.need.open_jobs // len(self.tenancies))
        edge = RESUME_BELOW if tenancy.is_full else 1.0
        tenancy.is_full = len(shard.state.jobs) >= part * edge or shard.pending_moves >= PENDING_LIMIT * edge
        return not tenancy.is_full

    def durable_offsets(self) -> Mapping[int, int]:
        """The next offset of each shard, as far as it is in the journal."""
        return {shard.partition: shard.durable_cursor.next_offset for shard in self.open_shards()}

    def _shard(self, partition: int) -> OwnedShard | None:
        tenancy = self.tenancies.get(partition)
        return tenancy.shard if tenancy and tenancy.shard and tenancy.shard.is_open else None

    async def _serve(self, partition: int, tenancy: Tenancy) -> None:
        """Take the shard over and serve it; again after every failure, until lost or cancelled."""
        around, attempt = self.need.around, 0
        while True:
            attempt += 1
            try:
                await self._take(partition, tenancy)
                taken_at = around.clock.boot_seconds()
                await self._run(partition, tenancy)
                # One that is fenced again and again is taken ever more slowly, as one that is refused.
                attempt = attempt if around.clock.boot_seconds() - taken_at < RETAKE.longest_seconds else 1
            except (RestoreError, ClusterError) as error:
                tenancy.standing, tenancy.detail = Standing.REFUSED, str(error)
                self.need.watcher.shard("refused", partition, str(error))
            if tenancy.standing is Standing.LOST:
                return
            await around.clock.sleep(RETAKE.wait_ms(attempt, around.clock.draw()) / 1000)

    async def _take(self, partition: int, tenancy: Tenancy) -> None:
        assert self.delivery is not None
        group_offset = await self.delivery.group_offset(partition)
        if not await self.delivery.is_member(partition, group_offset or 0):
            # A member that thawed after its session ended must not fence the rightful owner.
            tenancy.standing = Standing.LOST
            self.need.watcher.shard("lost", partition)
            return
        taken = await self.need.journal.take(partition, group_offset)
        if taken.lost_requests:
            self.need.watcher.requests_lost(partition, taken.lost_requests)
        tenancy.shard = self._open(partition, taken)
        tenancy.standing, tenancy.detail = Standing.READY, ""
        self.need.watcher.shard("taken", partition)
        self.delivery.release(partition, taken.cursor.next_offset)

    def _open(self, partition: int, taken: Taken) -> OwnedShard:
        state = Shard(partition, self.need.window, self.need.outcomes, taken.cursor)

        async def is_owner() -> bool:
            assert self.delivery is not None
            return await self.delivery.is_member(partition, shard.durable_cursor.next_offset)

        writer = self.need.journal.writer(partition, taken, is_owner)
        shard = OwnedShard(state, writer, taken.epoch, self.need.around)
        followed = Followed(
            taken.epoch,
            taken.claim_offset,
            lambda: self._fenced(shard),
            lambda key: shard.mend([key]) if shard.is_open else None,
        )
        self.need.journal.tail.follow(partition, followed)
        shard.put(state.load(taken.restore, shard.moment()))
        return shard

    def _fenced(self, shard: OwnedShard) -> None:
        if shard.is_open:
            self.need.watcher.shard("fenced", shard.partition)
            shard.close()

    async def _run(self, partition: int, tenancy: Tenancy) -> None:
        """Serve the shard until it is closed, or this task is cancelled."""
        shard = tenancy.shard
        if shard is None:
            return
        try:
            await shard.run_until_closed()
        finally:
            shard.close()
            tenancy.shard = None
            if self.tenancies.get(partition, tenancy) is tenancy:
                self.need.journal.tail.leave(partition)
            await shard.writer.close()
            self.need.watcher.shard("closed", partition)
        assert self.delivery is not None
        self.delivery.withhold(partition)
        tenancy.standing = Standing.RESTORING
