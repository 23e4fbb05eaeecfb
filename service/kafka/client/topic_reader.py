"""Reads topics once, to the ends that they have now, for an operator; joins no group.

Missing topics and a cluster that does not answer raise `ConfigError`, later errors `ClusterError`.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from service.frozen import dataclass
from service.kafka.client.clients import ConsumerRecord, KafkaConsumer, TopicPartition
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.error_translation import translated
from service.kafka.client.reader import ReconnectingReader
from service.kafka.client.span_reader import OffsetRange, read
from service.kafka.client.terminal_client import of_key, partitions_of

Take = Callable[[ConsumerRecord], None]


@dataclass(frozen=True, slots=True)
class TopicReader:
    """A consumer to which the partitions of some topics are assigned; only committed records are read.

    `watermarks` sees uncommitted records, so it knows the real end of a partition: what lies behind an open
    transaction is waited for.
    """

    consumer: KafkaConsumer
    watermarks: ReconnectingReader
    partitions: tuple[TopicPartition, ...]

    def of(self, topic: str) -> list[TopicPartition]:
        """The topic's partitions, in their order."""
        return sorted(each for each in self.partitions if each.topic == topic)

    def of_key(self, topic: str, key: bytes) -> TopicPartition:
        """The topic's partition for a key, as Java's clients and Scribe place it."""
        return of_key(self.partitions, topic, key)

    async def extent(self, partition: TopicPartition) -> OffsetRange:
        """The offsets that the partition has now."""
        with translated():
            begin = (await self.consumer.beginning_offsets([partition]))[partition]
        return OffsetRange(partition, begin, await self.watermarks.end_offset(partition))

    async def since(self, partition: TopicPartition, time_ms: int | None) -> OffsetRange:
        """The same without what was written before `time_ms`."""
        extent = await self.extent(partition)
        if time_ms is None:
            return extent
        with translated():
            found = (await self.consumer.offsets_for_times({partition: time_ms})).get(partition)
        return OffsetRange(partition, extent.end if found is None else found.offset, extent.end)

    async def read(self, span: OffsetRange, take: Take) -> int | None:
        """Pass the span's records to `take`, in order.

        Stops before a record that aiokafka cannot read, and returns its offset.
        """
        if span.begin >= span.end:
            return None
        with translated():
            self.consumer.resume(span.partition)
        try:
            return await read(self.consumer, span, take)
        finally:
            with translated():
                self.consumer.pause(span.partition)

    async def read_through(self, span: OffsetRange, take: Take) -> None:
        """The same, past records that aiokafka cannot read."""
        unreadable = await self.read(span, take)
        while unreadable is not None:
            unreadable = await self.read(OffsetRange(span.partition, unreadable + 1, span.end), take)


@asynccontextmanager
async def topic_reader(
    cluster: ClusterConfig, topics: Collection[str], fetch_max_wait_ms: int
) -> AsyncIterator[TopicReader]:
    """A reader of these topics."""
    partitions = await partitions_of(cluster, topics)
    async with (
        ReconnectingReader(cluster, fetch_max_wait_ms, "read_uncommitted") as watermarks,
        reader(cluster, fetch_max_wait_ms) as consumer,
    ):
        with translated():
            consumer.assign(partitions)
            consumer.pause(*partitions)
        yield TopicReader(consumer, watermarks, tuple(partitions))
