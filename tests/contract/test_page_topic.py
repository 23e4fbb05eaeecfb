"""The topic of shared pages: what one replica sends, all that read take; nothing of it holds anybody up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from aiokafka import AIOKafkaProducer

from service.clock import SystemClock
from service.kafka import page_topic
from service.kafka.admin.topics import PAGES_CONFIG
from service.kafka.client.cluster import ClusterConfig
from service.kafka.page_topic import QUEUED_PAGES, PageTopic
from tests.brokers import TopicNames, create_topics
from tests.contract.cluster import (
    FETCH_WAIT_MS,
    BreakableEmbedded,
    breakable_embedded,
    connections_to,
    eventually,
    new_tasks,
    publish,
    publish_unreadable,
    records_of,
)
from tests.fakes.page_topic import MemoryTopic

FAR_SECONDS = 30.0
PROBE = b"probe"


class Topic(Protocol):
    """What the real topic and the one in memory have in common."""

    def send(self, value: bytes) -> None: ...

    async def read(
        self,
        take: Callable[[bytes | None], Awaitable[None]],
        is_wanted: Callable[[], bool],
        on_tick: Callable[[], None],
    ) -> None: ...


@dataclass
class Replica:
    """One that sends and reads."""

    topic: Topic
    taken: list[bytes | None] = field(default_factory=list)
    ticks: int = 0
    is_wanted: bool = True
    has_heard: bool = False

    async def take(self, value: bytes | None) -> None:
        if value != PROBE:
            self.taken.append(value)
        self.ticks += 1
        self.has_heard = True

    def on_tick(self) -> None:
        self.ticks += 1

    def read(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.topic.read(self.take, lambda: self.is_wanted, self.on_tick))

    async def hears(self) -> None:
        """Return once it reads what is sent."""
        self.has_heard = False
        async with asyncio.timeout(FAR_SECONDS):
            while not self.has_heard:
                self.topic.send(PROBE)
                await asyncio.sleep(0.05)


async def carries(one: Replica, other: Replica) -> None:
    """The contract."""
    one.topic.send(b"before")
    await asyncio.sleep(0.3)
    loops = [one.read(), other.read()]
    try:
        await one.hears()
        await other.hears()
        values = [b"%d" % number for number in range(20)]
        for value in values[:10]:
            one.topic.send(value)
        await eventually(lambda: len(other.taken) == 10)
        for value in values[10:]:
            other.topic.send(value)
        # Each takes everything in order, its own too.
        await eventually(lambda: len(one.taken) == len(other.taken) == 20)
        assert (one.taken, other.taken) == (values, values)
        one.is_wanted = False
        await asyncio.sleep(1.5)
        other.topic.send(b"after")
        await eventually(lambda: other.taken[-1] == b"after")
        assert one.taken == values
        ticks = one.ticks
        await eventually(lambda: one.ticks > ticks)
    finally:
        for each in loops:
            each.cancel()
        await asyncio.wait(loops)


async def test_the_topic_in_memory_carries_pages() -> None:
    topic = MemoryTopic(SystemClock(), lambda: 0.01)
    await carries(Replica(topic), Replica(topic))


@dataclass
class World:
    """A topic on a broker, and what was reported of it."""

    bootstrap: str
    name: str
    reports: list[tuple[bool, str]] = field(default_factory=list)

    def report(self, works: bool, why: str) -> None:
        self.reports.append((works, why))

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[Replica]:
        cluster = ClusterConfig(self.bootstrap, request_timeout_ms=2_000)
        topic = PageTopic(
            cluster,
            self.name,
            FETCH_WAIT_MS,
            SystemClock(),
            lambda works, why: self.reports.append((works, why)),
        )
        replica = Replica(topic)
        writing = asyncio.create_task(topic.write(replica.on_tick))
        try:
            yield replica
        finally:
            writing.cancel()
            await asyncio.wait({writing})
            await topic.close()


@pytest.fixture
async def world(bootstrap: str, topic_names: TopicNames) -> World:
    (name,) = topic_names("pages")
    await create_topics(bootstrap, {name: 1}, PAGES_CONFIG)
    return World(bootstrap, name)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_topic, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(page_topic, "BOUND_SECONDS", 1.0)
    monkeypatch.setattr(page_topic, "IDLE_SECONDS", 0.1)


async def test_the_topic_carries_pages(world: World) -> None:
    before = asyncio.all_tasks()
    async with world.replica() as one, world.replica() as other:
        await carries(one, other)
    assert world.reports == []
    assert new_tasks(before) == []


async def test_nothing_connects_before_there_is_something_to_share(world: World) -> None:
    connected = connections_to(world.bootstrap)
    async with world.replica() as one:
        one.is_wanted = False
        reading = one.read()
        await eventually(lambda: one.ticks > 2)
        assert connections_to(world.bootstrap) == connected
        reading.cancel()
        await asyncio.wait({reading})


async def test_a_flood_is_skipped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_topic, "PERIOD_SECONDS", FAR_SECONDS / 10)
    monkeypatch.setattr(page_topic, "MOST_RECORDS", 20)
    async with world.replica() as one:
        reading = one.read()
        await one.hears()
        async with AIOKafkaProducer(bootstrap_servers=world.bootstrap) as producer:
            sent = [await producer.send(world.name, b"flood", partition=0) for _ in range(500)]
            await asyncio.gather(*sent)
        await one.hears()
        assert len(one.taken) <= 100
        reading.cancel()
        await asyncio.wait({reading})


@pytest.mark.usefixtures("_quick")
async def test_a_record_that_the_client_cannot_read_is_skipped(world: World) -> None:
    async with world.replica() as one:
        reading = one.read()
        await one.hears()
        await publish_unreadable(world.bootstrap, world.name)
        await publish(world.bootstrap, world.name, None)
        await one.hears()
        one.topic.send(b"last")
        await eventually(lambda: one.taken[-1:] == [b"last"])
        reading.cancel()
        await asyncio.wait({reading})


def test_what_waits_to_be_written_is_bounded() -> None:
    topic = PageTopic(ClusterConfig("127.0.0.1:1"), "pages", 500, SystemClock(), lambda works, why: None)
    for number in range(10 * QUEUED_PAGES):
        topic.send(b"%d" % number)
    assert len(topic._queue) == QUEUED_PAGES
    assert topic._queue[-1] == b"%d" % (10 * QUEUED_PAGES - 1)


@pytest.fixture
def embedded() -> Iterator[BreakableEmbedded]:
    with breakable_embedded() as broker:
        yield broker
        broker.thaw()


@pytest.mark.usefixtures("_quick")
async def test_a_broker_outage_delays_no_one_and_is_reported_once(
    embedded: BreakableEmbedded,
) -> None:
    before = asyncio.all_tasks()
    world = World(embedded.bootstrap, "pages")
    await create_topics(embedded.bootstrap, {"pages": 1})
    async with world.replica() as one:
        reading = one.read()
        await one.hears()
        embedded.kill()
        for _ in range(30):
            one.topic.send(b"lost")
            await asyncio.sleep(0.1)
        await eventually(lambda: len(world.reports) == 1)
        ticks = one.ticks
        await eventually(lambda: one.ticks > ticks + 5)
        assert [works for works, _ in world.reports] == [False]
        embedded.restart()
        await create_topics(embedded.bootstrap, {"pages": 1})
        await one.hears()
        await eventually(lambda: [works for works, _ in world.reports] == [False, True])
        reading.cancel()
        await asyncio.wait({reading})
    assert new_tasks(before) == []


async def test_records_are_small_and_have_one_key(world: World) -> None:
    async with world.replica() as one:
        one.topic.send(b"page")
        async with asyncio.timeout(FAR_SECONDS):
            while not (found := await records_of(world.bootstrap, world.name)):
                await asyncio.sleep(0.1)
    assert [(each.key, each.value, each.headers) for each in found] == [(b"page", b"page", ())]
