"""Taking a shard over: claims that rise, a journal that is read whole, a request topic that must fit it."""

import asyncio
import gc
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.conn import AIOKafkaConnection

from service.clock import SystemClock
from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest, RequestFile
from service.core.job.identity import Origin
from service.core.job.request_record import Cursor
from service.core.job.transition_context import Context
from service.core.journal.entries import (
    OwnerEntry,
    decode,
    encode_cursor,
    encode_finished,
    encode_owner,
    encode_request,
    encode_spend,
)
from service.core.journal.replay import Restore
from service.core.journal.stamp import OWNER_PREFIX, STAMP_HEADER, Stamp, cursor_key, owner_key, spend_key
from service.core.limits.slot_share import Predecessor
from service.core.limits.spend_limit import DaySpend
from service.core.outcome.build import OutcomeRules
from service.core.shard.batches import Batch, Committed, Group, JournalRecord
from service.core.shard.shard import Shard
from service.core.shard.state import Window
from service.errors import ClusterError, PublishError, RestoreError
from service.kafka.admin.topics import Topics
from service.kafka.client import span_reader
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal import journal
from service.kafka.journal.journal import Journal
from service.kafka.journal.tail import Followed, Tail
from service.kafka.journal.takeover import BeforeReading, OnMismatch, RestoredShard, at_once
from service.kafka.writing.at_least_once import AtLeastOnceWriter
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord, SendResult
from service.kafka.writing.shard_records import RELEASE, ShardRecords
from service.kafka.writing.transactional_producer import Transactions
from tests.brokers import TopicNames, admin, create_topics
from tests.contract.cluster import (
    FETCH_WAIT_MS,
    BreakableEmbedded,
    breakable_embedded,
    connections_to,
    eventually,
    make_topics,
    new_tasks,
    producer_for,
    publish,
    publish_unreadable,
    records_of,
)
from tests.contract.test_writer import is_ours

needs_java = pytest.mark.needs_java
NOW_MS = 1_760_000_000_000
FAR_SECONDS = 30.0


@dataclass
class World:
    """A shard's journal and requests, and members who take it over."""

    bootstrap: str
    topics: Topics
    producer: Producer
    watermarks: ReconnectingReader
    is_transactional: bool = False
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    senders: list[object] = field(default_factory=list)

    async def take(
        self,
        *,
        member: str = "a",
        partition: int = 0,
        group_offset: int | None = None,
        on_mismatch: OnMismatch = "refuse",
        producer: Producer | None = None,
        cluster: ClusterConfig | None = None,
        before_reading: BeforeReading = at_once,
    ) -> RestoredShard:
        cluster = cluster or ClusterConfig(self.bootstrap)
        shared = None if self.is_transactional else producer or self.producer
        journal = self._journal(cluster, shared, member, on_mismatch)
        taken = await journal.take_over(partition, group_offset, before_reading)
        self.senders.append(taken.sender)
        return taken

    def _journal(
        self, cluster: ClusterConfig, producer: Producer | None, member: str, on_mismatch: OnMismatch
    ) -> Journal:
        return Journal(
            cluster=cluster,
            topics=self.topics,
            producer=producer,
            watermarks=self.watermarks,
            tail=Tail(self.watermarks, self.topics.journal, SystemClock()),
            member=member,
            on_mismatch=on_mismatch,
            limits={},
            fetch_max_wait_ms=FETCH_WAIT_MS,
            takeover_slots=self.places,
        )

    async def let_go(self) -> None:
        """Close what the owners would close."""
        for sender in self.senders:
            if isinstance(sender, Transactions):
                await sender.close()

    async def write(self, epoch: int, *groups: Group, cursor: Cursor | None = None, number: int = 1) -> None:
        """Append a batch as the owner with that epoch."""
        writer = AtLeastOnceWriter(self.producer, ShardRecords(self.topics, 0, epoch, "w"), is_ours)
        last = () if cursor is None else (Group(cursor=cursor),)
        answer = await writer.append(Batch(number, (*groups, *last)))
        assert isinstance(answer, Committed), answer

    async def put(self, key: bytes, value: bytes | None, stamp: bytes | None) -> int:
        """Put any record into the journal; returns its offset."""
        headers = () if stamp is None else ((STAMP_HEADER, stamp),)
        [offset] = await self.producer.send([ProducerRecord(self.topics.journal, key, value, 0, headers)])
        assert isinstance(offset, int), offset
        return offset

    async def journal(self) -> list[Any]:
        return await records_of(self.bootstrap, self.topics.journal)

    async def proven(self, taken: RestoredShard) -> bool:
        """Whether the tail lets the owner with that claim act."""
        clock = SystemClock()
        async with ReconnectingReader(
            ClusterConfig(self.bootstrap), FETCH_WAIT_MS, "read_committed"
        ) as lasting:
            tail = Tail(lasting, self.topics.journal, clock)
            tail.follow(0, Followed(taken.epoch, taken.claim_offset, lambda: None, lambda _: None))
            running = asyncio.gather(tail.run(lambda: None))
            end = len(await self.journal())
            async with asyncio.timeout(FAR_SECONDS):
                is_proven = await tail.proves(0, end - 1)
            running.cancel()
            return is_proven


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("kafka", marks=needs_java),
        pytest.param("transactions", marks=needs_java),
    ]
)
async def world(request: pytest.FixtureRequest, topic_names: TopicNames) -> AsyncIterator[World]:
    """Owners that share a producer, on either broker, and owners with a transactional one."""
    broker_name = "embedded" if request.param == "embedded" else "kafka"
    bootstrap = request.getfixturevalue(f"{broker_name}_bootstrap")
    topics = await make_topics(bootstrap, topic_names)
    async with a_world(bootstrap, topics, producer_for(bootstrap, broker_name)) as made:
        made.is_transactional = request.param == "transactions"
        yield made


@pytest.fixture
async def rivals_world(bootstrap: str, broker_name: str, topic_names: TopicNames) -> AsyncIterator[World]:
    """Owners whom nothing fences but the claim."""
    topics = await make_topics(bootstrap, topic_names)
    async with a_world(bootstrap, topics, producer_for(bootstrap, broker_name)) as made:
        yield made


@pytest.fixture
async def kafka_world(kafka_bootstrap: str, topic_names: TopicNames) -> AsyncIterator[World]:
    topics = await make_topics(kafka_bootstrap, topic_names)
    async with a_world(kafka_bootstrap, topics, producer_for(kafka_bootstrap, "kafka")) as made:
        yield made


@asynccontextmanager
async def a_world(bootstrap: str, topics: Topics, producer: Producer) -> AsyncIterator[World]:
    async with ReconnectingReader(ClusterConfig(bootstrap), FETCH_WAIT_MS, "read_uncommitted") as watermarks:
        made = World(bootstrap, topics, producer, watermarks)
        yield made
        await made.let_go()
    await producer.kill()


def origin(request_id: str, generation: int = 0) -> Origin:
    """Where the tests say that a request lies."""
    return Origin(generation, zlib.crc32(request_id.encode()))


def a_request(request_id: str = "r", digest: str = "d") -> AcceptedRequest:
    return AcceptedRequest(
        origin=origin(request_id),
        topic="requests",
        partition=0,
        timestamp_ms=NOW_MS,
        request_id=request_id,
        replay=0,
        digest=digest,
        model="fun-asr",
        files=(RequestFile(0, "https://h.example/a.wav"),),
        file_count=1,
        deadline_ms=NOW_MS + 1_000,
        accepted_ms=NOW_MS,
        options={"language_hints": ["en"]},
        metadata={"n": 1},
        headers=(("traceparent", "00-1"),),
    )


def a_finished(request_id: str) -> FinishedRequest:
    return FinishedRequest(origin(request_id), request_id, 0, "d", (FileEnd(0, True, 3),), NOW_MS)


def key(request_id: str) -> str:
    return str(origin(request_id))


def opened(request_id: str, digest: str = "d") -> Group:
    return Group(records=(JournalRecord(key(request_id), encode_request(a_request(request_id, digest))),))


def ended(request_id: str) -> Group:
    return Group(records=(JournalRecord(key(request_id), encode_finished(a_finished(request_id))),))


def gone(request_id: str) -> Group:
    return Group(records=(JournalRecord(key(request_id), None),))


def held(restore: Restore) -> dict[str, Any]:
    """What a restore has read, but for what belongs to the shard itself."""
    return {each: entry for each, entry in restore.entries.items() if not each.startswith("~")}


# -- claims and what a restore reads --------------------------------------------------------------------


async def test_a_takeover_tells_the_latest_time_of_the_journal(world: World) -> None:
    """That of its own claim at least: so the broker's time is known where it stamps the records."""
    before_ms = SystemClock().wall_ms()
    taken = await world.take()
    assert before_ms - 1000 <= taken.restore.latest_ms <= SystemClock().wall_ms() + 1000
    assert taken.restore.broker_ms is None, "producers stamp these records"


@needs_java
async def test_a_takeover_tells_the_brokers_time_where_it_stamps_the_records(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    stamped = {"journal": {"message.timestamp.type": "LogAppendTime"}}
    topics = await make_topics(kafka_bootstrap, topic_names, configs=stamped)
    async with a_world(kafka_bootstrap, topics, producer_for(kafka_bootstrap, "kafka")) as world:
        taken = await world.take()
        assert taken.restore.broker_ms == taken.restore.latest_ms > 0


async def test_each_takeover_claims_a_higher_epoch_in_the_journal(world: World) -> None:
    taken = [await world.take(member=name) for name in ("a", "b", "c")]
    assert [each.epoch for each in taken] == [1, 2, 3]
    journal = await world.journal()
    claims = {r.offset: r for r in journal if r.key.decode().startswith(OWNER_PREFIX) and r.value is not None}
    assert list(claims) == [each.claim_offset for each in taken]
    owners = [decode(record.key.decode(), record.value) for record in claims.values()]
    assert owners == [OwnerEntry(1, "a"), OwnerEntry(2, "b"), OwnerEntry(3, "c")]
    stamps = [dict(record.headers)[STAMP_HEADER] for record in claims.values()]
    assert stamps == [Stamp(epoch, 0).encode() for epoch in (1, 2, 3)]


async def test_of_former_claims_none_is_left(world: World) -> None:
    taken = [await world.take(member=name) for name in ("a", "b", "c")][-1]
    last = {record.key.decode(): record.value for record in await world.journal()}
    claims = {each for each, value in last.items() if each.startswith(OWNER_PREFIX) and value is not None}
    assert claims == {owner_key(taken.epoch)}


async def test_the_first_takeover_begins_with_the_first_request_and_says_so_in_the_journal(
    world: World,
) -> None:
    await publish(world.bootstrap, world.topics.requests, b"one", b"two")
    taken = await world.take()
    assert (taken.cursor, taken.lost_requests) == (Cursor(0), 0)
    assert (await world.take(group_offset=2)).cursor == Cursor(0)


async def test_a_takeover_reads_its_journal_when_its_turn_has_come(world: World) -> None:
    await world.take()
    records, turn = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def wait(number: int) -> None:
        records.set_result(number)
        await turn.wait()

    taking = asyncio.ensure_future(world.take(before_reading=wait))
    assert await asyncio.wait_for(records, FAR_SECONDS) > 0
    assert not taking.done()
    turn.set()
    assert (await taking).epoch == 2


async def test_a_takeover_knows_whether_its_predecessor_has_stopped_calling(world: World) -> None:
    first = await world.take()
    second = await world.take()
    owner = encode_owner(OwnerEntry(second.epoch, "a", released=True))
    await world.put(owner_key(second.epoch).encode(), owner, Stamp(second.epoch, RELEASE).encode())
    third = await world.take()
    said = [each.predecessor for each in (first, second, third, await world.take())]
    assert said == [Predecessor.NONE, Predecessor.UNKNOWN, Predecessor.RELEASED, Predecessor.UNKNOWN]


async def test_a_restore_is_what_was_written_last(world: World) -> None:
    await publish(world.bootstrap, world.topics.requests, *[b"request"] * 9)
    before = await world.take()
    await world.write(before.epoch, opened("a"), opened("b"), opened("gone"), cursor=Cursor(5))
    await world.write(before.epoch, opened("a", "again"), gone("gone"), number=2)
    await world.write(before.epoch, ended("b"), cursor=Cursor(9), number=3)
    taken = await world.take(member="b")
    assert held(taken.restore) == {key("a"): a_request("a", "again"), key("b"): a_finished("b")}
    assert (taken.cursor, taken.restore.cursor) == (Cursor(9), Cursor(9))
    assert taken.restore.overwritten == set()


async def test_a_takeover_writes_cursor_and_spending_under_its_own_epoch_and_lets_the_former_go(
    world: World,
) -> None:
    """Whatever the former owner still writes under its own keys, compaction cannot put in their place."""
    await publish(world.bootstrap, world.topics.requests, *[b"request"] * 9)
    old = await world.take(member="old")
    spent = Group(spend=JournalRecord(spend_key(old.epoch), encode_spend(DaySpend(3, 4, 5.0))))
    await world.write(old.epoch, spent, cursor=Cursor(4))
    new = await world.take(member="new")
    await world.write(old.epoch, cursor=Cursor(9), number=2)
    last: dict[str, Any] = {record.key.decode(): record.value for record in await world.journal()}
    assert decode(cursor_key(new.epoch), last[cursor_key(new.epoch)]) == Cursor(4)
    assert decode(spend_key(new.epoch), last[spend_key(new.epoch)]) == DaySpend(3, 4, 5.0)
    assert (last[owner_key(old.epoch)], last[spend_key(old.epoch)]) == (None, None)
    third = await world.take(member="third")
    assert (third.cursor, third.restore.spend) == (Cursor(4), DaySpend(3, 4, 5.0))


async def test_what_an_old_owner_writes_behind_a_claim_is_ignored_and_written_again(world: World) -> None:
    await publish(world.bootstrap, world.topics.requests, *[b"request"] * 9)
    old = await world.take(member="old")
    await world.write(old.epoch, opened("a"), cursor=Cursor(1))
    new = await world.take(member="new")
    await world.write(new.epoch, ended("a"), cursor=Cursor(2))
    await world.write(old.epoch, opened("a"), opened("z"), cursor=Cursor(8), number=2)
    third = await world.take(member="third")
    assert held(third.restore) == {key("a"): a_finished("a")}
    assert third.cursor == Cursor(2)
    assert third.restore.overwritten == {key("a"), key("z"), cursor_key(old.epoch)}

    shard = Shard(0, third.epoch, third.cursor, Window(), OutcomeRules())
    mended = shard.load(third.restore, Context(NOW_MS, 0.5))
    await world.write(third.epoch, *mended.groups, number=1)
    last: dict[str, Any] = {record.key.decode(): record.value for record in await world.journal()}
    assert decode(key("a"), last[key("a")]) == a_finished("a")
    own = cursor_key(third.epoch)
    assert (last[key("z")], decode(own, last[own])) == (None, Cursor(2))
    assert (await world.take(member="fourth")).restore.overwritten == set()


class Refusing(Producer):
    """A producer on a broker that does not take the records of one kind."""

    def __init__(self, cluster: ClusterConfig, *, idempotent: bool, tombstones: bool) -> None:
        super().__init__(cluster, idempotent=idempotent)
        self.tombstones = tombstones
        self.refused: list[str] = []

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        keys = [record.key.decode() for record in records]
        is_tombstone = records[0].value is None
        if (keys[0].startswith(OWNER_PREFIX) and not is_tombstone) or is_tombstone != self.tombstones:
            return await super().send(records)
        self.refused += keys
        return [PublishError("refused") for _ in records]


async def test_records_of_former_owners_prevent_no_take_over(rivals_world: World, broker_name: str) -> None:
    world, cluster = rivals_world, ClusterConfig(rivals_world.bootstrap)
    old = await world.take(member="before")
    left = {owner_key(old.epoch), cursor_key(old.epoch)}
    broken = Refusing(cluster, idempotent=broker_name == "kafka", tombstones=True)
    new = await world.take(member="after", producer=broken)
    assert set(broken.refused) == left
    await broken.stop()
    third = await world.take(member="third")
    assert left <= {record.key.decode() for record in await world.journal() if record.value is None}
    assert third.epoch == new.epoch + 1


async def test_a_former_cursor_stays_until_the_new_one_is_acknowledged(
    rivals_world: World, broker_name: str
) -> None:
    world, cluster = rivals_world, ClusterConfig(rivals_world.bootstrap)
    old = await world.take(member="before")
    broken = Refusing(cluster, idempotent=broker_name == "kafka", tombstones=False)
    with pytest.raises(ClusterError):
        await world.take(member="after", producer=broken)
    assert broken.refused == [cursor_key(old.epoch + 1)]
    await broken.stop()
    assert [record.key for record in await world.journal() if record.value is None] == []


class Together(Producer):
    """A producer whose claims wait for each other: all have read the journal before any claim is in it."""

    def __init__(self, cluster: ClusterConfig, *, idempotent: bool, barrier: asyncio.Barrier) -> None:
        super().__init__(cluster, idempotent=idempotent)
        self.barrier = barrier
        self.claims = 0

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        if records[0].key.decode().startswith(OWNER_PREFIX) and records[0].value is not None:
            self.claims += 1
            if self.claims == 1:
                await self.barrier.wait()
        return await super().send(records)


async def test_of_rivals_that_claim_at_the_same_moment_the_tail_proves_exactly_one(
    rivals_world: World, broker_name: str
) -> None:
    world = rivals_world
    await world.take(member="before")
    barrier = asyncio.Barrier(3)
    cluster = ClusterConfig(world.bootstrap)
    rivals = [Together(cluster, idempotent=broker_name == "kafka", barrier=barrier) for _ in range(3)]
    async with asyncio.timeout(FAR_SECONDS):
        taken = await asyncio.gather(
            *(world.take(member=f"rival {n}", producer=rival) for n, rival in enumerate(rivals))
        )
    assert sum(rival.claims for rival in rivals) > 3  # they did meet
    assert len({each.epoch for each in taken}) == 3
    highest = max(taken, key=lambda each: each.epoch)
    assert [await world.proven(each) for each in taken] == [each is highest for each in taken]
    for rival in rivals:
        await rival.kill()


async def test_a_claim_counts_what_comes_between_the_reading_and_the_claim(
    rivals_world: World, broker_name: str
) -> None:
    """An owner that is fenced only by this claim may write until it is in the journal."""
    world = rivals_world
    await publish(world.bootstrap, world.topics.requests, *[b"request"] * 3)
    owner = await world.take(member="owner")
    barrier = asyncio.Barrier(2)
    slow = Together(ClusterConfig(world.bootstrap), idempotent=broker_name == "kafka", barrier=barrier)
    taking = asyncio.gather(world.take(member="next", producer=slow))
    async with asyncio.timeout(FAR_SECONDS):
        await eventually(lambda: slow.claims == 1)  # it has read
        await world.write(owner.epoch, opened("late"), cursor=Cursor(3))
        await barrier.wait()
        [taken] = await taking
    assert held(taken.restore) == {key("late"): a_request("late")}
    assert taken.cursor == Cursor(3)
    await slow.kill()


@pytest.mark.computes
async def test_twenty_thousand_entries_are_restored(
    embedded: BreakableEmbedded,
    topic_names: TopicNames,
    record_property: Callable[[str, object], None],
) -> None:
    """How long the loop was blocked is measured, not judged: see the property `longest_block_ms`."""
    topics = await make_topics(embedded.bootstrap, topic_names)
    producer = producer_for(embedded.bootstrap, "embedded")
    async with a_world(embedded.bootstrap, topics, producer) as world:
        await restore_twenty_thousand(world, record_property)


async def restore_twenty_thousand(world: World, record_property: Callable[[str, object], None]) -> None:
    loop = asyncio.get_running_loop()
    first = await world.take()
    for batch in range(20):
        groups = [opened(f"r{batch}-{n}") for n in range(1_000)]
        await world.write(first.epoch, *groups, number=batch + 1)
    turns: list[float] = []

    async def tick() -> None:
        while True:
            turns.append(loop.time())
            await asyncio.sleep(0)

    ticking = asyncio.gather(tick())
    began = loop.time()
    taken = await world.take()
    seconds = loop.time() - began
    ticking.cancel()
    gaps = [later - earlier for earlier, later in pairwise(turns)]
    record_property("seconds", round(seconds, 2))
    record_property("longest_block_ms", round(1000 * max(gaps), 1))
    assert len(taken.restore.requests()) == 20_000


async def test_between_two_slices_the_loop_has_its_turn(bootstrap: str, topic_names: TopicNames) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    partition = TopicPartition(topic, 0)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        sent = [await producer.send(topic, b"v", partition=0) for _ in range(1_000)]
        await asyncio.gather(*sent)
    turns = 0
    taken: list[int] = []

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.gather(tick())
    async with reader(ClusterConfig(bootstrap), FETCH_WAIT_MS) as consumer:
        consumer.assign([partition])
        await span_reader.read(
            consumer, span_reader.OffsetRange(partition, 0, 1_000), lambda _: taken.append(turns)
        )
    ticking.cancel()
    assert len(taken) == 1_000
    assert max(Counter(taken).values()) == span_reader.SLICE_RECORDS


# -- a request topic that does not fit ------------------------------------------------------------------

START_OVER = "SCRIBE_KAFKA__ON_JOURNAL_MISMATCH=start_over"


async def has_read(world: World, cursor: Cursor) -> None:
    """Let the journal say how far requests have been read."""
    taken = await world.take()
    await world.write(taken.epoch, opened("a"), cursor=cursor)


async def refusal(world: World, group_offset: int | None = None) -> str:
    with pytest.raises(RestoreError) as error:
        await world.take(group_offset=group_offset)
    return str(error.value)


async def assert_start_over(world: World, group_offset: int | None = None) -> None:
    """Starting over reads a new generation from its beginning, keeps the requests, and is done once."""
    before = held((await world.take(on_mismatch="start_over", group_offset=group_offset)).restore)
    over = await world.take(group_offset=group_offset)
    generation = 1 if before else 0
    assert (over.cursor, over.lost_requests) == (Cursor(0, generation=generation), 0)
    assert held(over.restore) == before


async def test_a_cursor_past_the_end_of_the_requests_is_refused_unless_starting_over_is_set(
    world: World,
) -> None:
    await publish(world.bootstrap, world.topics.requests, b"one")
    await has_read(world, Cursor(5, NOW_MS, 1))
    words = await refusal(world)
    assert f"has read {world.topics.requests}, partition 0 up to 5, but it ends at 1" in words
    assert START_OVER in words
    await assert_start_over(world)


async def test_a_cursor_behind_another_record_is_refused_unless_starting_over_is_set(world: World) -> None:
    await publish(world.bootstrap, world.topics.requests, b"another", b"one")
    await has_read(world, Cursor(1, NOW_MS, 12345))
    words = await refusal(world)
    assert f"the record before offset 1 of {world.topics.requests}, partition 0 is not the one" in words
    assert START_OVER in words
    await assert_start_over(world)


async def test_a_lost_journal_is_refused_unless_starting_over_is_set(world: World) -> None:
    await publish(world.bootstrap, world.topics.requests, b"one", b"two")
    words = await refusal(world, group_offset=2)
    assert f"{world.topics.journal} knows nothing of {world.topics.requests}, partition 0" in words
    assert START_OVER in words
    await assert_start_over(world, group_offset=2)


async def test_a_group_that_has_read_nothing_has_lost_nothing(world: World) -> None:
    await publish(world.bootstrap, world.topics.requests, b"one")
    assert (await world.take(group_offset=0)).cursor == Cursor(0)


async def test_a_cursor_that_fits_is_kept_with_what_it_knows(world: World) -> None:
    await publish(world.bootstrap, world.topics.requests, b"one", b"two")
    [first, _] = await records_of(world.bootstrap, world.topics.requests)
    fitting = Cursor(1, first.timestamp, 0x7A6C86F1)  # zlib.crc32(b"one")
    await has_read(world, fitting)
    assert (await world.take(group_offset=0)).cursor == fitting


async def test_a_request_that_cannot_be_read_does_not_make_the_topic_another_one(world: World) -> None:
    await publish_unreadable(world.bootstrap, world.topics.requests)
    await has_read(world, Cursor(1, NOW_MS, 99))
    assert (await world.take()).cursor == Cursor(1, NOW_MS, 99)


@needs_java
async def test_requests_that_retention_removed_unread_are_counted_once(kafka_world: World) -> None:
    world = kafka_world
    await publish(world.bootstrap, world.topics.requests, *[b"request"] * 10)
    await has_read(world, Cursor(3, NOW_MS, 1))
    async with admin(world.bootstrap) as client:
        await client.delete_records({TopicPartition(world.topics.requests, 0): RecordsToDelete(7)})
    taken = await world.take()
    assert (taken.lost_requests, taken.cursor) == (4, Cursor(7))
    assert (await world.take()).lost_requests == 0


@needs_java
async def test_requests_that_were_read_before_retention_removed_them_are_not_lost(kafka_world: World) -> None:
    world = kafka_world
    await publish(world.bootstrap, world.topics.requests, *[b"request"] * 10)
    await has_read(world, Cursor(7, NOW_MS, 1))
    async with admin(world.bootstrap) as client:
        await client.delete_records({TopicPartition(world.topics.requests, 0): RecordsToDelete(7)})
    taken = await world.take()
    assert (taken.lost_requests, taken.cursor) == (0, Cursor(7, NOW_MS, 1))


# -- a journal that cannot be trusted -------------------------------------------------------------------

SECRET = "hunter2"
OURS = Stamp(1, 1).encode()


@pytest.mark.parametrize(
    ("key", "value", "stamp"),
    [
        pytest.param(b"r/0.1", encode_request(a_request("a")), None, id="no stamp"),
        pytest.param(b"r/0.1", encode_request(a_request("a")), SECRET.encode(), id="another stamp"),
        pytest.param(b"r/0.1", SECRET.encode(), OURS, id="not JSON"),
        pytest.param(b"r/0.1", b'{"state":"%s"}' % SECRET.encode(), OURS, id="another state"),
        pytest.param(SECRET.encode(), encode_request(a_request("a")), OURS, id="another key"),
        pytest.param(b"a/%s/0" % SECRET.encode(), encode_request(a_request("a")), OURS, id="a key like ours"),
        pytest.param(b"\xff/0/0" + SECRET.encode(), b"{}", OURS, id="a key that is no text"),
        pytest.param(b"r/0.1", b'"%s"' % SECRET.encode(), OURS, id="a string"),
    ],
)
async def test_a_foreign_journal_record_is_named_by_its_place_and_not_by_its_content(
    world: World, key: bytes, value: bytes, stamp: bytes | None
) -> None:
    await world.take()
    offset = await world.put(key, value, stamp)
    words = await refusal(world)
    assert f"{world.topics.journal}, partition 0, offset {offset}" in words
    assert SECRET not in words


async def test_a_journal_record_that_the_client_cannot_read_is_named_by_its_place(world: World) -> None:
    taken = await world.take()
    await world.write(taken.epoch, *[opened(f"r{n}") for n in range(5)])
    await publish_unreadable(world.bootstrap, world.topics.journal)
    offset = 7 + 2 * world.is_transactional  # the claim's marker, and the cursor's
    assert f"{world.topics.journal}, partition 0, offset {offset} cannot be read" in await refusal(world)


@pytest.mark.parametrize(
    ("key", "stamp", "version"),
    [
        (b"r/0.1", b"1.1.3", 3),
        (b"~owner/7", b"7.0.3.and more", 3),
        (b"~owner", b"1.12.345", 1),
        (b"order-1/0/0", b"1.12.345", 1),
    ],
)
async def test_a_journal_of_another_format_is_refused_in_words_and_left_as_it_is(
    world: World, key: bytes, stamp: bytes, version: int
) -> None:
    """Whoever wrote it has work in there that was paid for: nothing is claimed."""
    before = await world.take()
    await world.write(before.epoch, opened("a"))
    await world.put(key, b"{}", stamp)
    written = len(await world.journal())
    words = await refusal(world)
    assert f"{world.topics.journal}, partition 0" in words
    assert f"its format is {version}, and this version of Scribe reads 2" in words
    assert len(await world.journal()) == written


async def test_a_partition_without_a_journal_is_refused_with_what_to_do(world: World) -> None:
    with pytest.raises(RestoreError, match=f"{world.topics.journal} has no partition 3; give it as many"):
        await world.take(partition=3)


@needs_java
@pytest.mark.parametrize("ends", ["commit", "abort"])
async def test_transactions_of_others_do_not_hang_a_restore(kafka_world: World, ends: str) -> None:
    """Their markers take offsets and are no records: the last offset of the journal is never delivered."""
    world = kafka_world
    taken = await world.take()
    async with AIOKafkaProducer(
        bootstrap_servers=world.bootstrap, transactional_id=world.topics.journal
    ) as transactional:
        await transactional.begin_transaction()
        await transactional.send_and_wait(
            world.topics.journal,
            encode_request(a_request("t")),
            key("t").encode(),
            partition=0,
            headers=[(STAMP_HEADER, Stamp(taken.epoch, 1).encode())],
        )
        await (transactional.commit_transaction() if ends == "commit" else transactional.abort_transaction())
    async with asyncio.timeout(FAR_SECONDS):
        again = await world.take()
    assert again.epoch == 2
    assert (await world.take()).epoch == 3
    assert await world.proven(again) is False


# -- a cluster that is away -----------------------------------------------------------------------------


@pytest.fixture
def embedded() -> Iterator[BreakableEmbedded]:
    with breakable_embedded() as broker:
        yield broker
        broker.thaw()


async def test_a_takeover_from_a_frozen_broker_fails_in_time_and_leaves_nothing(
    embedded: BreakableEmbedded, topic_names: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = await make_topics(embedded.bootstrap, topic_names)
    cluster = ClusterConfig(embedded.bootstrap, request_timeout_ms=700)
    monkeypatch.setattr(span_reader, "READ_BOUND_SECONDS", 1.0)
    producer = Producer(cluster, idempotent=False, bound_seconds=1.0)
    async with a_world(embedded.bootstrap, topics, producer) as world:
        await world.take(cluster=cluster)
        before = asyncio.all_tasks()
        embedded.freeze()
        async with asyncio.timeout(FAR_SECONDS):
            with pytest.raises(ClusterError):
                await world.take(cluster=cluster)
        assert [task for task in new_tasks(before) if "take" in task or "reader" in task] == []
        embedded.thaw()
        async with asyncio.timeout(FAR_SECONDS):
            while True:
                try:
                    taken = await world.take(cluster=cluster)
                    break
                except (ClusterError, RestoreError):
                    continue
        assert taken.epoch >= 2


async def test_a_journal_that_stops_delivering_is_given_up_in_time(
    embedded: BreakableEmbedded, topic_names: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = await make_topics(embedded.bootstrap, topic_names)
    await publish(embedded.bootstrap, topics.journal, b"v")
    monkeypatch.setattr(span_reader, "READ_BOUND_SECONDS", 0.5)
    partition = TopicPartition(topics.journal, 0)
    async with reader(ClusterConfig(embedded.bootstrap), FETCH_WAIT_MS) as consumer:
        consumer.assign([partition])
        embedded.freeze()
        async with asyncio.timeout(FAR_SECONDS):
            with pytest.raises(RestoreError, match=f"{topics.journal}, partition 0 delivers nothing"):
                await span_reader.read(consumer, span_reader.OffsetRange(partition, 0, 1), lambda _: None)


async def test_a_reader_that_is_closed_at_once_raises_nothing_and_leaves_nothing(bootstrap: str) -> None:
    """aiokafka's own stop raises CancelledError there: the shard's task would end without a word."""
    before = asyncio.all_tasks()
    for _ in range(5):
        async with reader(ClusterConfig(bootstrap), FETCH_WAIT_MS):
            pass
    assert new_tasks(before) == []


@pytest.mark.parametrize("after_ms", range(0, 36, 9))
async def test_a_takeover_that_is_cancelled_leaves_nothing(world: World, after_ms: int) -> None:
    await world.take()
    before = asyncio.all_tasks()
    taking = asyncio.gather(world.take())
    await asyncio.sleep(after_ms / 1000)
    taking.cancel()
    await asyncio.wait({taking}, timeout=FAR_SECONDS)
    assert taking.done()
    await world.let_go()
    # What it has handed to the producer may still be on its way.
    await eventually(lambda: not new_tasks(before))


CALLS = (
    "ApiVersionRequest",
    "MetadataRequest",
    "FindCoordinatorRequest",
    "InitProducerIdRequest",
    "OffsetRequest",
    "FetchRequest",
    "AddPartitionsToTxnRequest",
    "ProduceRequest",
    "EndTxnRequest",
)


@needs_java
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("again_seconds", [0.0, 0.2], ids=["twice at once", "again while it closes"])
async def test_a_takeover_that_is_cancelled_twice_amid_any_call_leaves_nothing(
    kafka_world: World, monkeypatch: pytest.MonkeyPatch, call: str, again_seconds: float
) -> None:
    """A stop meets take-overs under way, each waiting for a broker that is busy, and cancels them twice."""
    world = kafka_world
    world.is_transactional = True
    await world.take()
    gc.collect()
    before, connected = asyncio.all_tasks(), connections_to(world.bootstrap)
    reached = asyncio.Event()
    send = AIOKafkaConnection.send

    def busy(
        connection: AIOKafkaConnection, request: object, expect_response: bool = True
    ) -> Awaitable[object]:
        if type(request).__name__ != call:
            answer: Awaitable[object] = send(connection, request, expect_response)
            return answer
        reached.set()
        return asyncio.sleep(3600)

    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaConnection, "send", busy)
        taking = asyncio.create_task(world.take())
        async with asyncio.timeout(FAR_SECONDS):
            await reached.wait()
        taking.cancel()
        await asyncio.sleep(again_seconds)
        taking.cancel()
        await asyncio.wait({taking}, timeout=FAR_SECONDS)
        assert taking.cancelled()
        assert new_tasks(before) == []
    gc.collect()  # warnings of what was not closed are errors
    await eventually(lambda: connections_to(world.bootstrap) == connected)


async def test_a_takeover_that_is_cancelled_while_its_reader_closes_keeps_no_producer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = asyncio.Event()

    @asynccontextmanager
    async def slow_to_close(*parts: Any) -> AsyncIterator[AIOKafkaConsumer]:
        async with reader(*parts) as consumer:
            yield consumer
            closing.set()
            await asyncio.Event().wait()

    await world.take()
    before = asyncio.all_tasks()
    monkeypatch.setattr(journal, "reader", slow_to_close)
    taking = asyncio.gather(world.take())
    async with asyncio.timeout(FAR_SECONDS):
        await closing.wait()
    taking.cancel()
    await asyncio.wait({taking}, timeout=FAR_SECONDS)
    assert taking.done()
    await eventually(lambda: not new_tasks(before))


async def test_against_nothing_a_reader_fails_with_a_reason() -> None:
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ClusterError, match="no broker takes a connection"):
            async with reader(ClusterConfig("127.0.0.1:1"), FETCH_WAIT_MS):
                pytest.fail("nothing is there to read from")


async def test_against_frozen_brokers_a_reader_fails_in_time(embedded: BreakableEmbedded) -> None:
    cluster = ClusterConfig(",".join(4 * [embedded.bootstrap]), request_timeout_ms=300)
    embedded.freeze()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ClusterError, match="no answer in time"):
            async with reader(cluster, FETCH_WAIT_MS):
                pytest.fail("nobody answered")


def test_the_cursor_of_the_tests_is_what_the_service_writes() -> None:
    assert decode(cursor_key(1), encode_cursor(Cursor(3, 2, 1))) == Cursor(3, 2, 1)
