"""Reads topics from their beginning to their end, as a consumer that is not ours sees them.

On real Kafka that is librdkafka with `read_committed`. On the embedded broker it does not work, so there
aiokafka reads: it is the service's own client, and its word on itself counts for less.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError
from confluent_kafka import TopicPartition as Place

BrokerName = Literal["kafka", "embedded"]
READ_SECONDS = 60.0
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Seen:
    """One record."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: Mapping[str, bytes]


async def read_topics(broker: BrokerName, bootstrap: str, topics: Mapping[str, int]) -> list[Seen]:
    """All that can be read now of the topics, given with their partitions; in order within a partition.

    On Kafka an open transaction hides what lies behind its beginning.
    """
    if broker == "kafka":
        return await asyncio.to_thread(_read_with_librdkafka, bootstrap, topics)
    return await _read_with_aiokafka(bootstrap, topics)


async def group_offsets(bootstrap: str, group: str, topic: str, partitions: int) -> dict[int, int]:
    """The group's committed offsets, by partition; this asks the group and does not join it."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        found = {n: await consumer.committed(TopicPartition(topic, n)) for n in range(partitions)}
    finally:
        await consumer.stop()
    return {number: offset for number, offset in found.items() if offset is not None}


async def end_offsets(bootstrap: str, topic: str, partitions: int) -> dict[int, int]:
    """Where each partition ends."""
    places = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)
        found = await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    return {place.partition: end for place, end in found.items()}


def _read_with_librdkafka(bootstrap: str, topics: Mapping[str, int]) -> list[Seen]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "chaos-oracle",  # asked for by the client, never joined
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    places = [Place(topic, p, OFFSET_BEGINNING) for topic, count in topics.items() for p in range(count)]
    try:
        consumer.assign(places)
        return _until_ends(consumer, {(place.topic, place.partition) for place in places})
    finally:
        consumer.close()


def _until_ends(consumer: Consumer, unfinished: set[tuple[str, int]]) -> list[Seen]:
    found: list[Seen] = []
    end = time.monotonic() + READ_SECONDS
    while unfinished:
        assert time.monotonic() < end, f"these do not come to an end: {sorted(unfinished)}"
        message = consumer.poll(POLL_SECONDS)
        if message is None:
            continue
        error = message.error()
        if error is None:
            found.append(_seen(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            unfinished.discard((message.topic(), message.partition()))
        # Whatever else is said, the client tries again within the bound.
    return found


def _seen(message: "object") -> Seen:
    key, value = message.key(), message.value()  # type: ignore[attr-defined]
    return Seen(
        message.topic(),  # type: ignore[attr-defined]
        message.partition(),  # type: ignore[attr-defined]
        message.offset(),  # type: ignore[attr-defined]
        (key or b"").decode(errors="replace"),
        value,
        dict(message.headers() or ()),  # type: ignore[attr-defined]
    )


async def _read_with_aiokafka(bootstrap: str, topics: Mapping[str, int]) -> list[Seen]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    try:
        return await _all_of(
            consumer, [TopicPartition(t, p) for t, count in topics.items() for p in range(count)]
        )
    finally:
        await consumer.stop()


async def _all_of(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> list[Seen]:
    consumer.assign(list(places))
    ends = await consumer.end_offsets(places)
    for place in places:
        consumer.seek(place, 0)
    found: list[Seen] = []
    async with asyncio.timeout(READ_SECONDS):
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [
                    Seen(
                        record.topic,
                        record.partition,
                        record.offset,
                        (record.key or b"").decode(errors="replace"),
                        record.value,
                        dict(record.headers),
                    )
                    for record in records
                ]
    return found
