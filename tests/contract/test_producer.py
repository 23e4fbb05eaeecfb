"""The producer: bounded in time whatever the cluster does, whole again afterwards, gone when stopped."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest

from sandbox import kafka
from sandbox.child import free_ports
from service.errors import ConfigError, PublishError, RecordTooLarge
from service.kafka.client import lifecycle
from service.kafka.client.cluster import ClusterConfig
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord
from tests.brokers import TopicNames, create_topics
from tests.contract.cluster import (
    Breakable,
    BreakableEmbedded,
    BreakableKafka,
    breakable_embedded,
    connections_to,
    eventually,
    new_tasks,
    records_of,
)

needs_java = pytest.mark.needs_java
SHORT_SECONDS = 0.3
"""The bound of a producer whose broker has gone."""
FAR_SECONDS = 30.0
"""Longer than any bound of these tests, shorter than any of aiokafka's own waits (40 s)."""


@pytest.fixture(autouse=True)
def no_complaint_of_asyncio(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No failed callback and no answer that nobody looked at."""
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


class MakeProducer(Protocol):
    def __call__(self, bootstrap: str, *, idempotent: bool, bound_seconds: float = ...) -> Producer: ...


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[BreakableKafka]:
    with kafka.real_kafka() as cluster:
        yield BreakableKafka(cluster)


@pytest.fixture
def embedded() -> Iterator[BreakableEmbedded]:
    with breakable_embedded() as broker:
        yield broker


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=needs_java)])
def broker(request: pytest.FixtureRequest) -> Iterator[Breakable]:
    made: Breakable = request.getfixturevalue("own_kafka" if request.param == "kafka" else "embedded")
    yield made
    made.thaw()


@pytest.fixture
async def make_producer() -> AsyncIterator[MakeProducer]:
    """`make_producer(bootstrap, idempotent=..., bound_seconds=...)`: killed at the end of the test."""
    made: list[Producer] = []

    def make(bootstrap: str, *, idempotent: bool, bound_seconds: float = FAR_SECONDS) -> Producer:
        producer = Producer(ClusterConfig(bootstrap), idempotent=idempotent, bound_seconds=bound_seconds)
        made.append(producer)
        return producer

    yield make
    for producer in made:
        await producer.kill()


@pytest.fixture
def producer(broker: Breakable, make_producer: MakeProducer) -> Producer:
    """For a broker that will break: idempotent where the broker can."""
    return make_producer(broker.bootstrap, idempotent=isinstance(broker, BreakableKafka))


@pytest.fixture
def steady(bootstrap: str, broker_name: str, make_producer: MakeProducer) -> Producer:
    """For a broker that works."""
    return make_producer(bootstrap, idempotent=broker_name == "kafka")


def one(topic: str, value: bytes = b"v", partition: int | None = 0) -> ProducerRecord:
    return ProducerRecord(topic, b"k", value, partition)


def has_unsent_bytes(producer: Producer) -> bool:
    """Whether the peer takes no more of what is being sent."""
    assert producer._producer is not None
    connections = producer._producer.client._conns.values()
    return any(each._writer.transport.get_write_buffer_size() for each in connections if each._writer)


async def test_against_nothing_the_start_says_what_to_check(make_producer: MakeProducer) -> None:
    [port] = free_ports(1)
    producer = make_producer(f"127.0.0.1:{port}", idempotent=True)
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(
            ConfigError, match=rf"Kafka at 127.0.0.1:{port} does not answer .*BOOTSTRAP_SERVERS"
        ):
            await producer.start()


async def test_against_a_frozen_broker_the_start_is_bounded(broker: Breakable, producer: Producer) -> None:
    before = asyncio.all_tasks()
    broker.freeze()
    producer._bound_seconds = SHORT_SECONDS
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError, match="no answer in time"):
            await producer.start()
    assert new_tasks(before) == []


async def test_a_broker_without_idempotence_is_refused_with_the_setting_to_change(
    embedded: Breakable,
) -> None:
    producer = Producer(ClusterConfig(embedded.bootstrap), idempotent=True)
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError, match="SCRIBE_KAFKA__IDEMPOTENT=false"):
            await producer.start()
    assert new_tasks(before) == []


async def test_a_send_to_a_frozen_broker_fails_in_time_and_the_next_one_succeeds(
    broker: Breakable, producer: Producer, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(broker.bootstrap, {topic: 1})
    await producer.start()
    assert await producer.send([one(topic)]) == [0]
    broker.freeze()
    producer._bound_seconds = SHORT_SECONDS
    async with asyncio.timeout(FAR_SECONDS):
        [answer] = await producer.send([one(topic)])
    assert isinstance(answer, PublishError)
    assert "no answer in time" in str(answer)
    broker.thaw()
    producer._bound_seconds = FAR_SECONDS
    async with asyncio.timeout(FAR_SECONDS):
        while isinstance((await producer.send([one(topic, b"after")]))[0], PublishError):
            continue
    # What was given up may still arrive, also behind what was sent later.
    assert b"after" in [record.value for record in await records_of(broker.bootstrap, topic)]


async def test_a_send_to_a_killed_broker_fails_in_time_and_succeeds_once_it_is_back(
    embedded: BreakableEmbedded, topic_names: TopicNames, make_producer: MakeProducer
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(embedded.bootstrap, {topic: 1})
    producer = make_producer(embedded.bootstrap, idempotent=False)
    assert await producer.send([one(topic)]) == [0]
    embedded.kill()
    producer._bound_seconds = SHORT_SECONDS
    async with asyncio.timeout(FAR_SECONDS):
        for _ in range(3):  # the old connection, then none
            [answer] = await producer.send([one(topic)])
            assert isinstance(answer, PublishError)
    embedded.restart()
    await create_topics(embedded.bootstrap, {topic: 1})
    async with asyncio.timeout(FAR_SECONDS):
        while isinstance((await producer.send([one(topic, b"after")]))[0], PublishError):
            continue
    assert [record.value for record in await records_of(embedded.bootstrap, topic)] == [b"after"]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_producer_that_is_ended_in_an_outage_leaves_no_task_and_no_connection(
    broker: Breakable,
    topic_names: TopicNames,
    make_producer: MakeProducer,
    end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(broker.bootstrap, {topic: 1})
    idempotent = isinstance(broker, BreakableKafka)
    producer = make_producer(broker.bootstrap, idempotent=idempotent, bound_seconds=40.0)
    before = asyncio.all_tasks()
    connections = connections_to(broker.bootstrap)
    await producer.send([one(topic)])
    assert connections_to(broker.bootstrap) > connections
    broker.freeze()
    # More than the sockets' buffers hold: a connection that closes as usual would wait for them to empty.
    noise = random.Random(1).randbytes(20 * 2**20)
    sending = asyncio.gather(producer.send([one(topic, noise), *2 * [one(topic, bytes(300_000))]]))
    await eventually(lambda: has_unsent_bytes(producer))
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.5)
    async with asyncio.timeout(FAR_SECONDS):
        await (producer.stop() if end == "stop" else producer.kill())
        [answers] = await sending
    assert all(isinstance(answer, PublishError) for answer in answers)
    assert new_tasks(before) == []
    assert connections_to(broker.bootstrap) == connections


@pytest.mark.parametrize("is_in_flight", [False, True])
async def test_a_producer_that_is_killed_while_it_connects_again_leaves_no_task(
    embedded: BreakableEmbedded, topic_names: TopicNames, make_producer: MakeProducer, is_in_flight: bool
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(embedded.bootstrap, {topic: 1})
    producer = make_producer(embedded.bootstrap, idempotent=False, bound_seconds=40.0)
    await producer.send([one(topic)])
    before = asyncio.all_tasks()
    if is_in_flight:
        embedded.freeze()
    sending = asyncio.gather(producer.send([one(topic)]))
    await asyncio.sleep(0.05 if is_in_flight else 0)
    embedded.kill()
    calls: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    port = int(embedded.bootstrap.rpartition(":")[2])
    silent = await asyncio.start_server(lambda _, writer: calls.put_nowait(writer), "127.0.0.1", port)
    async with asyncio.timeout(FAR_SECONDS):
        call = await calls.get()
        await asyncio.sleep(0.2)  # it has tried, and waits to try again
        await producer.kill()
        [[answer]] = await sending
    assert isinstance(answer, PublishError)
    assert new_tasks(before) == []
    call.close()
    silent.close()


async def test_a_stopped_producer_has_flushed(
    bootstrap: str, steady: Producer, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    assert await steady.send([one(topic)]) == [0]
    sending = asyncio.gather(steady.send([one(topic) for _ in range(100)]))
    await asyncio.sleep(0)
    await steady.stop()
    [answers] = await sending
    assert answers == list(range(1, 101))


async def test_many_shards_send_at_once_and_each_gets_its_own_offsets(
    bootstrap: str, steady: Producer, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 12})
    answers = await asyncio.gather(
        *(steady.send([one(topic, b"v%d" % n, shard) for n in range(20)]) for shard in range(12))
    )
    assert answers == [list(range(20))] * 12


async def test_a_missing_partition_is_reported_and_delays_no_other(
    bootstrap: str, steady: Producer, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    answers = await steady.send([one(topic, b"a"), one(topic, b"b", 1), one(topic, b"c")])
    assert [answers[0], answers[2]] == [0, 1]
    assert str(answers[1]) == f"{topic} has no partition 1"
    assert await steady.partitions(topic) == {0}


@needs_java
async def test_a_topic_that_is_not_there_is_waited_for_within_the_request_timeout(
    kafka_bootstrap: str,
) -> None:
    cluster = ClusterConfig(kafka_bootstrap, request_timeout_ms=500)
    producer = Producer(cluster, idempotent=True, bound_seconds=FAR_SECONDS)
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        [answer] = await producer.send([one("no-such-topic")])
        assert "UnknownTopicOrPartition" in str(answer)
        with pytest.raises(PublishError, match="no-such-topic"):
            await producer.partitions("no-such-topic")
    await producer.stop()
    assert new_tasks(before) == []


@needs_java
async def test_a_record_refused_for_its_size_delays_no_other(
    kafka_bootstrap: str, topic_names: TopicNames, make_producer: MakeProducer
) -> None:
    """An idempotent producer is replaced after a refusal; what others have in flight must arrive."""
    small, roomy = topic_names("small", "roomy")
    await create_topics(kafka_bootstrap, {small: 1}, {"max.message.bytes": "1000"})
    await create_topics(kafka_bootstrap, {roomy: 1})
    producer = make_producer(kafka_bootstrap, idempotent=True)
    await producer.start()
    incompressible = random.Random(1).randbytes(5_000)
    refused, *others = await asyncio.gather(
        producer.send([one(small, incompressible)]),
        *(producer.send([one(roomy, bytes(100_000)) for _ in range(10)]) for _ in range(5)),
    )
    assert isinstance(refused[0], RecordTooLarge)
    assert {offset for answers in others for offset in answers} == set(range(50))
    assert await producer.send([one(small, b"fits")]) == [0]


async def test_a_record_over_our_own_limit_is_refused_without_being_sent(
    bootstrap: str, steady: Producer, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    answers = await steady.send([one(topic, b"a"), one(topic, bytes(33 * 2**20)), one(topic, b"c")])
    assert isinstance(answers[1], RecordTooLarge)
    assert [answers[0], answers[2]] == [0, 1]


async def test_a_producer_whose_sending_task_has_died_is_replaced(
    bootstrap: str, steady: Producer, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    assert await steady.send([one(topic)]) == [0]
    inner = steady._producer
    assert inner is not None
    inner._sender.sender_task.cancel()
    await asyncio.wait({inner._sender.sender_task}, timeout=FAR_SECONDS)
    assert await steady.send([one(topic)]) == [1]


async def test_a_send_that_is_cancelled_disturbs_no_other(
    bootstrap: str, steady: Producer, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 2})
    await steady.start()
    cancelled = asyncio.gather(steady.send([one(topic, bytes(100_000)) for _ in range(10)]))
    other = asyncio.gather(steady.send([one(topic, b"v", 1) for _ in range(10)]))
    await asyncio.sleep(0)
    cancelled.cancel()
    [answers] = await other
    assert answers == list(range(10))
