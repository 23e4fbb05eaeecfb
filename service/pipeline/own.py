"""Own: take shards over when they are assigned, serve them, give them back when they are revoked.

A shard that cannot be taken over is tried again with a growing delay and says why meanwhile; one that is
fenced while the group still counts us as its owner is taken over again.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from service.core.batch import Committed
from service.core.record import Record
from service.core.retry import Backoff
from service.core.shard import Change, Shard
from service.errors import ClusterError, RestoreError
from service.kafka.tail import Followed
from service.kafka.takeover import Taken
from service.pipeline.garbage import GarbageCollector
from service.pipeline.ownership import Delivery, Ownership
from service.pipeline.publish import PENDING_LIMIT, OwnedShard
from service.pipeline.tenancy import (
    ANSWER_SECONDS,
    ENDING_SECONDS,
    INLINE_ENTRIES,
    REVOCATION_SECONDS,
    Standing,
    Tenancy,
    come_to_rest,
    go_on,
    load,
    retire,
    suspend,
)

RETAKE = Backoff(first_seconds=0.5, longest_seconds=30.0)
RESUME_SECONDS = 10.0
"""Within this bound a suspended shard shows that it is still ours; else it is taken over again."""
RESUME_BELOW = 0.8
"""A full shard takes requests again below this part of its limit: pausing drops what was prefetched."""


@dataclass(slots=True)
class Shards:
    """The shards this member owns; the group consumer tells it about partitions."""

    need: Ownership
    delivery: Delivery | None = None
    """Set once, before the consumer starts: the consumer and this class know each other."""
    tenancies: dict[int, Tenancy] = field(default_factory=dict)
    assignments: int = 0
    """How many assignments there were; zero means that the group has not spoken yet."""
    suspended: dict[int, Tenancy] = field(default_factory=dict)
    """What the last rebalance took away; the next assignment gives it back, or ends it."""
    collector: GarbageCollector = field(default_factory=GarbageCollector)
    losses: list[str] = field(default_factory=list)
    """Why the group has no client of ours, each reason once; empty while it has one."""
    is_leaving: bool = False
    """Whether the process is about to stop: a rebalance on the way out begins nothing."""

    def open_shards(self) -> list[OwnedShard]:
        """The shards that are being served."""
        return [t.shard for t in self.tenancies.values() if t.shard is not None and t.shard.is_open]

    def assigned(self, partitions: Collection[int]) -> None:
        """Go on with those that were only suspended, take the others over, end what is gone.

        What was ours before and was never revoked is dropped.
        """
        self.assignments += 1
        if self.losses:
            self.losses.clear()
            self.need.watcher.group_regained()
        suspended, self.suspended = self.suspended, {}
        mine = [] if self.is_leaving else partitions
        back = {each: suspended.pop(each) for each in mine if each in suspended and suspended[each].is_served}
        for tenancy in (*self.tenancies.values(), *suspended.values()):
            tenancy.end()
        others = [each for each in mine if each not in back]
        room = max(0, self.need.most_shards - len(back))
        self.tenancies = back | {each: self._begin(each) for each in others[:room]}
        self.tenancies |= {each: self._leave_out(each) for each in others[room:]}
        for partition, tenancy in back.items():
            self.need.spawn(self._resume(partition, tenancy), name=f"resume {partition}")
        self.need.on_share(len(self.tenancies))

    def _leave_out(self, partition: int) -> Tenancy:
        """Serve it not at all: it waits in Kafka until the group has more members."""
        detail = f"this process serves {self.need.most_shards} shards already: add members to the group"
        self.need.watcher.shard("refused", partition, detail)
        return Tenancy(Standing.REFUSED, detail)

    def _begin(self, partition: int) -> Tenancy:
        """Take the partition over from the top."""
        tenancy = Tenancy()
        tenancy.task = self.need.spawn(self._serve(partition, tenancy), name=f"shard {partition}")
        return tenancy

    async def revoked(self, partitions: Collection[int]) -> None:
        """Suspend them: no new intent, and everything written down that is known, within the bound.

        Every rebalance takes everything away and gives most of it back: calls on the wire go on. What was
        only being taken over is ended.
        """
        leaving = {each: self.tenancies.pop(each) for each in partitions if each in self.tenancies}
        self.suspended.update({each: tenancy for each, tenancy in leaving.items() if tenancy.is_served})
        ending = [tenancy for tenancy in leaving.values() if not tenancy.is_served]
        for tenancy in ending:
            tenancy.end()
        shards = [each.shard for each in leaving.values() if each.shard]
        await suspend(shards, REVOCATION_SECONDS, ANSWER_SECONDS)
        tasks = [tenancy.task for tenancy in ending if tenancy.task]
        if tasks:
            await asyncio.wait(tasks, timeout=ENDING_SECONDS)

    async def leave(self, bound_seconds: float, answer_seconds: float) -> None:
        """Come to rest for good: take nothing over any more, and let what is served finish its writing."""
        self.is_leaving = True
        tenancies = [*self.tenancies.values(), *self.suspended.values()]
        await come_to_rest(tenancies, bound_seconds, answer_seconds)

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

    def twin(self, sentence: str) -> None:
        """Say that a process which began after us has our name in the group."""
        self.need.watcher.twin(sentence)

    @property
    def group_lost(self) -> str | None:
        """Why the group has no client of ours, as last heard; None while it has one."""
        return self.losses[-1] if self.losses else None

    def lost(self, sentence: str) -> None:
        """Say, once for each reason, that the group has no client of ours."""
        if sentence in self.losses:
            self.losses.remove(sentence)
        else:
            self.need.watcher.group_lost(sentence)
        self.losses.append(sentence)

    def _shard(self, partition: int) -> OwnedShard | None:
        tenancy = self.tenancies.get(partition)
        return tenancy.shard if tenancy and tenancy.shard and tenancy.shard.is_open else None

    async def _serve(self, partition: int, tenancy: Tenancy) -> None:
        """Take the shard over and serve it; again after every failure, until lost or cancelled."""
        around, attempt = self.need.around, 0
        while True:
            attempt += 1
            try:
                change = await self._take(partition, tenancy)
                taken_at = around.clock.boot_seconds()
                await self._run(partition, tenancy, change)
                # One that is fenced again and again is taken ever more slowly, as one that is refused.
                attempt = attempt if around.clock.boot_seconds() - taken_at < RETAKE.longest_seconds else 1
            except (RestoreError, ClusterError) as error:
                tenancy.standing, tenancy.detail = Standing.REFUSED, str(error)
                self.need.watcher.shard("refused", partition, str(error))
            if tenancy.standing is Standing.LOST or self.suspended.get(partition) is tenancy:
                return
            await around.clock.sleep(RETAKE.wait_ms(attempt, around.clock.draw()) / 1000)

    async def _take(self, partition: int, tenancy: Tenancy) -> Change:
        assert self.delivery is not None
        group_offset = await self.delivery.group_offset(partition)
        if not await self.delivery.is_member(partition, group_offset or 0):
            # A member that thawed after its session ended must not fence the rightful owner.
            tenancy.standing = Standing.LOST
            self.need.watcher.shard("lost", partition)
            return Change()
        with self.collector.paused():
            taken = await self.need.journal.take(partition, group_offset)
            if taken.lost_requests:
                self.need.watcher.requests_lost(partition, taken.lost_requests)
            is_large = len(taken.restore.entries) > INLINE_ENTRIES
            tenancy.shard, change = await self._open(partition, taken)
            if is_large:
                self.collector.forget()
        tenancy.standing, tenancy.detail = Standing.READY, ""
        self.need.watcher.shard("taken", partition)
        self.delivery.release(partition, taken.cursor.next_offset)
        return change

    async def _resume(self, partition: int, tenancy: Tenancy) -> None:
        """Go on where the shard was suspended, if one more commit shows that nobody else had it meanwhile.

        If it does not, the partition is taken over from the top.
        """
        shard = tenancy.shard
        is_ours = shard is not None and await self._is_still_ours(shard)
        if self.tenancies.get(partition) is not tenancy:
            # Revoked once more meanwhile: the next assignment asks again.
            return
        if shard is None or not (is_ours and shard.is_open):
            tenancy.end()
            self.tenancies[partition] = self._begin(partition)
            return
        shard.resume()
        assert self.delivery is not None
        self.need.watcher.shard("resumed", partition)
        self.delivery.release(partition, shard.state.cursor.next_offset)

    async def _is_still_ours(self, shard: OwnedShard) -> bool:
        try:
            async with asyncio.timeout(RESUME_SECONDS):
                await shard.written()
                proof = await shard.prove()
                return isinstance(proof, Committed) and await self.need.journal.tail.proves(
                    shard.partition, proof.journal_offset
                )
        except TimeoutError:
            return False

    async def _open(self, partition: int, taken: Taken) -> tuple[OwnedShard, Change]:
        need = self.need
        state = Shard(partition, need.window, need.outcomes, taken.cursor, prices=need.prices)

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
        async with AsyncExitStack() as undo:
            undo.push_async_callback(writer.close)
            undo.callback(shard.close)
            change = await load(shard, taken.restore)
            undo.pop_all()
        self.need.journal.tail.follow(partition, followed)
        return shard, change

    def _fenced(self, shard: OwnedShard) -> None:
        if shard.is_open:
            self.need.watcher.shard("fenced", shard.partition)
            shard.close()

    async def _run(self, partition: int, tenancy: Tenancy, change: Change) -> None:
        """Serve the shard until it is closed, or this task is cancelled."""
        shard = tenancy.shard
        if shard is None:
            return
        try:
            # Only now, when the shard is one of the open ones: its share of budgets and limits counts.
            await go_on(shard, change)
            del change  # of a hundred thousand jobs, as long as the shard is served
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
