"""Reading the whole journal, other members' partitions too: what it says of tasks, and no aborted record."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaProducer

from service.core.entry import STAMP_HEADER, Stamp, encode_job
from service.core.job import Job, State
from service.errors import RestoreError
from service.kafka import reading
from service.kafka.client import ClusterConfig
from service.kafka.lasting import LastingReader
from service.kafka.outgoing import Outgoing
from service.kafka.producer import Producer
from service.kafka.survey import JournalSurveyor
from service.kafka.topics import Topics
from tests.brokers import TopicNames
from tests.contract.cluster import FETCH_WAIT_MS, make_topics, producer_for, publish_unreadable
from tests.unit.core.samples import job, spec

WANTED = frozenset({"t1", "t2", "t3"})


@dataclass
class World:
    """A journal of three partitions, and who reads it."""

    bootstrap: str
    topics: Topics
    producer: Producer
    surveyor: JournalSurveyor

    async def write(self, partition: int, *entries: Job, epoch: int = 1) -> None:
        """Append entries as an owner of the partition."""
        headers = ((STAMP_HEADER, Stamp(epoch, 1).encode()),)
        for entry in entries:
            outgoing = Outgoing(
                self.topics.journal, str(entry.key).encode(), encode_job(entry), partition, headers
            )
            [offset] = await self.producer.send([outgoing])
            assert isinstance(offset, int), offset


@pytest.fixture
async def world(bootstrap: str, broker_name: str, topic_names: TopicNames) -> AsyncIterator[World]:
    topics = await make_topics(bootstrap, topic_names, partitions=3)
    producer = producer_for(bootstrap, broker_name)
    cluster = ClusterConfig(bootstrap)
    async with LastingReader(cluster, FETCH_WAIT_MS, "read_uncommitted") as watermarks:
        surveyor = JournalSurveyor(cluster, topics.journal, watermarks, FETCH_WAIT_MS)
        yield World(bootstrap, topics, producer, surveyor)
    await producer.kill()


def of(request_id: str, state: State, task_id: str | None = None) -> Job:
    return job(state, spec=spec(request_id=request_id), task_id=task_id)


async def test_every_partition_is_read(world: World) -> None:
    await world.write(0, of("a", State.RUNNING, "t1"), of("b", State.UNCERTAIN))
    await world.write(
        2, of("c", State.RUNNING, "t3"), of("d", State.RUNNING, "t9"), of("e", State.SUBMITTING)
    )
    surveys = await world.surveyor.survey(WANTED)
    assert [each.partition for each in surveys] == [0, 1, 2]
    assert [each.known() for each in surveys] == [{"t1"}, set(), {"t3"}]
    assert [[each.key.request_id for each in survey.in_doubt()] for survey in surveys] == [["b"], [], ["e"]]


async def test_a_journal_longer_than_one_slice_is_read_to_its_end(world: World) -> None:
    await world.write(1, *(of(f"r{number}", State.SUBMITTING) for number in range(250)))
    await world.write(1, *(of(f"r{number}", State.RUNNING, "t2") for number in range(250)))
    surveys = await world.surveyor.survey(WANTED)
    assert surveys[1].in_doubt() == []
    assert surveys[1].known() == {"t2"}


async def test_a_record_that_is_not_ours_is_an_error(world: World) -> None:
    [offset] = await world.producer.send([Outgoing(world.topics.journal, b"r/0/0", b"{", 1, ())])
    with pytest.raises(RestoreError, match=f"partition 1, offset {offset}"):
        await world.surveyor.survey(WANTED)


async def test_a_record_that_cannot_be_read_at_all_is_an_error(world: World) -> None:
    await publish_unreadable(world.bootstrap, world.topics.journal)
    with pytest.raises(RestoreError, match="partition 0, offset 0 is damaged"):
        await world.surveyor.survey(WANTED)


@pytest.mark.needs_java
async def test_what_was_never_committed_says_nothing(kafka_bootstrap: str, topic_names: TopicNames) -> None:
    """A transaction that was aborted may name a task that is looked for."""
    topics = await make_topics(kafka_bootstrap, topic_names)
    entry = of("a", State.RUNNING, "t1")
    stamp = [(STAMP_HEADER, Stamp(1, 1).encode())]
    writer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=topics.journal)
    await writer.start()
    await writer.begin_transaction()
    await writer.send_and_wait(topics.journal, encode_job(entry), b"a/0/0", partition=0, headers=stamp)
    await writer.abort_transaction()
    await writer.stop()
    cluster = ClusterConfig(kafka_bootstrap)
    async with LastingReader(cluster, FETCH_WAIT_MS, "read_uncommitted") as watermarks:
        surveyor = JournalSurveyor(cluster, topics.journal, watermarks, FETCH_WAIT_MS)
        [survey] = await surveyor.survey(WANTED)
    assert survey.known() == set()


@pytest.mark.needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
async def test_an_open_transaction_is_an_error_and_afterwards_what_lies_behind_it_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A survey that ended at the last stable offset would not know the task, and it would be made again."""
    monkeypatch.setattr(reading, "READ_BOUND_SECONDS", 1.0)
    async with AIOKafkaProducer(
        bootstrap_servers=world.bootstrap, transactional_id=f"{world.topics.journal}.stranger"
    ) as stranger:
        await stranger.begin_transaction()
        await stranger.send_and_wait(world.topics.journal, b"{}", b"x/0/0", partition=0)
        await world.write(0, of("a", State.RUNNING, "t1"))
        with pytest.raises(RestoreError, match=r"partition 0 delivers.*find-hanging"):
            await world.surveyor.survey(WANTED)
        await stranger.abort_transaction()
    surveys = await world.surveyor.survey(WANTED)
    assert set().union(*(survey.known() for survey in surveys)) == {"t1"}
