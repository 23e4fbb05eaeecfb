"""Makes aiokafka's consumers and producers.

It also passes on the names of plain data that the rest of `kafka/` needs.

Outside `kafka.client` and `kafka.admin` only the group's assignor knows aiokafka (`.importlinter`): other
modules take clients from here, and errors from `kafka.client.error_translation`.
"""

from collections.abc import Awaitable, Callable, Collection

from aiokafka import AIOKafkaConsumer as KafkaConsumer
from aiokafka import AIOKafkaProducer as KafkaProducer
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from service.kafka.client.cluster import ClusterConfig

__all__ = ["ConsumerRecord", "KafkaConsumer", "KafkaProducer", "TopicPartition"]

LARGEST_REQUEST_BYTES = 32 * 1024 * 1024
"""A transcript of 12 h with word times has about 10 MB before compression."""
PRODUCER_BATCH_BYTES = 256 * 1024
"""The most bytes of one batch for a partition: the default needs a round trip for every 16 KiB."""


def group_consumer(cluster: ClusterConfig, **settings: object) -> KafkaConsumer:
    """A consumer for a member of a group, not started.

    Raises `ConfigError` as `cluster.connection` does.
    """
    consumer = KafkaConsumer(
        **cluster.connection(),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",  # aborted transactions hold no requests
        **settings,
    )
    cluster.credentials.note(consumer._client)
    return consumer


def durable_producer(cluster: ClusterConfig, **settings: object) -> KafkaProducer:
    """A producer whose records all replicas acknowledge, not started.

    Raises `ConfigError` as `cluster.connection` does.
    """
    producer = KafkaProducer(
        **cluster.connection(),
        acks="all",
        compression_type="gzip",
        max_request_size=LARGEST_REQUEST_BYTES,
        max_batch_size=PRODUCER_BATCH_BYTES,
        **settings,
    )
    cluster.credentials.note(producer.client)
    return producer


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types for it
    """Calls two functions for the assignments of a group consumer."""

    def __init__(
        self,
        on_assigned: Callable[[Collection[TopicPartition]], None],
        on_revoked: Callable[[Collection[TopicPartition]], Awaitable[None]],
    ) -> None:
        self._assigned = on_assigned
        self._revoked = on_revoked

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Pause first and without awaiting: records are fetched before this returns."""
        self._assigned(assigned)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Give the shards back; aiokafka waits for this before it rejoins."""
        await self._revoked(revoked)
