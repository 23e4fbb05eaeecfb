"""The group consumer: nothing before its release, nothing after its revocation, nothing lost in between."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

import pytest
from aiokafka import TopicPartition

from service.clock import SystemClock
from service.errors import ClusterError, ConfigError
from service.kafka.admin.inspection import Inspection
from service.kafka.client import lifecycle
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.group_leave import leave_group
from service.kafka.client.lifecycle import member_id_of
from service.kafka.group import consumer
from service.kafka.group.consumer import GroupConfig, RequestConsumer
from service.kafka.group.duplicate_members import DuplicateMembers, NameHolder
from tests.brokers import TopicNames, create_topics
from tests.contract.cluster import (
    FETCH_WAIT_MS,
    BreakableEmbedded,
    breakable_embedded,
    connections_to,
    eventually,
    new_tasks,
    publish,
)
from tests.fakes.owner import FakeOwner

FAR_SECONDS = 30.0
SHORT_SECONDS = 0.3
LONG_SESSION_MS = 120_000
"""Far longer than a test waits: nothing that happens can be the end of a session."""
PARTITIONS = 4


class QuickClock(SystemClock):
    """A clock that waits a tenth of the time: for the pauses between two tries."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


@dataclass
class Member:
    """One member of the group, running."""

    owner: FakeOwner
    requests: RequestConsumer
    running: "asyncio.Task[None]"

    async def owns(self, count: int) -> None:
        """Wait until it owns so many partitions."""
        await eventually(lambda: len(self.owner.partitions) == count, FAR_SECONDS)

    def release_all(self, offset: int = 0) -> None:
        for partition in self.owner.partitions:
            self.requests.deliver_from(partition, offset)

    async def leave(self, *, is_final: bool = False) -> str | None:
        self.running.cancel()
        await asyncio.wait({self.running}, timeout=FAR_SECONDS)
        return await self.requests.stop(is_final=is_final)


class Join(Protocol):
    async def __call__(self, *, owner: FakeOwner | None = ..., instance_id: str | None = ...) -> Member: ...


@dataclass
class Group:
    """A topic of four partitions, and members that join its group; all leave at the end."""

    bootstrap: str
    topic: str
    session_timeout_ms: int
    request_timeout_ms: int = 40_000
    members: list[Member] = field(default_factory=list)

    async def join(self, owner: FakeOwner | None = None, instance_id: str | None = None) -> Member:
        owner = owner or FakeOwner()
        cluster = ClusterConfig(self.bootstrap, request_timeout_ms=self.request_timeout_ms)
        config = GroupConfig(
            self.topic, f"group-{self.topic}", instance_id, self.session_timeout_ms, FETCH_WAIT_MS
        )
        requests = RequestConsumer(cluster, config, owner, QuickClock(), owner)
        await requests.start()
        member = Member(owner, requests, asyncio.create_task(requests.run(lambda: None)))
        self.members.append(member)
        return member

    async def publish(self, count: int, partition: int = 0) -> None:
        await publish(self.bootstrap, self.topic, *[b"v%d" % n for n in range(count)], partition=partition)

    async def end(self) -> None:
        await asyncio.gather(*(member.leave() for member in self.members))


@pytest.fixture
async def group(bootstrap: str, topic_names: TopicNames, session_timeout_ms: int) -> AsyncIterator[Group]:
    (topic,) = topic_names("requests")
    await create_topics(bootstrap, {topic: PARTITIONS})
    made = Group(bootstrap, topic, session_timeout_ms)
    yield made
    await made.end()


@pytest.fixture
def embedded() -> Iterator[BreakableEmbedded]:
    with breakable_embedded() as broker:
        yield broker
        broker.thaw()


@pytest.fixture
async def fragile(embedded: BreakableEmbedded, topic_names: TopicNames) -> AsyncIterator[Group]:
    """A group on a broker that will break."""
    (topic,) = topic_names("requests")
    await create_topics(embedded.bootstrap, {topic: PARTITIONS})
    made = Group(embedded.bootstrap, topic, session_timeout_ms=2_000, request_timeout_ms=2_000)
    yield made
    await made.end()


# -- one member -----------------------------------------------------------------------------------------


async def test_nothing_is_delivered_before_the_release_and_then_all_from_the_given_offset(
    group: Group,
) -> None:
    """Wherever the group's own offset may be."""
    await group.publish(5)
    member = await group.join()
    # A join may take as long as the other members please, and SIGTERM must be heard meanwhile.
    assert member.owner.assignments == []
    await member.owns(PARTITIONS)
    assert await member.requests.prove_membership(0, 4)
    await asyncio.sleep(SHORT_SECONDS)
    assert member.owner.delivered == []
    member.requests.deliver_from(0, 2)
    await eventually(lambda: member.owner.offsets(0) == [2, 3, 4])
    first = member.owner.delivered[0]
    assert (first.key, first.value, first.position.topic) == (b"k", b"v2", group.topic)
    member.requests.stop_delivery(0)
    await group.publish(2)
    await asyncio.sleep(SHORT_SECONDS)
    assert member.owner.offsets(0) == [2, 3, 4]


async def test_durable_offsets_are_committed_when_they_have_moved(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For lag tools alone."""
    member = await group.join()
    await member.owns(PARTITIONS)
    sent: list[dict[TopicPartition, int]] = []
    commit = member.requests._consumer.commit

    async def counted(offsets: dict[TopicPartition, int]) -> None:
        sent.append(offsets)
        await commit(offsets)

    monkeypatch.setattr(member.requests._consumer, "commit", counted)
    assert await member.requests.group_offset(2) is None
    member.owner.durable = {2: 7, PARTITIONS + 1: 9}
    await eventually(lambda: bool(sent))  # the loop does it, once a second
    member.owner.durable = {2: 8, PARTITIONS + 1: 9}
    await member.requests.commit_last()
    assert await member.requests.commit()
    assert await member.requests.group_offset(2) == 8
    assert sent == [{TopicPartition(group.topic, 2): offset} for offset in (7, 8)]
    assert not await member.requests.prove_membership(PARTITIONS + 1, 0)


@pytest.mark.parametrize(
    "part", ["_coordinator._coordination_task", "_fetcher._fetch_task", "_client._sync_task"]
)
async def test_a_client_that_has_died_is_replaced_and_nothing_is_lost(group: Group, part: str) -> None:
    """aiokafka's tasks end of errors that it did not expect, as while a cluster starts again."""
    member = await group.join()
    await member.owns(PARTITIONS)
    member.release_all()
    await group.publish(2)
    await eventually(lambda: member.owner.offsets(0) == [0, 1])
    attrgetter(part)(member.requests._consumer).cancel()
    await eventually(lambda: len(member.owner.assignments) == 2)
    assert member.owner.events[-1] == "assigned"
    assert "revoked" in member.owner.events
    member.release_all(2)
    await group.publish(1)
    await eventually(lambda: member.owner.offsets(0) == [0, 1, 2])


# -- two members ----------------------------------------------------------------------------------------


async def test_partitions_move_only_when_their_owner_has_handed_them_over(group: Group) -> None:
    first = await group.join()
    await first.owns(PARTITIONS)
    first.release_all()
    await group.publish(1)
    await eventually(lambda: first.owner.offsets(0) == [0])
    first.owner.may_leave.clear()
    second = await group.join()
    async with asyncio.timeout(FAR_SECONDS):
        await first.owner.revoking.wait()
    for partition in range(PARTITIONS):
        await group.publish(3, partition)
    await asyncio.sleep(SHORT_SECONDS)
    assert second.owner.partitions == set()
    assert first.owner.events[-1] == "revoking"  # nothing was delivered since
    first.owner.may_leave.set()
    await eventually(lambda: len(first.owner.partitions) == len(second.owner.partitions) == 2, FAR_SECONDS)
    assert first.owner.partitions | second.owner.partitions == set(range(PARTITIONS))
    delivered = len(first.owner.delivered)
    await asyncio.sleep(SHORT_SECONDS)
    assert len(first.owner.delivered) == delivered  # what comes back is to be released anew
    for member in (first, second):
        member.release_all()
    both = (first.owner, second.owner)
    await eventually(lambda: all(len(o.offsets(p)) >= 3 for o in both for p in o.partitions))
    await second.leave()
    await first.owns(PARTITIONS)


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])  # the embedded one does not know static members
async def test_a_static_member_that_does_not_return_leaves_at_once(group: Group) -> None:
    """Its session would keep its partitions for minutes."""
    group.session_timeout_ms = LONG_SESSION_MS
    goes, stays = await group.join(instance_id="a.scribe-0"), await group.join(instance_id="b.scribe-0")
    await goes.owns(PARTITIONS // 2)
    await stays.owns(PARTITIONS // 2)
    assert await goes.leave(is_final=True) is None
    await stays.owns(PARTITIONS)


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
async def test_a_static_member_that_returns_keeps_its_place_in_the_group(group: Group) -> None:
    group.session_timeout_ms = LONG_SESSION_MS
    goes, stays = await group.join(instance_id="scribe-0"), await group.join(instance_id="scribe-1")
    await goes.owns(PARTITIONS // 2)
    await stays.owns(PARTITIONS // 2)
    mine, events = set(goes.owner.partitions), list(stays.owner.events)
    await goes.leave()
    again = await group.join(instance_id="scribe-0")
    await again.owns(PARTITIONS // 2)
    assert again.owner.partitions == mine
    assert stays.owner.events == events


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
async def test_who_has_taken_a_name_is_not_taken_out_by_the_former_holder(group: Group) -> None:
    """The new process has a member id of its own, and is served on."""
    old = await group.join(instance_id="scribe-0")
    await old.owns(PARTITIONS)
    member_id = member_id_of(old.requests._consumer)
    old.requests.release_name()
    new = await group.join(instance_id="scribe-0")
    await new.owns(PARTITIONS)
    assert await old.leave(is_final=True) is None
    await leave_group(ClusterConfig(group.bootstrap), f"group-{group.topic}", member_id, "scribe-0")
    assert await new.requests.prove_membership(0, 0)
    assert len(new.owner.assignments) == 1


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
@pytest.mark.parametrize("names", [(None, None), ("scribe-1", "scribe-2")])
async def test_members_that_leave_together_leave_at_once(
    group: Group, names: tuple[str | None, str | None]
) -> None:
    """The first one's leave makes the second join again: its client is closed in the middle of that."""
    group.session_timeout_ms = LONG_SESSION_MS
    stays, first, second = [await group.join(instance_id=name) for name in ("scribe-0", *names)]
    await eventually(
        lambda: all(len(m.owner.partitions) in (1, 2) for m in (stays, first, second)), FAR_SECONDS
    )
    stays.owner.may_leave.clear()  # so that the rebalance cannot end
    assert await first.leave(is_final=True) is None
    async with asyncio.timeout(FAR_SECONDS):
        await stays.owner.revoking.wait()
        await eventually(lambda: second.owner.events[-1] == "revoked", FAR_SECONDS)
    member_id = member_id_of(second.requests._consumer)
    assert await second.leave(is_final=True) is None
    async with Inspection(ClusterConfig(group.bootstrap)) as inspection:
        members = (await inspection.group(f"group-{group.topic}")).members
    assert len(members) == 1
    assert member_id not in {each.member_id for each in members}
    stays.owner.may_leave.set()
    await stays.owns(PARTITIONS)


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
async def test_a_static_member_that_leaves_does_not_take_its_name_back(group: Group) -> None:
    """While it drains, the next process is a member already: they would drive each other out."""
    old = await group.join(instance_id="scribe-0")
    await old.owns(PARTITIONS)
    old.requests.release_name()
    new = await group.join(instance_id="scribe-0")
    await new.owns(PARTITIONS)
    await eventually(lambda: old.owner.events[-1] == "revoked")
    for _ in range(20):  # aiokafka joins again within a tenth of a second
        await asyncio.sleep(SHORT_SECONDS / 3)
        assert await new.requests.prove_membership(0, 0)
    assert len(new.owner.assignments) == 1
    assert len(old.owner.assignments) == 1


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
@pytest.mark.parametrize("asking_seconds", [0, 3 * SHORT_SECONDS])
async def test_of_two_members_of_one_name_only_the_later_ends(
    group: Group, monkeypatch: pytest.MonkeyPatch, asking_seconds: float
) -> None:
    """However long the group takes to say who has the name: records are polled for meanwhile."""
    holders = DuplicateMembers._holders

    async def slow(duplicates: DuplicateMembers) -> list[NameHolder]:
        await asyncio.sleep(asking_seconds)
        return await holders(duplicates)

    monkeypatch.setattr(DuplicateMembers, "_holders", slow)
    earlier = await group.join(instance_id="scribe-0")
    await earlier.owns(PARTITIONS)
    later = await group.join(instance_id="scribe-0")
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError, match="SCRIBE_KAFKA__GROUP_INSTANCE_ID=scribe-0"):
            await later.running
    await later.requests.stop()
    await earlier.owns(PARTITIONS)
    assert not earlier.running.done()


async def test_a_removed_members_commit_is_refused(kafka_bootstrap: str, topic_names: TopicNames) -> None:
    """Its heart stops, as in a long freeze, and another one takes all."""
    (topic,) = topic_names("requests")
    await create_topics(kafka_bootstrap, {topic: PARTITIONS})
    shortest_ms = 6_000 if os.environ.get("TEST_KAFKA") else 1_500  # ours allows less than Kafka's default
    group = Group(kafka_bootstrap, topic, session_timeout_ms=shortest_ms)
    first = await group.join()
    await first.owns(PARTITIONS)
    first.requests._consumer._coordinator._heartbeat_task.cancel()
    assert await first.requests.prove_membership(0, 0)
    second = await group.join()
    await second.owns(PARTITIONS)
    assert not await first.requests.prove_membership(0, 0)
    await group.end()


# -- a cluster that is away -----------------------------------------------------------------------------


async def test_against_nothing_the_start_says_what_to_check() -> None:
    config = GroupConfig("t", "g", None, 6_000, FETCH_WAIT_MS)
    requests = RequestConsumer(ClusterConfig("127.0.0.1:1"), config, FakeOwner(), SystemClock(), FakeOwner())
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
            await requests.start()
    assert new_tasks(before) == []


async def test_against_a_frozen_broker_the_start_is_bounded(embedded: BreakableEmbedded) -> None:
    embedded.freeze()
    cluster = ClusterConfig(",".join(4 * [embedded.bootstrap]), request_timeout_ms=300)
    config = GroupConfig("t", "g", None, 6_000, FETCH_WAIT_MS)
    requests = RequestConsumer(cluster, config, FakeOwner(), SystemClock(), FakeOwner())
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError, match=r"does not answer \(no answer in time"):
            await requests.start()
    assert new_tasks(before) == []


@pytest.mark.parametrize("when", ["before the first assignment", "when it owns partitions"])
async def test_a_stop_while_the_broker_is_frozen_is_bounded_and_leaves_nothing(
    fragile: Group, embedded: BreakableEmbedded, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.5)
    fragile.request_timeout_ms = 40_000
    before = asyncio.all_tasks()
    member = await fragile.join()
    if when == "when it owns partitions":
        await member.owns(PARTITIONS)
    embedded.freeze()
    async with asyncio.timeout(FAR_SECONDS):
        await member.leave()
    assert new_tasks(before) == []
    assert connections_to(embedded.bootstrap) == 0


async def test_a_frozen_broker_is_waited_for_with_every_call_bounded_and_nothing_is_lost(
    fragile: Group, embedded: BreakableEmbedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "COMMIT_BOUND_SECONDS", 0.2)
    member = await fragile.join()
    await member.owns(PARTITIONS)
    member.release_all()
    await fragile.publish(2)
    await eventually(lambda: member.owner.offsets(0) == [0, 1])
    member.owner.durable = {0: 2}
    embedded.freeze()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ClusterError, match="no answer in time"):
            await member.requests.group_offset(0)
        with pytest.raises(ClusterError, match="no answer in time"):
            await member.requests.prove_membership(0, 0)
        await member.requests.commit_last()
    await asyncio.sleep(1.5)  # with that, longer than requests may take
    assert not member.running.done()
    embedded.thaw()
    await fragile.publish(2)
    await eventually(lambda: member.owner.partitions == set(range(PARTITIONS)), FAR_SECONDS)
    member.release_all(2)
    await eventually(lambda: member.owner.offsets(0)[-2:] == [2, 3], FAR_SECONDS)


async def test_a_commit_that_is_given_up_is_no_noise_later(
    fragile: Group, embedded: BreakableEmbedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka shields its commits from us, and asyncio complains about those that nobody looks at."""
    monkeypatch.setattr(consumer, "COMMIT_BOUND_SECONDS", 0.2)
    member = await fragile.join()
    await member.owns(PARTITIONS)
    embedded.freeze()
    with pytest.raises(ClusterError):
        await member.requests.prove_membership(0, 1)
    commits = [task for task in asyncio.all_tasks() if "_do_commit_offsets" in repr(task)]
    assert commits
    # asyncio's own mark; it goes in the turn after the end.
    await eventually(lambda: all(task.done() and not task._log_traceback for task in commits))


async def test_a_broker_that_is_started_again_is_joined_again(
    fragile: Group, embedded: BreakableEmbedded
) -> None:
    member = await fragile.join()
    await member.owns(PARTITIONS)
    member.release_all()
    embedded.kill()
    await asyncio.sleep(SHORT_SECONDS)
    assert not member.running.done()
    embedded.restart()
    await create_topics(embedded.bootstrap, {fragile.topic: PARTITIONS})
    await eventually(lambda: len(member.owner.assignments) == 2, FAR_SECONDS)
    member.release_all()
    await fragile.publish(2)
    await eventually(lambda: member.owner.offsets(0) == [0, 1], FAR_SECONDS)
