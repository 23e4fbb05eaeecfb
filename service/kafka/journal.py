"""The journal as the pipeline sees it: take a shard over, write to it, follow it."""

import asyncio
from dataclasses import dataclass

from service.kafka.client import ClusterConfig, reader, translated
from service.kafka.producer import Producer
from service.kafka.tail import Tail
from service.kafka.takeover import Taken, Takeover
from service.kafka.topics import Topics
from service.kafka.writer import AtLeastOnceWriter, Writer

TAKEOVERS_AT_ONCE = 4
"""Each has a consumer of its own for a moment; a hundred at once would be a storm of connections."""


@dataclass(frozen=True, slots=True)
class Journal:
    """One process's access to the journal topic."""

    cluster: ClusterConfig
    topics: Topics
    producer: Producer
    tail: Tail
    takeover: Takeover
    fetch_max_wait_ms: int
    places: asyncio.Semaphore

    async def take(self, partition: int, group_offset: int | None) -> Taken:
        """Claim a partition and read it back; raises `RestoreError` or `ClusterError`."""
        async with self.places, reader(self.cluster, self.fetch_max_wait_ms) as consumer:
            with translated():
                return await self.takeover.take(consumer, partition, group_offset)

    def writer(self, partition: int, epoch: int) -> Writer:
        """The writer of a shard that was taken over with this epoch."""
        return AtLeastOnceWriter(self.producer, self.topics, partition, epoch)
