"""A reader for the whole life of a process.

Its client is replaced when aiokafka's tasks inside it die.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from service.kafka.client.clients import KafkaConsumer, TopicPartition
from service.kafka.client.cluster import ClusterConfig, Isolation, reader
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import has_died


class ReconnectingReader:
    """A consumer without a group, and queries about partitions.

    Calls raise only `ClusterError`.
    """

    def __init__(self, cluster: ClusterConfig, fetch_max_wait_ms: int, isolation: Isolation) -> None:
        self._cluster = cluster
        self._fetch_max_wait_ms = fetch_max_wait_ms
        self._isolation: Isolation = isolation
        self._opened = AsyncExitStack()
        self._consumer: KafkaConsumer | None = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._consumer = await self._connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.aclose()

    async def consumer(self) -> KafkaConsumer:
        """The consumer; if the last one has died, a new one without an assignment."""
        async with self._renewing:
            if self._consumer is not None and not has_died(self._consumer):
                return self._consumer
            self._consumer = None
            await self._opened.aclose()
            self._consumer = await self._connect()
            return self._consumer

    async def _connect(self) -> KafkaConsumer:
        opening = reader(self._cluster, self._fetch_max_wait_ms, self._isolation)
        return await self._opened.enter_async_context(opening)

    async def begin_offset(self, partition: TopicPartition) -> int:
        """The offset from which the broker has the partition.

        Raises `ClusterError` without an answer.
        """
        return (await self.begin_offsets([partition]))[partition]

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The same of several partitions, in one request to each broker."""
        consumer = await self.consumer()
        with translated():
            begins: Mapping[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        return begins

    async def end_offset(self, partition: TopicPartition) -> int:
        """The offset of the partition's next record; with `read_committed` it may be earlier."""
        return (await self.end_offsets([partition]))[partition]

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The same of several partitions, in one request to each broker."""
        consumer = await self.consumer()
        with translated():
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends

    async def partitions_of(self, topic: str) -> list[int]:
        """The numbers of the topic's partitions, in their order."""
        # A query for an offset makes aiokafka learn the topic's partitions.
        await self.begin_offset(TopicPartition(topic, 0))
        consumer = await self.consumer()
        return sorted(consumer.partitions_for_topic(topic) or ())
