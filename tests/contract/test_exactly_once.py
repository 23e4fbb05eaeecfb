"""`exactly_once`: one transaction for a batch, lost answers looked up, fences obeyed."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from sandbox import kafka
from sandbox.broker import SETTINGS
from service.clock import SystemClock
from service.core.job.request_record import Cursor
from service.core.journal.entries import encode_cursor
from service.core.journal.replay import Restore
from service.core.journal.stamp import Stamp, cursor_key
from service.core.limits.slot_share import Predecessor
from service.core.shard.batches import Appended, Batch, BatchRefused, Committed, Group, JournalRecord, Unknown
from service.errors import ConfigError, PublishError, RecordTooLarge, RestoreError
from service.kafka.admin.topics import Topics
from service.kafka.client import span_reader
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal.journal import Journal
from service.kafka.journal.tail import Tail
from service.kafka.journal.takeover import RestoredShard
from service.kafka.writing import transactional_producer
from service.kafka.writing.exactly_once import ExactlyOnceWriter
from service.kafka.writing.producer import lacks_idempotence
from service.kafka.writing.producer_record import ProducerRecord
from service.kafka.writing.shard_records import ShardRecords, journal_record
from service.kafka.writing.transactional_producer import Transactions, require_transactions
from service.kafka.writing.writer_port import Writer
from tests.brokers import TopicNames
from tests.contract.cluster import (
    FETCH_WAIT_MS,
    OUTCOME_PARTITIONS,
    BreakableKafka,
    connections_to,
    eventually,
    make_topics,
    new_tasks,
    records_of,
)
from tests.contract.test_writer import (
    AT_CURSOR,
    a_failure,
    a_request,
    a_result,
    accepted,
    batch,
    finished,
    ref,
)
from tests.fakes.writer import Fault, MemoryBroker, MemoryTransactions, Stage

needs_java = pytest.mark.needs_java
WHOLE = batch(finished(a_result("r", 0)), finished(a_failure("r", 1)), accepted("new"), AT_CURSOR)

WRITTEN = [ref("r", 0), ref("r", 1), str(a_request("new").origin)]


def is_empty(restore: Restore) -> bool:
    """Whether it holds nothing but what belongs to the shard itself."""
    return all(key.startswith("~") for key in restore.entries)


# -- the writer's own rules, in memory --------------------------------------------------------------------


def in_memory(*faults: Fault) -> tuple[MemoryBroker, MemoryTransactions, Writer]:
    broker = MemoryBroker()
    member = MemoryTransactions(broker, list(faults))
    return broker, member, broker.transactional_writer(member)


def ids(broker: MemoryBroker) -> list[str]:
    return sorted(dict(record.headers)["ce_id"].decode() for record in broker.outcomes())


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.LOSE_ANSWER])
async def test_a_batch_whose_end_was_unknown_is_there_once_when_appended_again(fault: Fault) -> None:
    broker, member, writer = in_memory(fault)
    assert isinstance(await writer.append(WHOLE), Unknown)
    assert isinstance(await writer.append(WHOLE), Committed)
    assert ids(broker) == ["r/0/0", "r/0/1"]
    assert [record.key.decode() for record in broker.journal()][-1] == cursor_key(1)
    assert len(broker.journal()) == 4
    assert member.opened == 2


async def test_what_was_looked_up_has_the_offset_it_was_given() -> None:
    broker, _, writer = in_memory(Fault.LOSE_ANSWER)
    await writer.append(WHOLE)
    assert await writer.append(WHOLE) == Committed(broker.journal()[-1].offset)


async def test_a_member_the_group_has_left_behind_makes_no_new_producer() -> None:
    """It would fence the rightful owner."""
    broker, member, writer = in_memory(Fault.REFUSE)
    await writer.append(WHOLE)
    member.is_member = False
    assert isinstance(await writer.append(WHOLE), BatchRefused)
    assert member.opened == 1
    assert broker.journal() == []


async def test_a_higher_claim_ends_a_writer_without_its_outcome() -> None:
    broker, member, writer = in_memory(Fault.REFUSE)
    await writer.append(WHOLE)
    rival = ShardRecords(broker.topics, 0, 2, "rival")
    broker.keep(rival.claim())
    assert isinstance(await writer.append(WHOLE), BatchRefused)
    assert len(broker.journal()) == 1
    assert member.opened == 2


async def test_a_piece_whose_outcome_was_unknown_is_not_written_again() -> None:
    """Divided, all pieces bear the batch's number: only what lies behind the last known one can be it."""
    broker, member, writer = in_memory()
    poison = a_result("r", 1)
    broker.limits = {broker.topics.results: 10}
    member.faults = [Fault.REFUSE]
    around = batch(accepted("a"), finished(poison), accepted("b"), AT_CURSOR)
    broker.limits = {}
    answers: list[Appended] = [await writer.append(around)]
    broker.limits = {broker.topics.results: len(poison.body.to_bytes()) - 1}
    member.faults = [Fault.LOSE_ANSWER, Fault.LOSE_ANSWER]
    while not isinstance(answers[-1], Committed):
        answers.append(await writer.append(around))
        assert len(answers) < 10
    keys = [record.key.decode() for record in broker.journal()]
    assert keys == [str(a_request("a").origin), ref("r", 1), str(a_request("b").origin), cursor_key(1)]
    assert ids(broker) == ["r/0/1"]


ATTEMPTS = list(product((True, False), (None, Fault.REFUSE, Fault.LOSE_ANSWER)))
"""Whether the claim is released, and what goes wrong."""


@pytest.mark.parametrize("is_transactional", [True, False], ids=["exactly_once", "at_least_once"])
async def test_a_claim_that_is_committed_is_the_last_in_the_journal_whatever_was_unknown_before(
    is_transactional: bool,
) -> None:
    """A takeover's other records, and earlier uncertain claims, bear the same stamp as the claim."""
    for attempts in product(ATTEMPTS, repeat=3):
        broker, member, writer = in_memory()
        if not is_transactional:
            writer = broker.writer()
        cursor = encode_cursor(Cursor(0))
        broker.keep(journal_record(broker.topics.journal, 0, cursor_key(1), cursor, Stamp(1, 0)))
        for is_release, fault in attempts:
            member.faults = [fault] if fault else []
            if fault:
                broker.break_at(Stage.ANNOUNCING, fault)
            answer = await (writer.release() if is_release else writer.prove())
            assert fault or isinstance(answer, Committed)
            if isinstance(answer, Committed):
                assert answer.journal_offset == len(broker.journal()) - 1
                assert (broker.restore().predecessor is Predecessor.RELEASED) is is_release, attempts


# -- on real Kafka ----------------------------------------------------------------------------------------


@dataclass
class World:
    """A shard on real Kafka, and members who own it one after another."""

    bootstrap: str
    topics: Topics
    watermarks: ReconnectingReader
    is_member: bool = True
    writers: list[Writer] = field(default_factory=list)
    taken: list[RestoredShard] = field(default_factory=list)

    @property
    def cluster(self) -> ClusterConfig:
        return ClusterConfig(self.bootstrap)

    async def own(self, member: str = "a") -> Writer:
        """Take the shard over; the writer of its new owner."""
        journal = Journal(
            cluster=self.cluster,
            topics=self.topics,
            producer=None,
            watermarks=self.watermarks,
            tail=Tail(self.watermarks, self.topics.journal, SystemClock()),
            member=member,
            on_mismatch="refuse",
            limits={},
            fetch_max_wait_ms=FETCH_WAIT_MS,
            takeover_slots=asyncio.Semaphore(1),
        )
        self.taken.append(await journal.take_over(0, None))
        self.writers.append(journal.writer(0, self.taken[-1], self._asks_group))
        return self.writers[-1]

    async def _asks_group(self) -> bool:
        return self.is_member

    async def outcomes(self) -> list[str]:
        """The ids of what a `read_committed` reader sees."""
        found = []
        for topic in (self.topics.results, self.topics.failures):
            found += await records_of(self.bootstrap, topic, OUTCOME_PARTITIONS)
        return sorted(dict(record.headers)["ce_id"].decode() for record in found)

    async def journal(self) -> list[str]:
        """The keys that a restore would read, but for claims and cursors."""
        keys = [record.key.decode() for record in await records_of(self.bootstrap, self.topics.journal)]
        return [key for key in keys if not key.startswith("~")]


def producer_of(writer: Writer) -> AIOKafkaProducer:
    """The aiokafka producer a writer has at the moment."""
    assert isinstance(writer, ExactlyOnceWriter)
    sender = writer._sender
    assert isinstance(sender, Transactions)
    assert sender._producer is not None
    return sender._producer


def lose_answers(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writer's producer commit, and its answers be lost."""
    producer = producer_of(writer)
    commit = producer.commit_transaction

    async def commit_and_lose() -> None:
        await commit()
        raise TimeoutError

    monkeypatch.setattr(producer, "commit_transaction", commit_and_lose)


@asynccontextmanager
async def a_world(bootstrap: str, topics: Topics) -> AsyncIterator[World]:
    async with ReconnectingReader(ClusterConfig(bootstrap), FETCH_WAIT_MS, "read_uncommitted") as watermarks:
        world = World(bootstrap, topics, watermarks)
        yield world
        for writer in world.writers:
            await writer.close()


@pytest.fixture
async def world(kafka_bootstrap: str, topic_names: TopicNames) -> AsyncIterator[World]:
    async with a_world(kafka_bootstrap, await make_topics(kafka_bootstrap, topic_names)) as made:
        yield made


@needs_java
async def test_a_batch_is_there_as_a_whole_and_once(world: World) -> None:
    writer = await world.own()
    assert isinstance(await writer.append(WHOLE), Committed)
    assert await world.outcomes() == ["r/0/0", "r/0/1"]
    assert await world.journal() == WRITTEN


@needs_java
async def test_a_takeover_fences_an_idle_owner_and_what_it_sends_then_is_never_seen(world: World) -> None:
    """Fenced before its first send: aiokafka fails the send and trips over its own commit."""
    old = await world.own("old")
    await world.own("new")
    world.is_member = False
    assert isinstance(await old.append(WHOLE), Unknown)
    assert isinstance(await old.append(WHOLE), BatchRefused)
    assert (await world.outcomes(), await world.journal()) == ([], [])


@needs_java
async def test_a_takeover_ends_an_open_transaction_of_the_old_owner(world: World) -> None:
    """Fenced after a send: nothing of the open transaction counts, and the commit is refused."""
    old = producer_of(await world.own("old"))
    await old.begin_transaction()
    await old.send_and_wait(world.topics.journal, b"{}", b"zombie/0/0", partition=0)
    new = await world.own("new")
    assert is_empty(world.taken[-1].restore)
    with pytest.raises(Exception, match="newer producer"):
        await old.commit_transaction()
    assert isinstance(await new.append(WHOLE), Committed)
    assert await world.journal() == WRITTEN


@needs_java
async def test_an_owner_fenced_by_a_resumed_stale_owner_continues_if_the_group_accepts_it(
    world: World,
) -> None:
    """The stranger only began a producer, and claimed nothing: the owner begins anew and continues."""
    writer = await world.own()
    stranger = Transactions(world.cluster, f"{world.topics.journal}.0", world.topics)
    await stranger.open()
    assert isinstance(await writer.append(WHOLE), Unknown)
    assert isinstance(await writer.append(WHOLE), Committed)
    assert await world.outcomes() == ["r/0/0", "r/0/1"]
    await stranger.close()


@needs_java
async def test_a_lost_answer_to_a_commit_is_looked_up_in_the_journal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await world.own()
    lose_answers(writer, monkeypatch)
    assert isinstance(await writer.append(WHOLE), Unknown)
    assert isinstance(await writer.append(WHOLE), Committed)
    assert await world.outcomes() == ["r/0/0", "r/0/1"]
    assert await world.journal() == WRITTEN


@needs_java
async def test_a_proof_takes_back_a_release_whose_answer_was_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner has written nothing since its takeover, whose records bear the stamp of a claim."""
    writer = await world.own()
    lose_answers(writer, monkeypatch)
    assert isinstance(await writer.release(), Unknown)
    assert isinstance(await writer.prove(), Committed)
    await world.own("next")
    assert world.taken[-1].predecessor is Predecessor.UNKNOWN


@needs_java
async def test_a_transaction_that_lost_a_record_is_not_committed(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    """aiokafka itself commits what is left, and the producer's sequence has a gap for ever."""
    limits = {"results": {"max.message.bytes": "1000"}}
    topics = await make_topics(kafka_bootstrap, topic_names, configs=limits)
    sender = Transactions(ClusterConfig(kafka_bootstrap), f"{topics.journal}.0", topics)
    await sender.open()
    small = ProducerRecord(topics.journal, b"a/0/0", b"{}", 0)
    large = ProducerRecord(topics.results, b"k", random.Random(1).randbytes(10_000), 0)
    answers = await sender.send([small, large])
    assert isinstance(answers[1], RecordTooLarge)
    assert not sender.is_open
    assert await records_of(kafka_bootstrap, topics.journal) == []
    await sender.open()
    assert all(isinstance(answer, int) for answer in await sender.send([small]))
    await sender.close()


@needs_java
async def test_a_transaction_the_broker_has_timed_out_is_written_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator aborts it and moves the epoch on: aiokafka cannot tell that from a fence."""
    monkeypatch.setattr(transactional_producer, "TRANSACTION_TIMEOUT_MS", 500)
    writer = await world.own()
    producer = producer_of(writer)
    commit = producer.commit_transaction

    async def commit_late() -> None:
        seen = TopicPartition(world.topics.journal, 0)
        async with reader(world.cluster, FETCH_WAIT_MS) as committed:
            # Until then the open transaction holds the last stable offset back.
            while await _last_stable(committed, seen) < await _last_stable(
                await world.watermarks.consumer(), seen
            ):
                await asyncio.sleep(0.1)
        await commit()

    monkeypatch.setattr(producer, "commit_transaction", commit_late)
    assert isinstance(await writer.append(WHOLE), Unknown)
    assert await world.outcomes() == []
    assert isinstance(await writer.append(WHOLE), Committed)
    assert await world.outcomes() == ["r/0/0", "r/0/1"]


async def _last_stable(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    end: int = (await consumer.end_offsets([partition]))[partition]
    return end


@needs_java
async def test_a_foreign_open_transaction_in_the_journal_refuses_the_shard_and_names_the_offset(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore that ended at the last stable offset would miss what is committed behind it."""
    monkeypatch.setattr(span_reader, "READ_BOUND_SECONDS", 1.0)
    writer = await world.own()
    async with AIOKafkaProducer(
        bootstrap_servers=world.bootstrap, transactional_id=f"{world.topics.journal}.stranger"
    ) as stranger:
        await stranger.begin_transaction()
        await stranger.send_and_wait(world.topics.journal, b"{}", b"x/0/0", partition=0)
        assert isinstance(await writer.append(batch(accepted("new"))), Committed)
        with pytest.raises(RestoreError, match=f"{world.topics.journal}, partition 0 delivers.*find-hanging"):
            await world.own("next")
        await stranger.abort_transaction()
    await world.own("next")
    assert set(world.taken[-1].restore.requests()) == {a_request("new").origin}


@needs_java
async def test_a_missing_topic_is_reported_within_the_bound(world: World) -> None:
    """aiokafka asks for it again and again, without an end."""
    sender = Transactions(world.cluster, f"{world.topics.journal}.0", world.topics, send_seconds=1.0)
    await sender.open()
    answers = await sender.send([ProducerRecord(f"{world.topics.results}.gone", b"k", b"v", 0)])
    assert isinstance(answers[0], PublishError)
    assert not sender.is_open


@needs_java
async def test_a_killed_producer_leaves_no_task_and_no_connection(world: World) -> None:
    before, open_before = asyncio.all_tasks(), connections_to(world.bootstrap)
    sender = Transactions(world.cluster, f"{world.topics.journal}.0", world.topics)
    await sender.open()
    await sender.send([ProducerRecord(world.topics.journal, b"a/0/0", b"{}", 0)])
    await sender.close()
    await sender.close()
    assert isinstance(
        (await sender.send([ProducerRecord(world.topics.journal, b"b/0/0", b"{}", 0)]))[0], PublishError
    )
    await eventually(lambda: not new_tasks(before) and connections_to(world.bootstrap) == open_before)


async def test_a_broker_without_transactions_is_refused_with_all_the_settings_it_needs(
    embedded_bootstrap: str,
) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(ConfigError) as refused:
            await require_transactions(ClusterConfig(embedded_bootstrap), Topics())
    named = set(re.findall(r"SCRIBE_\w+=\w+", str(refused.value)))
    # The broker asks for a replication factor of 1 itself, when topics are made.
    assert named == {f"{name}={value}" for name, value in SETTINGS.items() if "TOPICS" not in name}


@pytest.mark.needs_java
async def test_a_broker_with_transactions_has_an_idempotent_producer(kafka_bootstrap: str) -> None:
    assert not await lacks_idempotence(ClusterConfig(kafka_bootstrap))


async def test_no_broker_at_all_is_another_sentence() -> None:
    cluster = ClusterConfig("127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        await require_transactions(cluster, Topics())


# -- a broker that freezes, and one that forgets ------------------------------------------------------------


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[BreakableKafka]:
    """A broker of these tests alone; it forgets idle transactional ids within seconds."""
    settings = {
        "transactional.id.expiration.ms": "2000",
        "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
    }
    with kafka.real_kafka(settings=settings) as cluster:
        yield BreakableKafka(cluster)


@pytest.fixture
async def fragile(own_kafka: BreakableKafka, topic_names: TopicNames) -> AsyncIterator[World]:
    async with a_world(own_kafka.bootstrap, await make_topics(own_kafka.bootstrap, topic_names)) as made:
        yield made
        own_kafka.thaw()


@needs_java
@pytest.mark.parametrize("moment", ["send", "commit"])
async def test_a_frozen_broker_is_given_up_in_time_and_the_batch_is_there_once_afterwards(
    fragile: World, own_kafka: BreakableKafka, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """aiokafka itself would wait for ever, for its sends, its commit and its stop."""
    writer = await fragile.own()
    producer = producer_of(writer)
    assert isinstance(writer, ExactlyOnceWriter)
    sender = writer._sender
    assert isinstance(sender, Transactions)
    sender.send_seconds = sender.commit_seconds = sender.open_seconds = 1.0
    before = asyncio.all_tasks()
    named = "send" if moment == "send" else "commit_transaction"
    proper = getattr(producer, named)

    async def frozen(*arguments: Any, **named_arguments: Any) -> Any:
        own_kafka.freeze()
        return await proper(*arguments, **named_arguments)

    monkeypatch.setattr(producer, named, frozen)
    async with asyncio.timeout(10):
        assert isinstance(await writer.append(WHOLE), Unknown)
        assert isinstance(await writer.append(WHOLE), Unknown)
    assert [task for task in new_tasks(before) if "sender" in task] == []
    own_kafka.thaw()
    sender.open_seconds = sender.send_seconds = sender.commit_seconds = 20.0
    answer: Appended = Unknown("")
    async with asyncio.timeout(40):
        while not isinstance(answer, Committed):
            answer = await writer.append(WHOLE)
            assert not isinstance(answer, BatchRefused)
    assert await fragile.outcomes() == ["r/0/0", "r/0/1"]


@needs_java
async def test_an_id_the_broker_has_forgotten_is_begun_anew(fragile: World) -> None:
    """After `transactional.id.expiration.ms` without work the broker knows the producer no more."""
    writer = await fragile.own()
    first = Batch(1, (Group(records=(JournalRecord("j/0.1/0", None),)),))
    assert isinstance(await writer.append(first), Committed)
    await asyncio.sleep(5)  # two rounds of the broker's own clock; nothing says when it has forgotten
    second = Batch(2, (Group(records=(JournalRecord("j/0.2/0", None),)),))
    answer: Appended = Unknown("")
    async with asyncio.timeout(30):
        while not isinstance(answer, Committed):
            answer = await writer.append(second)
            assert not isinstance(answer, BatchRefused)
    assert await fragile.journal() == ["j/0.1/0", "j/0.2/0"]


@needs_java
async def test_a_claim_that_is_found_in_the_journal_ends_a_writer_without_its_outcome(
    world: World,
) -> None:
    """The group may still count it in: a stranger's claim counts all the same."""
    writer = await world.own()
    stranger = Transactions(world.cluster, f"{world.topics.journal}.0", world.topics)
    await stranger.open()
    claim = ShardRecords(world.topics, 0, world.taken[-1].epoch + 1, "stranger").claim()
    assert isinstance((await stranger.send([claim]))[0], int)
    assert isinstance(await writer.append(WHOLE), Unknown)
    assert isinstance(await writer.append(WHOLE), BatchRefused)
    assert await world.outcomes() == []
    await stranger.close()
