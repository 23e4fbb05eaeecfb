"""What the project takes for granted about its two brokers, shown on each of them with aiokafka.

Where they differ, the difference has a test of its own: a new version that changes it is to be noticed.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber, UnknownError
from aiokafka.structs import OffsetAndMetadata

from tests.brokers import TopicNames, admin, create_topics

needs_java = pytest.mark.needs_java

MIB = 1024 * 1024
OK, UNKNOWN_TOPIC, TOPIC_EXISTS, BAD_REPLICATION, BAD_CONFIG = 0, 3, 36, 38, 40


async def read_to_end(bootstrap: str, partition: TopicPartition, **options: Any) -> list[ConsumerRecord]:
    """All records from the partition's first to its end at the time of the call, without a group."""
    options = {"fetch_max_wait_ms": 20, **options}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **options) as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, 0)
        records: list[ConsumerRecord] = []
        async with asyncio.timeout(60):
            while await consumer.position(partition) < end:
                for fetched in (await consumer.getmany(partition, timeout_ms=1_000)).values():
                    records += fetched
        return records


async def described(bootstrap: str, topic: str) -> tuple[int, dict[str, str]]:
    """Error code and settings that the broker tells of a topic."""
    async with admin(bootstrap) as client:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    code, _message, _kind, _name, entries = answer.resources[0]
    return code, {entry[0]: entry[1] for entry in entries}


async def creation_code(bootstrap: str, topic: NewTopic) -> int:
    async with admin(bootstrap) as client:
        answer = await client.create_topics([topic])
    code: int = answer.topic_errors[0][1]
    return code


async def all_topics(bootstrap: str) -> set[str]:
    async with admin(bootstrap) as client:
        return set(await client.list_topics())


async def eventually(holds: Callable[[], bool]) -> None:
    """Return when it holds; fail after 20 s."""
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not come true within 20 s")


# -- the same on both brokers ---------------------------------------------------------------------------


async def test_topics_get_the_partitions_that_were_asked_for(bootstrap: str, topic_names: TopicNames) -> None:
    one, five = topic_names("one", "five")
    await create_topics(bootstrap, {one: 1, five: 5})
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        assert await producer.partitions_for(one) == {0}
        assert await producer.partitions_for(five) == {0, 1, 2, 3, 4}


async def test_creating_a_topic_again_is_refused_by_its_own_code(
    bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 2})
    assert await creation_code(bootstrap, NewTopic(topic, 2, 1)) == TOPIC_EXISTS


async def test_settings_given_at_creation_can_be_read_back(bootstrap: str, topic_names: TopicNames) -> None:
    (topic,) = topic_names("journal")
    wanted = {
        "cleanup.policy": "compact",
        "max.message.bytes": str(16 * MIB),
        "segment.bytes": str(32 * MIB),
        "segment.ms": "3600000",
        "min.cleanable.dirty.ratio": "0.1",
        "min.compaction.lag.ms": "600000",
        "max.compaction.lag.ms": "3600000",
        "delete.retention.ms": "86400000",
    }
    await create_topics(bootstrap, {topic: 1}, wanted)
    code, settings = await described(bootstrap, topic)
    assert code == OK
    assert {name: settings.get(name) for name in wanted} == wanted


async def test_a_record_keeps_partition_key_headers_and_timestamp(
    bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 3})
    headers = [("traceparent", b"\x00\xff"), ("twice", b"1"), ("twice", b"2"), ("empty", b"")]
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        sent = await producer.send_and_wait(
            topic, b"v", key=b"k", partition=2, timestamp_ms=1_700_000_000_123, headers=headers
        )
    assert (sent.partition, sent.offset) == (2, 0)
    (record,) = await read_to_end(bootstrap, TopicPartition(topic, 2))
    assert (record.key, record.value, record.timestamp) == (b"k", b"v", 1_700_000_000_123)
    assert list(record.headers) == headers


async def test_a_null_value_stays_null_and_an_empty_one_empty(
    bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1}, {"cleanup.policy": "compact"})
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in (b"v", None, b""):
            await producer.send_and_wait(topic, value, key=b"k")
    records = await read_to_end(bootstrap, TopicPartition(topic, 0))
    assert [record.value for record in records] == [b"v", None, b""]


async def test_a_large_gzip_record_comes_back_byte_for_byte(bootstrap: str, topic_names: TopicNames) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    value = os.urandom(1_000_000)  # it does not compress, so the broker's default limit is nearly met
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type="gzip", max_request_size=32 * MIB
    ) as producer:
        await producer.send_and_wait(topic, value)
    (record,) = await read_to_end(bootstrap, TopicPartition(topic, 0))
    assert record.value == value


async def test_the_size_limit_of_a_topic_counts_compressed_bytes(
    bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="gzip", max_request_size=32 * MIB
    ) as producer:
        await producer.send_and_wait(topic, bytes(20 * MIB))
    (record,) = await read_to_end(bootstrap, TopicPartition(topic, 0))
    assert len(record.value) == 20 * MIB


async def test_a_record_over_the_producers_own_limit_is_refused_before_it_is_sent(
    bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="gzip", max_request_size=MIB
    ) as producer:
        with pytest.raises(MessageSizeTooLargeError, match="max_request_size"):
            await producer.send(topic, bytes(MIB), partition=0)  # the limit counts uncompressed bytes
        assert (await producer.send_and_wait(topic, b"small", partition=0)).offset == 0


async def test_a_partition_is_read_from_its_start_to_its_end_without_a_group(
    bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 2})
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5) as producer:
        sends = [await producer.send(topic, b"%d" % n, partition=1) for n in range(1_000)]
        await asyncio.gather(*sends)
    records = await read_to_end(bootstrap, TopicPartition(topic, 1))
    assert [(record.offset, record.value) for record in records] == [(n, b"%d" % n) for n in range(1_000)]


async def test_an_empty_partition_has_equal_ends_and_an_empty_poll(
    bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(bootstrap, {topic: 1})
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=20) as consumer:
        consumer.assign([partition])
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 0}
        consumer.seek(partition, 0)
        async with asyncio.timeout(60):
            assert await consumer.getmany(partition, timeout_ms=50) == {}


async def test_committed_offsets_are_read_back_by_the_next_member(
    bootstrap: str, topic_names: TopicNames, session_timeout_ms: int
) -> None:
    topic, group = topic_names("topic", "group")
    await create_topics(bootstrap, {topic: 2})
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    for found, commit in ((None, 7), (7, 8)):
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=group, session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=200, enable_auto_commit=False, auto_offset_reset="earliest",
        ) as consumer:  # fmt: skip
            assert await consumer.committed(zero) == found
            await consumer.commit({zero: commit})
            assert await consumer.committed(zero) == commit
            assert await consumer.committed(one) is None


async def test_a_group_shares_partitions_and_takes_back_those_of_a_member_that_left(
    bootstrap: str, topic_names: TopicNames, session_timeout_ms: int
) -> None:
    topic, group = topic_names("topic", "group")
    await create_topics(bootstrap, {topic: 4})
    everything = {TopicPartition(topic, n) for n in range(4)}
    member: Mapping[str, Any] = {
        "bootstrap_servers": bootstrap,
        "group_id": group,
        "session_timeout_ms": session_timeout_ms,
        "heartbeat_interval_ms": 200,
        "auto_offset_reset": "earliest",
    }
    async with AIOKafkaConsumer(topic, **member) as first:
        assert first.assignment() == everything
        async with AIOKafkaConsumer(topic, **member) as second:
            await eventually(lambda: len(first.assignment()) == len(second.assignment()) == 2)
            assert first.assignment() | second.assignment() == everything
        await eventually(lambda: first.assignment() == everything)


# -- real Kafka alone ------------------------------------------------------------------------------------


@needs_java
async def test_real_kafka_tells_the_defaults_of_a_topic(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(kafka_bootstrap, {topic: 1})
    code, settings = await described(kafka_bootstrap, topic)
    assert code == OK
    assert settings["cleanup.policy"] == "delete"
    assert int(settings["max.message.bytes"]) == 1_048_588


@needs_java
async def test_real_kafka_says_that_a_topic_is_unknown(kafka_bootstrap: str, topic_names: TopicNames) -> None:
    (topic,) = topic_names("never-created")
    assert await described(kafka_bootstrap, topic) == (UNKNOWN_TOPIC, {})


@needs_java
async def test_real_kafka_refuses_settings_and_replicas_it_cannot_give(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    policy, copies = topic_names("policy", "copies")
    nonsense = NewTopic(policy, 1, 1, topic_configs={"cleanup.policy": "nonsense"})
    assert await creation_code(kafka_bootstrap, nonsense) == BAD_CONFIG
    assert await creation_code(kafka_bootstrap, NewTopic(copies, 1, 100)) == BAD_REPLICATION


@needs_java
async def test_real_kafka_takes_20_mib_where_the_topic_allows_it(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("large")
    await create_topics(kafka_bootstrap, {topic: 1}, {"max.message.bytes": str(32 * MIB)})
    value = os.urandom(20 * MIB)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka_bootstrap, acks="all", max_request_size=32 * MIB
    ) as producer:
        await producer.send_and_wait(topic, value)
    # The consumer's default fetch size (1 MiB) does not stand in the way of a larger record.
    (record,) = await read_to_end(kafka_bootstrap, TopicPartition(topic, 0))
    assert record.value == value


@needs_java
async def test_real_kafka_refuses_a_record_over_the_topics_limit_by_its_own_error(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("default-limit")
    await create_topics(kafka_bootstrap, {topic: 1})
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, max_request_size=32 * MIB) as producer:
        refused = await producer.send(topic, os.urandom(20 * MIB), partition=0)
        with pytest.raises(MessageSizeTooLargeError) as caught:
            await refused
        assert not caught.value.args, "the refusal of the producer itself has a text, this one has none"
        assert (await producer.send_and_wait(topic, b"small", partition=0)).offset == 0


@needs_java
async def test_a_refused_record_leaves_an_idempotent_producer_useless_for_its_partition(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("default-limit")
    await create_topics(kafka_bootstrap, {topic: 2})
    options = {"bootstrap_servers": kafka_bootstrap, "max_request_size": 32 * MIB, "enable_idempotence": True}
    async with AIOKafkaProducer(**options) as producer:
        await producer.send_and_wait(topic, b"first", partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, os.urandom(2 * MIB), partition=0)
        for _ in range(2):
            with pytest.raises(OutOfOrderSequenceNumber):
                await producer.send_and_wait(topic, b"small", partition=0)
        assert (await producer.send_and_wait(topic, b"elsewhere", partition=1)).offset == 0
    async with AIOKafkaProducer(**options) as successor:
        assert (await successor.send_and_wait(topic, b"small", partition=0)).offset == 1


@needs_java
async def test_real_kafka_serves_an_idempotent_producer(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("topic")
    await create_topics(kafka_bootstrap, {topic: 1})
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, enable_idempotence=True) as producer:
        sends = [await producer.send(topic, b"%d" % n, partition=0) for n in range(100)]
        await asyncio.gather(*sends)
    records = await read_to_end(kafka_bootstrap, TopicPartition(topic, 0))
    assert [record.value for record in records] == [b"%d" % n for n in range(100)]


@needs_java
async def test_real_kafka_keeps_what_is_committed_with_an_offset(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    topic, group = topic_names("topic", "group")
    await create_topics(kafka_bootstrap, {topic: 1})
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        await consumer.commit({partition: OffsetAndMetadata(3, "note")})
    async with admin(kafka_bootstrap) as client:
        assert await client.list_consumer_group_offsets(group) == {partition: OffsetAndMetadata(3, "note")}


@needs_java
async def test_real_kafka_hides_open_and_aborted_transactions_from_read_committed(
    kafka_bootstrap: str, topic_names: TopicNames
) -> None:
    topic, name = topic_names("topic", "transactional-id")
    await create_topics(kafka_bootstrap, {topic: 1})
    partition = TopicPartition(topic, 0)

    async def ends() -> list[int]:
        found = []
        for isolation in ("read_uncommitted", "read_committed"):
            async with AIOKafkaConsumer(
                bootstrap_servers=kafka_bootstrap, isolation_level=isolation
            ) as consumer:
                found.append((await consumer.end_offsets([partition]))[partition])
        return found

    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=name) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", partition=0)
        assert await ends() == [1, 0], "high watermark and last stable offset of an open transaction"
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed", partition=0)
    assert await ends() == [4, 4], "two records and their two markers"
    committed = await read_to_end(kafka_bootstrap, partition, isolation_level="read_committed")
    assert [(record.offset, record.value) for record in committed] == [(2, b"committed")]


# -- the embedded broker alone: what must not be asked of it ----------------------------------------------


@pytest.mark.parametrize("options", [{"enable_idempotence": True}, {"transactional_id": "any"}])
async def test_embedded_refuses_idempotent_and_transactional_producers_at_their_start(
    embedded_bootstrap: str, options: dict[str, Any]
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=embedded_bootstrap, **options)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(UnknownError):
                await producer.start()
    finally:
        await producer.stop()


async def test_embedded_tells_only_the_settings_given_at_creation(
    embedded_bootstrap: str, topic_names: TopicNames
) -> None:
    plain, given, unknown = topic_names("plain", "given", "never-created")
    await create_topics(embedded_bootstrap, {plain: 1})
    await create_topics(embedded_bootstrap, {given: 1}, {"cleanup.policy": "nonsense"})
    assert await described(embedded_bootstrap, plain) == (OK, {})
    assert await described(embedded_bootstrap, given) == (OK, {"cleanup.policy": "nonsense"})
    assert await described(embedded_bootstrap, unknown) == (OK, {})
    assert unknown not in await all_topics(embedded_bootstrap)


async def test_embedded_creates_a_topic_when_a_client_asks_about_it(
    embedded_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("asked-for")
    assert topic not in await all_topics(embedded_bootstrap)
    async with admin(embedded_bootstrap) as client:
        (found,) = await client.describe_topics([topic])
    assert (found["error_code"], len(found["partitions"])) == (OK, 4)
    assert topic in await all_topics(embedded_bootstrap)


async def test_embedded_has_no_limit_on_the_size_of_a_record(
    embedded_bootstrap: str, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("default-limit")
    await create_topics(embedded_bootstrap, {topic: 1}, {"max.message.bytes": "1000"})
    value = os.urandom(20 * MIB)
    async with AIOKafkaProducer(bootstrap_servers=embedded_bootstrap, max_request_size=32 * MIB) as producer:
        await producer.send_and_wait(topic, value)
    (record,) = await read_to_end(embedded_bootstrap, TopicPartition(topic, 0))
    assert record.value == value


async def test_embedded_drops_what_is_committed_with_an_offset(
    embedded_bootstrap: str, topic_names: TopicNames
) -> None:
    topic, group = topic_names("topic", "group")
    await create_topics(embedded_bootstrap, {topic: 1})
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=embedded_bootstrap, group_id=group, enable_auto_commit=False,
        session_timeout_ms=2_000, heartbeat_interval_ms=200,
    ) as consumer:  # fmt: skip
        await consumer.commit({partition: OffsetAndMetadata(3, "note")})
    async with admin(embedded_bootstrap) as client:
        found = await client.list_consumer_group_offsets(group, partitions=[partition])
    assert found == {partition: OffsetAndMetadata(3, "")}
