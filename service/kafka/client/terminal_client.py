"""The command line's Kafka client: publishes one record, follows the outcomes, joins no group.

Every wait is bounded, and a cluster that does not answer raises a `ConfigError` with a message.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import murmur2

from service.clock import SYSTEM_CLOCK, Clock
from service.core.job.request_record import Record
from service.errors import ConfigError
from service.kafka.client.cluster import ClusterConfig, Connection, reaching
from service.kafka.client.consumer_records import to_record
from service.kafka.client.lifecycle import close_admin, close_consumer, stop_producer

REQUEST_TIMEOUT_MS = 10_000
"""Timeout of one call: a user is waiting; the service has its own bound."""
BOUND_SECONDS = 14.0
"""Bound for all work before the user gets an answer."""
IDLE_SECONDS = 3.0
"""After this long without a record, the cluster is probed."""
PROBE_SECONDS = 6.0
"""Bound of the probe: aiokafka would retry for as long as it may."""
POLL_MS = 500
"""How soon an interrupt from the keyboard is noticed."""
CHECKS = 10
"""Checks for missing topics before they are reported as missing."""
CHECK_SECONDS = 0.2
"""Between two of these checks."""


class Publisher:
    """Publishes single records, each acknowledged by all replicas before the next."""

    def __init__(self, cluster: ClusterConfig, topic: str, producer: AIOKafkaProducer) -> None:
        self._cluster = cluster
        self._topic = topic
        self._producer = producer

    async def publish(
        self, key: bytes, value: bytes, headers: Collection[tuple[str, bytes | None]] = ()
    ) -> tuple[int, int]:
        """Publish one record; its key decides the partition, as in Java.

        Returns its partition and its offset. Raises `ConfigError`; the record may be there then.
        """
        async with reaching(self._cluster), asyncio.timeout(BOUND_SECONDS):
            placed = await self._producer.send_and_wait(self._topic, value, key, headers=list(headers))
            return (placed.partition, placed.offset)


@asynccontextmanager
async def publishing(
    cluster: ClusterConfig, topic: str, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Publisher]:
    """A publisher to an existing topic; raises `ConfigError`."""
    async with AsyncExitStack() as opened:
        async with reaching(cluster), asyncio.timeout(BOUND_SECONDS):
            await _partitions(cluster, [topic], clock)
            producer = AIOKafkaProducer(**_connection(cluster), acks="all", max_request_size=1024 * 1024)
            opened.push_async_callback(stop_producer, producer)
            await producer.start()
        yield Publisher(cluster, topic, producer)


async def publish(
    cluster: ClusterConfig,
    topic: str,
    key: bytes,
    value: bytes,
    headers: Collection[tuple[str, bytes]] = (),
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[int, int]:
    """Publish one record as `Publisher` does."""
    async with publishing(cluster, topic, clock) as publisher:
        return await publisher.publish(key, value, headers)


async def partitions_of(
    cluster: ClusterConfig, topics: Collection[str], clock: Clock = SYSTEM_CLOCK
) -> list[TopicPartition]:
    """The partitions of the topics; raises `ConfigError` if one is missing or the cluster does not answer."""
    async with reaching(cluster), asyncio.timeout(BOUND_SECONDS):
        return await _partitions(cluster, topics, clock)


def of_key(partitions: Iterable[TopicPartition], topic: str, key: bytes) -> TopicPartition:
    """The topic's partition for a key, as Java's clients and Scribe place it."""
    found = sorted(each for each in partitions if each.topic == topic)
    return found[(murmur2(key) & 0x7FFFFFFF) % len(found)]


@asynccontextmanager
async def following(
    cluster: ClusterConfig,
    topics: Collection[str],
    fetch_max_wait_ms: int,
    *,
    since_ms: int | None = None,
    key: bytes | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[AsyncIterator[Record]]:
    """The records of the topics since a time (0: all), or from the moment the block is entered.

    With a key, only the partition of each topic that this key leads to.

    The positions are read before the block begins, so no record published inside is missed. The iterator
    never ends; it raises `ConfigError` if the cluster becomes unreachable.
    """
    async with AsyncExitStack() as opened:
        async with reaching(cluster):
            async with asyncio.timeout(BOUND_SECONDS):
                consumer = _consumer(cluster, fetch_max_wait_ms)
                opened.push_async_callback(close_consumer, consumer)
                await consumer.start()
                partitions = await _partitions(cluster, topics, clock)
                wanted = partitions if key is None else [of_key(partitions, each, key) for each in topics]
                await _place(consumer, wanted, since_ms)
        yield await opened.enter_async_context(aclosing(_records(consumer, cluster)))


def _consumer(cluster: ClusterConfig, fetch_max_wait_ms: int) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **_connection(cluster),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=fetch_max_wait_ms,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )


async def _place(consumer: AIOKafkaConsumer, partitions: list[TopicPartition], since_ms: int | None) -> None:
    consumer.assign(partitions)
    look_up = consumer.end_offsets if since_ms is None or since_ms > 0 else consumer.beginning_offsets
    offsets = await look_up(partitions)
    if since_ms:
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        # A partition has none if nothing was written since: it begins at its end.
        offsets |= {each: place.offset for each, place in found.items() if place is not None}
    for partition, offset in offsets.items():
        consumer.seek(partition, offset)


async def _records(consumer: AIOKafkaConsumer, cluster: ClusterConfig) -> AsyncGenerator[Record, None]:
    idle_ms = 0
    while True:
        async with reaching(cluster):
            batches = await consumer.getmany(timeout_ms=POLL_MS)
        idle_ms = 0 if batches else idle_ms + POLL_MS
        if idle_ms >= 1000 * IDLE_SECONDS:
            idle_ms = 0
            await _probe(consumer, cluster)
        for records in batches.values():
            for record in records:
                yield to_record(record)


async def _probe(consumer: AIOKafkaConsumer, cluster: ClusterConfig) -> None:
    """Raise `ConfigError` if the cluster does not answer: aiokafka would wait silently."""
    async with reaching(cluster):
        async with asyncio.timeout(PROBE_SECONDS):
            await consumer.end_offsets(sorted(consumer.assignment())[:1])


async def _partitions(cluster: ClusterConfig, topics: Collection[str], clock: Clock) -> list[TopicPartition]:
    """The partitions of the topics.

    Topics are listed first: a query by name may create a topic.
    """
    admin = AIOKafkaAdminClient(**_connection(cluster))
    try:
        await admin.start()
        await _require(admin, topics, clock)
        described = await admin.describe_topics(list(topics))
    finally:
        await close_admin(admin)
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    ]


async def _require(admin: AIOKafkaAdminClient, topics: Collection[str], clock: Clock) -> None:
    """Raise `ConfigError` for topics that are still missing after several checks.

    A broker may learn of a new topic later than the broker that created it.
    """
    missing = await _missing(admin, topics)
    for _ in range(CHECKS):
        if not missing:
            return
        await clock.sleep(CHECK_SECONDS)
        missing = await _missing(admin, topics)
    if missing:
        raise ConfigError(f"missing topics: {', '.join(missing)}; `scribe topics` creates them")


async def _missing(admin: AIOKafkaAdminClient, topics: Collection[str]) -> list[str]:
    return sorted(set(topics) - set(await admin.list_topics()))


def _connection(cluster: ClusterConfig) -> Connection:
    connection = cluster.connection()
    connection["request_timeout_ms"] = REQUEST_TIMEOUT_MS
    return connection
