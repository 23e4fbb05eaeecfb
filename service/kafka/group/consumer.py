"""The group consumer of the request topic: assignments, and the records of ready partitions.

A partition is paused from its assignment until its shard is restored (`deliver_from`), and whenever its shard
has no room. `getmany` is called all the while, or the group would consider this member dead.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from service.clock import Clock
from service.errors import ClusterError, ClusterUnavailable, ConfigError, NotAMember
from service.frozen import dataclass
from service.kafka.client.clients import KafkaConsumer, RebalanceListener, TopicPartition, group_consumer
from service.kafka.client.cluster import ClusterConfig, reaching
from service.kafka.client.error_translation import kept, translated
from service.kafka.client.group_leave import leave_group
from service.kafka.client.lifecycle import (
    abort_rebalance_wait,
    close_consumer,
    has_died,
    member_id_of,
    retrieve_commit_errors,
    start,
)
from service.kafka.group.assignor import counting_assignor
from service.kafka.group.duplicate_members import DuplicateMembers
from service.kafka.group.partition_owner import Membership, PartitionOwner
from service.kafka.group.record_fetcher import RETRY_SECONDS, RecordFetcher

REBALANCE_TIMEOUT_MS = 25_000
"""A member that has not joined again within this after a rebalance began is removed. So it is longer than all
that `PartitionOwner.revoked` may wait for (the bounds in `pipeline.assignment.assigned_partition`), and
shorter than the request timeout, which bounds JoinGroup. test_cluster.py adds them up."""
HEARTBEAT_MS = 1_000
"""The longest time until a member hears of a rebalance: so long its start waits for those who must rejoin."""
COMMIT_EVERY_SECONDS = 1.0
"""How often offsets are committed for tools that show the group's lag; the journal holds the cursor."""
PROVE_EVERY_SECONDS = 3.0
"""Three commits may be lost before the proof of our membership expires (`core.limits.slot_share`)."""
COMMIT_BOUND_SECONDS = 10.0
"""A commit that is answered later proves nothing any more (`core.limits.slot_share.PROOF_SECONDS`)."""


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """The group, its topic, and this member's settings in it."""

    topic: str
    group_id: str
    instance_id: str | None
    session_timeout_ms: int
    fetch_max_wait_ms: int


class RequestConsumer:
    """One member of the group; it replaces its aiokafka client when that stops working."""

    def __init__(
        self,
        cluster: ClusterConfig,
        group: GroupConfig,
        owner: PartitionOwner,
        clock: Clock,
        membership: Membership,
    ) -> None:
        self._cluster = cluster
        self._group = group
        self._owner = owner
        self._clock = clock
        self._membership = membership
        self._proved_at = -PROVE_EVERY_SECONDS
        self._counted: int | None = None
        """The leader's partition count for the coming assignment."""
        self._committed: dict[TopicPartition, int] = {}
        self._committed_at = 0.0
        self._failure: Exception | None = None
        """The error that kept partitions from being assigned, revoked or started properly."""
        self._assigned: frozenset[int] = frozenset()
        self._is_leaving = False
        self._duplicates = (
            DuplicateMembers(cluster, group.group_id, group.instance_id, clock, owner.duplicate_member)
            if group.instance_id
            else None
        )
        self._consumer, self._fetcher = self._new_client()

    async def start(self) -> None:
        """Connect and begin to join the group.

        Raises `ConfigError` if the cluster does not accept us.

        Returns before the first assignment: a join lasts as long as the group's other members take.
        """
        try:
            async with reaching(self._cluster):
                await start(self._consumer.start(), self._cluster.bound_seconds)
                listener = RebalanceListener(self._on_assigned, self._on_revoked)
                self._consumer.subscribe([self._group.topic], listener=listener)
        except ConfigError:
            await close_consumer(self._consumer)
            raise

    def release_name(self) -> None:
        """Let another process take a static member's name: the next one starts while this one drains."""
        self._is_leaving = True

    async def stop(self, *, is_final: bool = False) -> str | None:
        """Leave the group; a static member does so only if it will not return, else it goes quiet.

        `revoked` is not called: drain first. Returns why a member that wanted to leave is still in the group
        as far as we know; it is then replaced when its session ends.
        """
        member_id, name = member_id_of(self._consumer), self._group.instance_id
        await close_consumer(self._consumer)
        # A client that is closed in the middle of a join keeps its id, and the group its member.
        wants_to_leave = is_final if name else bool(member_id_of(self._consumer))
        if not (member_id and wants_to_leave):
            return None
        try:
            await leave_group(self._cluster, self._group.group_id, member_id, name)
        except ClusterError as error:
            return str(error)
        return None

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Poll until cancelled; while the cluster is unreachable, retry.

        Raises `ConfigError` if joining the group is not permitted or a process that started before us uses
        our name. Also raises the owner's own errors about partitions: otherwise this member would own them
        and do nothing.
        """
        while True:
            on_tick()
            try:
                if self._failure is not None:
                    raise self._failure
                if has_died(self._consumer):
                    raise ClusterUnavailable("the group's consumer has stopped working")
                await self._fetcher.poll()
                await self._commit_sometimes()
            except ClusterError as error:
                self._owner.lost(str(error))
                await self._renew(on_tick)

    async def _renew(self, on_tick: Callable[[], None]) -> None:
        """Start a new client.

        Our partitions stay suspended until the group assigns them again.
        """
        await self._owner.revoked(self._assigned)
        await close_consumer(self._consumer)
        self._assigned, self._failure = frozenset(), None
        while True:
            on_tick()
            try:
                self._consumer, self._fetcher = self._new_client()
                return await self.start()
            except ConfigError as error:
                # It worked before: the cluster is unreachable, or no longer accepts us.
                self._owner.lost(str(error))
                await self._clock.sleep(RETRY_SECONDS)

    def _new_client(self) -> tuple[KafkaConsumer, RecordFetcher]:
        group = self._group
        consumer = group_consumer(
            self._cluster,
            group_id=group.group_id,
            group_instance_id=group.instance_id,
            partition_assignment_strategy=(counting_assignor(group.topic, self._stamp(), self._count),),
            session_timeout_ms=group.session_timeout_ms,
            heartbeat_interval_ms=min(max(100, group.session_timeout_ms // 10), HEARTBEAT_MS),
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=group.fetch_max_wait_ms,
        )
        return consumer, RecordFetcher(consumer, group.topic, self._owner, self._clock)

    def _stamp(self) -> bytes:
        return self._duplicates.stamp() if self._duplicates else b""

    def _count(self, partitions: int | None) -> None:
        self._counted = partitions

    def deliver_from(self, partition: int, offset: int) -> None:
        """Let the partition deliver from `offset` on; ignored if it is no longer ours."""
        with suppress(ClusterError), kept(self._fail):
            self._fetcher.deliver_from(partition, offset)

    def stop_delivery(self, partition: int) -> None:
        """Stop the partition's delivery until the next `deliver_from`."""
        with suppress(ClusterError), kept(self._fail):
            self._fetcher.stop_delivery(partition)

    async def read_to(self, partition: int) -> int | None:
        """The offset up to which a partition that delivers was read; None for others."""
        return await self._fetcher.read_to(partition)

    async def group_offset(self, partition: int) -> int | None:
        """The group's committed offset; None if there is none."""
        with translated():
            async with asyncio.timeout(COMMIT_BOUND_SECONDS):
                offset: int | None = await self._consumer.committed(self._topic_partition(partition))
                return offset

    async def prove_membership(self, partition: int, offset: int) -> bool:
        """Commit the offset; True if the group accepts it.

        It accepts commits of current members alone.
        """
        return await self._commit({self._topic_partition(partition): offset})

    async def commit_last(self) -> None:
        """Commit before leaving.

        If it fails, the next owner still has the journal's cursor.
        """
        try:
            await self.commit()
        except ClusterError:
            return

    async def commit(self) -> bool:
        """Commit the durable offsets to the group: for lag tools, never for a restore."""
        with translated():
            assigned = self._consumer.assignment()
        durable = {self._topic_partition(p): offset for p, offset in self._owner.durable_offsets().items()}
        ours = {each: offset for each, offset in durable.items() if each in assigned}
        is_due = self._clock.boot_seconds() - self._proved_at >= PROVE_EVERY_SECONDS
        offsets = {
            each: offset for each, offset in ours.items() if is_due or self._committed.get(each) != offset
        }
        accepted = await self._commit(offsets)
        if accepted:
            self._committed.update(offsets)
        return accepted

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        if not offsets:
            return True
        sent_at = self._clock.boot_seconds()
        try:
            with translated():
                async with asyncio.timeout(COMMIT_BOUND_SECONDS):
                    await self._consumer.commit(dict(offsets))
        except NotAMember:
            return False
        finally:
            retrieve_commit_errors()
        self._proved_at = sent_at
        self._membership.proved(sent_at)
        return True

    async def _commit_sometimes(self) -> None:
        now = self._clock.boot_seconds()
        if now - self._committed_at < COMMIT_EVERY_SECONDS:
            return
        self._committed_at = now
        try:
            await self.commit()
        except ClusterError:
            # Only lag tools need it; the next commit comes in a second.
            return

    def _topic_partition(self, partition: int) -> TopicPartition:
        return TopicPartition(self._group.topic, partition)

    def _on_assigned(self, assigned: Collection[TopicPartition]) -> None:
        with kept(self._fail):
            self._fetcher.begin(list(assigned))
            self._committed.clear()
            counted = self._counted or len(self._consumer.partitions_for_topic(self._group.topic) or ())
            self._membership.partitioned(counted)
            self._assigned = frozenset(each.partition for each in assigned)
            self._owner.assigned(sorted(self._assigned))

    async def _on_revoked(self, revoked: Collection[TopicPartition]) -> None:
        with kept(self._fail):
            self._fetcher.forget()
            self._assigned = frozenset()
            await self._owner.revoked([each.partition for each in revoked])
            duplicates = None if member_id_of(self._consumer) else self._duplicates
            if duplicates is not None and await self._may_keep_name(duplicates):
                # aiokafka would take the name back: block it here until `stop`.
                await asyncio.get_running_loop().create_future()

    async def _may_keep_name(self, duplicates: DuplicateMembers) -> bool:
        """Compare with the new holder of our name; return whether it may keep it.

        It may if we are leaving or started later; `run` then raises why.
        """
        if self._is_leaving:
            return True
        try:
            await duplicates.check_holder()
        except ConfigError as error:
            self._failure = error
            abort_rebalance_wait(self._consumer)
        return self._failure is not None

    def _fail(self, error: Exception) -> None:
        """Keep the error for `run` to raise."""
        self._failure = error
