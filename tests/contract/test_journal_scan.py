"""Reading the whole journal, other members' partitions too: what it says of tasks, and no aborted record."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.submission import Intent, Submission, SubmissionState
from service.core.job.transition_context import Rules
from service.core.journal.entries import encode_submission
from service.core.journal.stamp import STAMP_HEADER, Stamp
from service.core.reconciliation import journal_scan as core_scan
from service.core.reconciliation.journal_scan import PartitionScan
from service.errors import ClusterError
from service.kafka.admin.topics import Topics
from service.kafka.client import span_reader
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal import scanner as scan
from service.kafka.journal.scanner import KEPT_MS, JournalScanner
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord
from tests.brokers import TopicNames, admin
from tests.contract.cluster import FETCH_WAIT_MS, make_topics, producer_for, publish_unreadable

NOW_MS = 1_760_000_000_000
WANTED = frozenset({"t1", "t2", "t3"})
RUNNING, INTENDED = SubmissionState.RUNNING, SubmissionState.INTENDED
WAITING, UNCERTAIN = SubmissionState.WAITING, SubmissionState.UNCERTAIN
STAMP = Stamp(1, 1).encode()


def submission(number: int, state: SubmissionState, task_id: str | None = None) -> Submission:
    """A submission that was posted just now."""
    jobs = (JobRef(Origin(0, number), 0),)
    intent = Intent(NOW_MS, 0, 1, f"files {number}")
    key = SubmissionKey(1, number)
    return Submission(key, "fun-asr", jobs, NOW_MS, state=state, intent=intent, task_id=task_id)


@dataclass
class World:
    """A journal of three partitions, and who reads it."""

    bootstrap: str
    topics: Topics
    producer: Producer
    watermarks: ReconnectingReader
    reports: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scanner = self.new_scanner()

    def new_scanner(self) -> JournalScanner:
        return JournalScanner(
            ClusterConfig(self.bootstrap),
            self.topics.journal,
            self.watermarks,
            FETCH_WAIT_MS,
            Rules(),
            lambda partition, why: self.reports.append((partition, why)),
        )

    async def scan(self, since_ms: float = NOW_MS - 10_000) -> Sequence[PartitionScan]:
        return await self.scanner.scan(since_ms, NOW_MS)

    async def write(self, partition: int, *submissions: Submission, stamp: bytes = STAMP) -> None:
        """Append submissions as an owner of the partition."""
        for each in submissions:
            await self.put(partition, str(each.key).encode(), encode_submission(each), stamp)

    async def put(self, partition: int, key: bytes, value: bytes, stamp: bytes = STAMP) -> int:
        """Append any record; its offset."""
        outgoing = ProducerRecord(self.topics.journal, key, value, partition, ((STAMP_HEADER, stamp),))
        [offset] = await self.producer.send([outgoing])
        assert isinstance(offset, int), offset
        return offset


@pytest.fixture
async def world(bootstrap: str, broker_name: str, topic_names: TopicNames) -> AsyncIterator[World]:
    topics = await make_topics(bootstrap, topic_names, partitions=3)
    producer = producer_for(bootstrap, broker_name)
    async with ReconnectingReader(ClusterConfig(bootstrap), FETCH_WAIT_MS, "read_uncommitted") as watermarks:
        yield World(bootstrap, topics, producer, watermarks)
    await producer.kill()


def numbers(found: PartitionScan) -> list[int]:
    return [each.key.number for each in found.unanswered()]


async def test_every_partition_is_read(world: World) -> None:
    await world.write(0, submission(1, RUNNING, "t1"), submission(2, UNCERTAIN))
    await world.write(2, submission(1, RUNNING, "t3"), submission(2, RUNNING, "t9"), submission(3, INTENDED))
    scans = await world.scan()
    assert [each.partition for each in scans] == [0, 1, 2]
    assert [each.known(WANTED) for each in scans] == [{"t1"}, set(), {"t3"}]
    assert [numbers(each) for each in scans] == [[2], [], [3]]
    assert [each.gaps() for each in scans] == [[], [], []]
    assert world.reports == []


async def test_a_journal_longer_than_one_slice_is_read_to_its_end(world: World) -> None:
    await world.write(1, *(submission(number, INTENDED) for number in range(250)))
    await world.write(1, *(submission(number, RUNNING, "t2") for number in range(250)))
    scans = await world.scan()
    assert numbers(scans[1]) == []
    assert scans[1].known(WANTED) == {"t2"}


async def test_a_pass_goes_on_where_the_last_one_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.write(0, submission(1, RUNNING, "t1"), submission(2, INTENDED))
    await world.scan()
    spans: list[tuple[int, int]] = []

    async def read(consumer: object, span: span_reader.OffsetRange, take: object) -> int | None:
        spans.append((span.begin, span.end))
        return await span_reader.read(consumer, span, take)  # type: ignore[arg-type]

    monkeypatch.setattr(scan, "read", read)
    await world.write(0, submission(2, RUNNING, "t2"))
    scans = await world.scan()
    assert spans == [(2, 3)]
    assert (scans[0].known(WANTED), numbers(scans[0])) == ({"t1", "t2"}, [])
    await world.scan()
    assert spans == [(2, 3)]


async def test_who_asks_for_earlier_tasks_than_before_has_all_read_again(world: World) -> None:
    await world.write(0, submission(1, RUNNING, "t1"))
    assert (await world.scan(NOW_MS + 10 * KEPT_MS))[0].known(WANTED) == set()
    assert (await world.scan(NOW_MS - 10_000))[0].known(WANTED) == {"t1"}
    # A little earlier costs nothing, and nothing is forgotten that may be asked for again.
    assert (await world.scan(NOW_MS + KEPT_MS // 2))[0].known(WANTED) == {"t1"}


async def test_a_journal_that_begins_behind_what_was_read_is_read_from_its_beginning(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    topics = await make_topics(
        kafka_bootstrap, topic_names, configs={"journal": {"cleanup.policy": "compact,delete"}}
    )
    producer = producer_for(kafka_bootstrap, "kafka")
    async with ReconnectingReader(
        ClusterConfig(kafka_bootstrap), FETCH_WAIT_MS, "read_uncommitted"
    ) as watermarks:
        world = World(kafka_bootstrap, topics, producer, watermarks)
        await world.write(0, submission(1, INTENDED))
        assert numbers((await world.scan())[0]) == [1]
        await world.write(0, *(submission(number, INTENDED) for number in (2, 3, 4)))
        async with admin(kafka_bootstrap) as client:
            await client.delete_records({TopicPartition(topics.journal, 0): RecordsToDelete(before_offset=3)})
        assert numbers((await world.scan())[0]) == [4]
    await producer.kill()


async def test_a_record_that_cannot_be_read_is_a_gap_of_its_partition_alone(world: World) -> None:
    offset = await world.put(1, b"s/1.1", b"{")
    await world.write(0, submission(1, RUNNING, "t1"))
    await world.write(1, submission(2, RUNNING, "t2"))
    scans = await world.scan()
    assert [each.known(WANTED) for each in scans] == [{"t1"}, {"t2"}, set()]
    assert [len(each.gaps()) for each in scans] == [0, 1, 0]
    assert world.reports == [(1, f"the record at offset {offset} cannot be read")]
    # It is told once, and over once its submission is written anew.
    await world.scan()
    await world.write(1, submission(1, WAITING))
    assert [len(each.gaps()) for each in await world.scan()] == [0, 0, 0]
    assert len(world.reports) == 1


async def test_a_record_that_cannot_be_read_at_all_is_passed_over_as_a_gap(world: World) -> None:
    await world.write(0, submission(1, RUNNING, "t1"))
    await publish_unreadable(world.bootstrap, world.topics.journal)
    await world.write(0, submission(2, RUNNING, "t2"))
    scans = await world.scan()
    assert scans[0].known(WANTED) == {"t1", "t2"}
    assert [len(each.gaps()) for each in scans] == [1, 0, 0]
    assert world.reports == [(0, "the record at offset 1 is damaged")]


async def test_other_records_are_none_of_its_business(world: World) -> None:
    await world.put(0, b"r/0.1", b"{")
    await world.put(0, b"\xff", b"", b"")
    scans = await world.scan()
    assert scans[0].gaps() == []
    await world.put(0, b"~owner/2", b"?", b"2.0.99")
    await world.write(0, submission(1, RUNNING, "t1"))
    assert (await world.scan())[0].known(WANTED) == set()


async def test_a_journal_that_is_not_there_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_topic: str) -> list[int]:
        raise ClusterError("away")

    monkeypatch.setattr(world.watermarks, "partitions_of", away)
    with pytest.raises(ClusterError):
        await world.scan()


async def test_a_partition_whose_leader_is_away_keeps_no_other_from_being_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.write(2, submission(1, RUNNING, "t1"))
    end_offset = world.watermarks.end_offset

    async def away(partition: TopicPartition) -> int:
        if partition.partition == 0:
            raise ClusterError("away")
        return await end_offset(partition)

    monkeypatch.setattr(world.watermarks, "end_offset", away)
    scans = await world.scan()
    assert scans[2].known(WANTED) == {"t1"}
    assert [each.is_behind for each in scans] == [True, False, False]
    assert world.reports == [(0, "away")]


@pytest.mark.needs_java
async def test_what_the_broker_took_before_any_time_that_matters_is_not_decoded(
    kafka_bootstrap: str, topic_names: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass of a process reads whole journals, of a day: they are passed over."""
    stamped = {"journal": {"message.timestamp.type": "LogAppendTime"}}
    topics = await make_topics(kafka_bootstrap, topic_names, configs=stamped)
    producer = producer_for(kafka_bootstrap, "kafka")
    decoded: list[str] = []
    monkeypatch.setattr(core_scan, "decode", lambda key, _value: decoded.append(key))
    async with ReconnectingReader(
        ClusterConfig(kafka_bootstrap), FETCH_WAIT_MS, "read_uncommitted"
    ) as watermarks:
        world = World(kafka_bootstrap, topics, producer, watermarks)
        await world.write(0, submission(1, INTENDED))
        await world.scan(1000 * time.time() + 2 * KEPT_MS)
        assert decoded == []
        await world.scan(1000 * time.time())
        assert decoded == ["s/1.1"]
    await producer.kill()


async def test_a_journal_that_was_made_anew_is_read_from_its_beginning(world: World) -> None:
    await world.write(0, submission(1, RUNNING, "t1"))
    [scan_of_0, *_] = await world.scan()
    scan_of_0.position = 5
    await world.write(0, submission(2, RUNNING, "t2"))
    assert (await world.scan())[0].known(WANTED) == {"t1", "t2"}


@pytest.mark.needs_java
async def test_what_was_never_committed_says_nothing(kafka_bootstrap: str, topic_names: TopicNames) -> None:
    """A transaction that was aborted may name a task that is looked for."""
    topics = await make_topics(kafka_bootstrap, topic_names)
    entry = submission(1, RUNNING, "t1")
    writer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=topics.journal)
    await writer.start()
    await writer.begin_transaction()
    await writer.send_and_wait(
        topics.journal, encode_submission(entry), b"s/1.1", partition=0, headers=[(STAMP_HEADER, STAMP)]
    )
    await writer.abort_transaction()
    await writer.stop()
    producer = producer_for(kafka_bootstrap, "kafka")
    async with ReconnectingReader(
        ClusterConfig(kafka_bootstrap), FETCH_WAIT_MS, "read_uncommitted"
    ) as watermarks:
        world = World(kafka_bootstrap, topics, producer, watermarks)
        [found] = await world.scan()
    await producer.kill()
    assert (found.known(WANTED), found.gaps()) == (set(), [])


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
async def test_behind_an_open_transaction_there_may_be_more_and_afterwards_it_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan that ended at the last stable offset would not know the task, and it would be made again."""
    monkeypatch.setattr(span_reader, "READ_BOUND_SECONDS", 1.0)
    await world.write(0, submission(2, RUNNING, "t2"))
    await world.write(1, submission(1, RUNNING, "t3"))
    async with AIOKafkaProducer(
        bootstrap_servers=world.bootstrap, transactional_id=f"{world.topics.journal}.stranger"
    ) as stranger:
        await stranger.begin_transaction()
        await stranger.send_and_wait(world.topics.journal, b"{}", b"x/0/0", partition=0)
        await world.write(0, submission(1, RUNNING, "t1"))
        scans = await world.scan()
        assert [each.is_behind for each in scans] == [True, False, False]
        assert set().union(*(each.known(WANTED) for each in scans)) == {"t2", "t3"}
        [(partition, why)] = world.reports
        assert (partition, "find-hanging" in why) == (0, True)
        await stranger.abort_transaction()
    scans = await world.scan()
    assert set().union(*(each.known(WANTED) for each in scans)) == {"t1", "t2", "t3"}
    assert scans[0].gaps() == []


async def test_the_loop_turns_while_a_long_journal_is_read(world: World) -> None:
    await asyncio.gather(
        *(world.write(1, *(submission(1_000 * part + n, INTENDED) for n in range(100))) for part in range(5))
    )
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(turn())
    await world.scan()
    ticking.cancel()
    assert turns >= 500 // span_reader.SLICE_RECORDS
