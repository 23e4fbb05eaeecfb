"""The partitions that the group has assigned to this process: take over, serve, suspend, resume, close.

A failed takeover is retried with a growing delay; the partition's state says why it failed. A shard that is
fenced while the group still counts us as its owner is taken over again.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from service.core.job.request_record import Record
from service.core.limits.backoff import Backoff
from service.core.shard.batches import Change, Committed
from service.errors import ClusterError, NotAMember, RestoreError
from service.kafka.group.consumer import RequestConsumer
from service.kafka.journal.takeover import BeforeReading
from service.pipeline.assignment.assigned_partition import (
    ANSWER_SECONDS,
    ENDING_SECONDS,
    REVOCATION_SECONDS,
    AssignedPartition,
    PartitionState,
    begin,
    close_runner,
    drain_all,
    is_small,
    open_runner,
    suspend,
)
from service.pipeline.assignment.dependencies import AssignmentDeps
from service.pipeline.assignment.garbage_collection import GarbageCollector
from service.pipeline.assignment.restore_turns import LARGE_RECORDS, RestoreTurns
from service.pipeline.shard.observer import ShardChange
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageName

RETAKE = Backoff(first_seconds=0.5, longest_seconds=30.0)
"""The wait before a shard that could not be taken over is tried again: its requests wait as long."""
RESUME_SECONDS = 10.0
"""Bound for proving that a suspended shard is still ours; after that it is taken over again."""
RESUME_BELOW = 0.8
"""A full shard accepts requests again below this part of its limit: each pause drops prefetched records."""


@dataclass(slots=True)
class Assignment:
    """The shards that this member owns; the group consumer reports partitions to it."""

    deps: AssignmentDeps
    delivery: RequestConsumer | None = None
    """Set once, before the consumer starts: the consumer and this class refer to each other."""
    partitions: dict[int, AssignedPartition] = field(default_factory=dict)
    assignments: int = 0
    """The number of assignments so far; zero until the group has made the first."""
    suspended: dict[int, AssignedPartition] = field(default_factory=dict)
    """Partitions that the last rebalance revoked; the next assignment resumes or closes them."""
    collector: GarbageCollector = field(default_factory=GarbageCollector)
    turns: RestoreTurns = field(default_factory=RestoreTurns)
    losses: list[str] = field(default_factory=list)
    """Why we have no client in the group, each reason once; empty while we have one."""
    is_leaving: bool = False
    """Whether the process is shutting down: a rebalance then starts nothing."""

    def open_shards(self) -> list[ShardRunner]:
        """The shards that are being served."""
        return [
            each.runner
            for each in self.partitions.values()
            if each.runner is not None and each.runner.is_open
        ]

    def assigned(self, partitions: Collection[int]) -> None:
        """Resume suspended partitions, take over the others, close those that are gone.

        A partition that was ours and was never revoked is closed, and taken over again if assigned.
        """
        self.assignments += 1
        self.deps.observer.rebalanced()
        if self.losses:
            self.losses.clear()
            self.deps.observer.group_regained()
        suspended, self.suspended = self.suspended, {}
        self._stop_calls(self.partitions)
        mine = [] if self.is_leaving else partitions
        back = {each: suspended.pop(each) for each in mine if each in suspended and suspended[each].is_served}
        for gone in (*self.partitions.values(), *suspended.values()):
            gone.close()
        others = [each for each in mine if each not in back]
        room = max(0, self.deps.max_shards - len(back))
        self.partitions = back | {each: self._begin(each) for each in others[:room]}
        self.partitions |= {each: self._leave_out(each) for each in others[room:]}
        for partition, resumed in back.items():
            self.deps.spawn(self._resume(partition, resumed), name=f"resume {partition}")

    def _leave_out(self, partition: int) -> AssignedPartition:
        """Refuse the partition: its records wait in Kafka until the group has more members."""
        detail = f"this process serves {self.deps.max_shards} shards already: add members to the group"
        self.deps.observer.shard(ShardChange.REFUSED, partition, detail)
        return AssignedPartition(PartitionState.REFUSED, detail)

    def _begin(self, partition: int) -> AssignedPartition:
        """Start a takeover of the partition."""
        assigned = AssignedPartition()
        assigned.task = self.deps.spawn(self._serve(partition, assigned), name=f"shard {partition}")
        return assigned

    async def revoked(self, partitions: Collection[int]) -> None:
        """Suspend the partitions: start no intent, and write everything known within the bound.

        Every rebalance revokes all partitions, and returns all or some of them, so calls in flight go on.
        Takeovers in progress are cancelled.
        """
        self._stop_calls(partitions)
        leaving = {each: self.partitions.pop(each) for each in partitions if each in self.partitions}
        self.suspended |= {each: assigned for each, assigned in leaving.items() if assigned.is_served}
        ending = [assigned for assigned in leaving.values() if not assigned.is_served]
        for assigned in ending:
            assigned.close()
        runners = [each.runner for each in leaving.values() if each.runner]
        await suspend(runners, REVOCATION_SECONDS, ANSWER_SECONDS, self.deps.limiter.may_release)
        tasks = [assigned.task for assigned in ending if assigned.task]
        if tasks:
            await asyncio.wait(tasks, timeout=ENDING_SECONDS)

    async def drain(self, bound_seconds: float, answer_seconds: float) -> None:
        """Drain for shutdown: take nothing over any more, and let served shards finish writing."""
        self.is_leaving = True
        self._stop_calls(self.partitions)
        assigned = [*self.partitions.values(), *self.suspended.values()]
        await drain_all(assigned, bound_seconds, answer_seconds, self.deps.limiter.may_release)

    def deliver(self, partition: int, records: list[Record]) -> None:
        """Pass records to their shard.

        Those of a closed shard are dropped, and its next owner reads them.
        """
        runner = self._runner(partition)
        for record in records if runner is not None and runner.takes_work else ():
            assert runner is not None
            if not self.deps.accept.accept(runner, record):
                self._deliver_again(runner)
                return

    def _deliver_again(self, runner: ShardRunner) -> None:
        """Read a record that was not accepted again, once it may be tried."""
        assert self.delivery is not None
        self.delivery.stop_delivery(runner.partition)
        name = f"deliver again {runner.partition}"
        self.deps.spawn(self._release_later(runner), name=name)

    async def _release_later(self, runner: ShardRunner) -> None:
        assert self.delivery is not None
        while (wait_seconds := self.deps.accept.wait_seconds(runner)) > 0:
            await self.deps.runner.clock.sleep(wait_seconds)
        if self._runner(runner.partition) is runner and runner.takes_work:
            self.delivery.deliver_from(runner.partition, runner.state.cursor.next_offset)

    def cursor_invalid(self, partition: int) -> None:
        """Take the shard over again: a takeover decides where requests continue and counts lost ones."""
        runner = self._runner(partition)
        if runner is not None:
            self._stop_calls([partition])
            self.deps.spawn(close_runner(runner, self.deps.limiter.may_release), name=f"retire {partition}")

    def has_room(self, partition: int) -> bool:
        """Whether the shard is below its fair share of the limits, with hysteresis."""
        assigned, runner = self.partitions.get(partition), self._runner(partition)
        if assigned is None or runner is None or runner.is_restoring:
            return False
        if self.deps.runner.breaker.is_stopped(StageName.ACCEPT):
            return False
        part = max(1, self.deps.open_jobs // len(self.partitions))
        limit = RESUME_BELOW if assigned.is_full else 1.0
        assigned.is_full = len(runner.state.jobs) >= part * limit or runner.fill >= limit
        return not assigned.is_full

    def durable_offsets(self) -> Mapping[int, int]:
        """The next request offset of each shard according to its journal."""
        return {runner.partition: runner.durable_cursor.next_offset for runner in self.open_shards()}

    def duplicate_member(self, sentence: str) -> None:
        """Report that a process which started after us uses our name in the group."""
        self.deps.observer.duplicate_member(sentence)

    @property
    def group_lost(self) -> str | None:
        """The latest reason why we have no client in the group; None while we have one."""
        return self.losses[-1] if self.losses else None

    def lost(self, sentence: str) -> None:
        """Report, once for each reason, that we have no client in the group."""
        if sentence in self.losses:
            self.losses.remove(sentence)
        else:
            self.deps.observer.group_lost(sentence)
        self.losses.append(sentence)

    def _runner(self, partition: int) -> ShardRunner | None:
        assigned = self.partitions.get(partition)
        return assigned.runner if assigned and assigned.runner and assigned.runner.is_open else None

    async def _serve(self, partition: int, assigned: AssignedPartition) -> None:
        """Take the shard over and serve it.

        Repeat after every failure until lost, suspended or leaving.
        """
        clock, attempt = self.deps.runner.clock, 0
        while True:
            attempt += 1
            try:
                change = await self._take(partition, assigned)
                taken_at = clock.boot_seconds()
                serving = self._run(partition, assigned, change)
                del change  # else it keeps up to a hundred thousand jobs in memory
                await serving
                # A shard that is fenced repeatedly is retaken ever more slowly, like a refused one.
                attempt = attempt if clock.boot_seconds() - taken_at < RETAKE.longest_seconds else 1
            except (RestoreError, ClusterError) as error:
                assigned.state, assigned.detail = PartitionState.REFUSED, str(error)
                self.deps.observer.shard(ShardChange.REFUSED, partition, str(error))
            is_over = assigned.state is PartitionState.LOST or self.suspended.get(partition) is assigned
            if is_over or self.is_leaving:
                return
            await clock.sleep(RETAKE.wait_ms(attempt, clock.draw()) / 1000)

    async def _wait_for_turn(
        self, before_reading: BeforeReading, partition: int, offset: int, records: int
    ) -> None:
        """Wait before a large restore, and prove again after it that the partition is ours."""
        await before_reading(records)
        assert self.delivery is not None
        if records > LARGE_RECORDS and not await self.delivery.prove_membership(partition, offset):
            raise NotAMember("the group has given the partition to another member while its restore waited")

    async def _take(self, partition: int, assigned: AssignedPartition) -> Change:
        assert self.delivery is not None
        begun_at = self.deps.runner.clock.boot_seconds()
        group_offset = await self.delivery.group_offset(partition)
        if not await self.delivery.prove_membership(partition, group_offset or 0):
            # A member that wakes up after its session expired must not fence the rightful owner.
            assigned.state = PartitionState.LOST
            self.deps.observer.shard(ShardChange.LOST, partition)
            return Change()
        async with self.turns.turn() as before_reading:
            with self.collector.paused():
                before = partial(self._wait_for_turn, before_reading, partition, group_offset or 0)
                taken = await self.deps.journal.take_over(partition, group_offset, before)
                claimed_at = self.deps.runner.clock.boot_seconds()
                if taken.lost_requests:
                    self.deps.observer.requests_lost(partition, taken.lost_requests)
                self.deps.runner.clock.not_before(taken.restore.latest_ms)
                if taken.restore.broker_ms is not None:
                    self.deps.runner.clock.witnessed(taken.restore.broker_ms)
                is_large = not is_small(taken.restore)
                assigned.runner, change = await open_runner(
                    self.deps, partition, taken, self._is_owner, self._fenced
                )
                if is_large:
                    self.collector.forget()
        assigned.state, assigned.detail = PartitionState.READY, ""
        self.deps.limiter.taken(partition, taken.predecessor, claimed_at)
        self.deps.observer.shard(ShardChange.TAKEN, partition)
        self._served(ShardChange.TAKEN, begun_at)
        return change

    async def _resume(self, partition: int, assigned: AssignedPartition) -> None:
        """Resume if one more commit proves that nobody else claimed the shard; else take it over again.

        The proof is valid for this assignment only: another member may claim the shard during the next
        rebalance. A shard that is being drained may have written already that nobody calls in its slots.
        """
        runner, assignment = assigned.runner, self.assignments
        begun_at = self.deps.runner.clock.boot_seconds()
        is_ours = runner is not None and await self._is_still_ours(runner)
        is_old = self.assignments != assignment or self.partitions.get(partition) is not assigned
        if self.is_leaving or is_old:
            return  # A later assignment decides, or none.
        if runner is None or not (is_ours and runner.is_open) or runner.is_draining:
            assigned.close()
            self.partitions[partition] = self._begin(partition)
            return
        runner.resume()
        self.deps.limiter.resumed(partition)
        assert self.delivery is not None
        self.deps.observer.shard(ShardChange.RESUMED, partition)
        self._served(ShardChange.RESUMED, begun_at)
        self.delivery.deliver_from(partition, runner.state.cursor.next_offset)

    def _served(self, change: ShardChange, begun_at: float) -> None:
        self.deps.observer.served(change, self.deps.runner.clock.boot_seconds() - begun_at)

    async def _is_still_ours(self, runner: ShardRunner) -> bool:
        try:
            async with asyncio.timeout(RESUME_SECONDS):
                await runner.wait_until_written()
                proof = await runner.prove()
                return isinstance(proof, Committed) and await self.deps.journal.tail.proves(
                    runner.partition, proof.journal_offset
                )
        except TimeoutError:
            return False

    async def _is_owner(self, runner: ShardRunner) -> bool:
        assert self.delivery is not None
        return await self.delivery.prove_membership(runner.partition, runner.durable_cursor.next_offset)

    def _stop_calls(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.deps.limiter.stopped(partition)

    def _fenced(self, runner: ShardRunner) -> None:
        if runner.is_open:
            self.deps.observer.shard(ShardChange.FENCED, runner.partition)
            self._stop_calls([runner.partition])
            runner.close()

    async def _run(self, partition: int, assigned: AssignedPartition, change: Change) -> None:
        """Serve the shard until it is closed or this task is cancelled."""
        runner = assigned.runner
        if runner is None:
            return
        assert self.delivery is not None
        try:
            # Begin only now: the shard is among the open ones, so its share of budgets and limits counts.
            await begin(runner, change)
            del change
            if runner.takes_work:
                self.delivery.deliver_from(partition, runner.state.cursor.next_offset)
            await runner.run_until_closed()
        finally:
            runner.close()
            runner.drop_state()
            assigned.runner = None
            if self.partitions.get(partition, assigned) is assigned:
                self._stop_calls([partition])
                self.deps.journal.tail.unfollow(partition)
            await runner.writer.close()
            self.deps.observer.shard(ShardChange.CLOSED, partition)
        self.delivery.stop_delivery(partition)
        assigned.state = PartitionState.RESTORING
