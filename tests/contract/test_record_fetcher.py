"""The record fetcher: partitions that deliver have no gap, whatever the client raises in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import CorruptRecordException

from service.clock import SystemClock
from service.kafka.group import record_fetcher as fetcher
from service.kafka.group.record_fetcher import RecordFetcher
from tests.brokers import TopicNames, admin, create_topics
from tests.contract.cluster import FETCH_WAIT_MS, eventually, publish, publish_unreadable
from tests.fakes.owner import FakeOwner

needs_java = pytest.mark.needs_java
SHORT_SECONDS = 0.12
"""Longer than two polls."""
PARTITIONS = 4


class QuickClock(SystemClock):
    """A clock that waits a tenth of the time: for the pauses between two tries."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


@dataclass
class Member:
    """A topic of four partitions, all assigned by hand, and a record fetcher that is polled."""

    bootstrap: str
    topic: str
    consumer: AIOKafkaConsumer
    fetcher: RecordFetcher
    receiver: FakeOwner

    def release_all(self) -> None:
        for partition in range(PARTITIONS):
            self.fetcher.deliver_from(partition, 0)

    async def publish(self, count: int, partition: int = 0) -> None:
        await publish(self.bootstrap, self.topic, *[b"v%d" % n for n in range(count)], partition=partition)


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "POLL_MS", 40)


@pytest.fixture
async def member(bootstrap: str, topic_names: TopicNames) -> AsyncIterator[Member]:
    (topic,) = topic_names("requests")
    await create_topics(bootstrap, {topic: PARTITIONS})
    async with a_member(bootstrap, topic) as made:
        yield made


@asynccontextmanager
async def a_member(bootstrap: str, topic: str) -> AsyncIterator[Member]:
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    ) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        receiver = FakeOwner(set(range(PARTITIONS)))
        polled = RecordFetcher(consumer, topic, receiver, QuickClock())
        polled.begin(partitions)

        async def poll() -> None:
            while True:
                await polled.poll()

        polling = asyncio.create_task(poll())
        yield Member(bootstrap, topic, consumer, polled, receiver)
        assert not polling.done(), polling
        polling.cancel()
        await asyncio.wait({polling})


async def test_a_stopped_partition_delivers_nothing_until_it_is_started_again(member: Member) -> None:
    member.release_all()
    await member.publish(2)
    await eventually(lambda: member.receiver.offsets(0) == [0, 1])
    member.fetcher.stop_delivery(0)
    await member.publish(2)
    await member.publish(1, partition=1)
    await eventually(lambda: member.receiver.offsets(1) == [0])
    await asyncio.sleep(SHORT_SECONDS)
    assert member.receiver.offsets(0) == [0, 1]
    member.fetcher.deliver_from(0, 1)
    await eventually(lambda: member.receiver.offsets(0) == [0, 1, 1, 2, 3])


async def test_room_does_not_open_a_partition_that_was_stopped_while_full(member: Member) -> None:
    member.release_all()
    member.receiver.full.add(0)
    await eventually(lambda: len(member.consumer.paused()) == 1)
    member.fetcher.stop_delivery(0)
    member.receiver.full.clear()
    await member.publish(2)
    await asyncio.sleep(SHORT_SECONDS)
    assert member.receiver.delivered == []
    assert member.consumer.paused() == {TopicPartition(member.topic, 0)}


async def test_a_partition_of_others_cannot_be_released(member: Member) -> None:
    member.fetcher.deliver_from(PARTITIONS + 1, 0)
    member.fetcher.stop_delivery(PARTITIONS + 1)
    member.fetcher.deliver_from(0, 0)
    await member.publish(1)
    await eventually(lambda: member.receiver.offsets(0) == [0])


async def test_without_room_delivery_waits_and_nothing_is_lost(member: Member) -> None:
    member.release_all()
    await member.publish(3)
    await eventually(lambda: member.receiver.offsets(0) == [0, 1, 2])
    member.receiver.full.add(0)
    await asyncio.sleep(SHORT_SECONDS)  # longer than a poll
    await member.publish(300)
    await member.publish(3, partition=1)
    await eventually(lambda: member.receiver.offsets(1) == [0, 1, 2])
    assert member.receiver.offsets(0) == [0, 1, 2]
    member.receiver.full.clear()
    await eventually(lambda: len(member.receiver.offsets(0)) == 303)
    assert member.receiver.offsets(0) == list(range(303))


async def test_no_more_records_of_a_poll_are_taken_than_there_is_room_for(member: Member) -> None:
    """Each record may open a hundred jobs: a poll's worth of them would pass any limit."""
    member.receiver.places = 3
    await member.publish(20)
    await member.publish(2, partition=1)
    member.release_all()
    await eventually(lambda: len(member.receiver.offsets(0)) >= 3 and len(member.receiver.offsets(1)) == 2)
    await asyncio.sleep(SHORT_SECONDS)
    assert member.receiver.offsets(0) == [0, 1, 2]
    member.receiver.places = None
    await eventually(lambda: len(member.receiver.offsets(0)) == 20)
    assert member.receiver.offsets(0) == list(range(20))


async def test_a_partition_that_was_stopped_while_full_is_paused_again_when_full(member: Member) -> None:
    member.receiver.full.add(0)
    member.fetcher.deliver_from(0, 0)
    await asyncio.sleep(SHORT_SECONDS)
    member.fetcher.stop_delivery(0)
    member.fetcher.deliver_from(0, 0)
    await asyncio.sleep(SHORT_SECONDS)
    await member.publish(3)
    await asyncio.sleep(SHORT_SECONDS)
    assert member.receiver.offsets(0) == []
    member.receiver.full.clear()
    await eventually(lambda: member.receiver.offsets(0) == [0, 1, 2])


async def test_a_record_that_the_client_cannot_read_is_delivered_as_damaged_and_the_next_goes_on(
    member: Member,
) -> None:
    await member.publish(2)
    await publish_unreadable(member.bootstrap, member.topic)
    await publish_unreadable(member.bootstrap, member.topic)
    await member.publish(2)
    await member.publish(3, partition=1)
    member.release_all()
    await eventually(lambda: len(member.receiver.delivered) == 9)
    assert member.receiver.offsets(0) == [0, 1, 2, 3, 4, 5]
    assert member.receiver.offsets(1) == [0, 1, 2]
    damaged = [record for record in member.receiver.delivered if record.damage]
    assert [(r.position.partition, r.position.offset, r.value) for r in damaged] == [
        (0, 2, None),
        (0, 3, None),
    ]
    assert damaged[0].damage == "the name of a header is not UTF-8"


@pytest.mark.parametrize(
    "error", [CorruptRecordException(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")]
)
async def test_a_poll_that_fails_after_it_took_records_loses_none(
    member: Member, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """aiokafka raises for one partition when it has taken records of others: their positions have moved."""
    poll = member.consumer.getmany
    failures = 0

    async def take_and_fail(*partitions: object, **options: object) -> object:
        nonlocal failures
        taken = await poll(*partitions, **options)
        if taken and failures < 2 and not partitions:
            failures += 1
            raise error
        return taken

    for partition in range(3):
        await member.publish(3, partition)
    monkeypatch.setattr(member.consumer, "getmany", take_and_fail)
    await asyncio.sleep(SHORT_SECONDS)  # the poll that was out comes back
    member.release_all()
    await eventually(lambda: len(member.receiver.delivered) == 9)
    assert failures == 2
    assert [member.receiver.offsets(partition) for partition in range(3)] == [[0, 1, 2]] * 3


async def test_one_partition_that_always_fails_does_not_stop_the_others(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = TopicPartition(member.topic, 1)
    poll = member.consumer.getmany

    async def fail_for_one(*partitions: object, **options: object) -> object:
        if bad in partitions or not partitions:
            raise CorruptRecordException
        return await poll(*partitions, **options)

    monkeypatch.setattr(member.consumer, "getmany", fail_for_one)
    member.release_all()
    await member.publish(2, 0)
    await member.publish(2, 2)
    await eventually(lambda: len(member.receiver.delivered) == 4)
    assert (member.receiver.offsets(0), member.receiver.offsets(2)) == ([0, 1], [0, 1])


@needs_java
async def test_records_that_retention_removes_meanwhile_are_noticed_and_not_skipped(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("requests")
    await create_topics(kafka_bootstrap, {topic: PARTITIONS})
    async with a_member(kafka_bootstrap, topic) as member:
        await member.publish(9)
        await member.publish(1, partition=1)
        async with admin(kafka_bootstrap) as client:
            await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(5)})
        receiver = member.receiver
        member.release_all()
        await eventually(lambda: bool(receiver.displacements and receiver.offsets(1)))
        assert member.receiver.offsets(0) == []
        member.fetcher.deliver_from(0, 5)
        await eventually(lambda: receiver.offsets(0) == [5, 6, 7, 8])
        assert member.receiver.displacements == [0]
