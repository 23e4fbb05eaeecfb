"""What the contract suites of service/kafka share: topics of their own, and an independent look into them."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.kafka.client import ClusterConfig
from service.kafka.producer import Producer
from service.kafka.topics import Topics
from tests.brokers import TopicNames, create_topics

WAIT_SECONDS = 20.0
FETCH_WAIT_MS = 20
OUTCOME_PARTITIONS = 3


async def make_topics(
    bootstrap: str,
    topic_names: TopicNames,
    partitions: int = 1,
    configs: Mapping[str, Mapping[str, str]] | None = None,
) -> Topics:
    """The four topics, under names of their own; `configs` by role. Outcome topics have 3 partitions."""
    topics = Topics(*topic_names("requests", "results", "failures", "journal"))
    counts = {
        topics.requests: partitions,
        topics.results: OUTCOME_PARTITIONS,
        topics.failures: OUTCOME_PARTITIONS,
        topics.journal: partitions,
    }
    for role, config in (configs or {}).items():
        name = getattr(topics, role)
        await create_topics(bootstrap, {name: counts.pop(name)}, config)
    await create_topics(bootstrap, counts)
    return topics


def producer_for(bootstrap: str, broker_name: str, bound_seconds: float = 20.0) -> Producer:
    """A producer as the broker can do it."""
    return Producer(ClusterConfig(bootstrap), idempotent=broker_name == "kafka", bound_seconds=bound_seconds)


async def records_of(bootstrap: str, topic: str, partitions: int = 1) -> list[ConsumerRecord]:
    """Everything in the topic, partition by partition."""
    found: list[ConsumerRecord] = []
    wanted = [TopicPartition(topic, number) for number in range(partitions)]
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=FETCH_WAIT_MS
    ) as consumer:
        consumer.assign(wanted)
        ends = await consumer.end_offsets(wanted)
        for partition in wanted:
            consumer.seek(partition, 0)
        async with asyncio.timeout(WAIT_SECONDS):
            for partition in wanted:
                while await consumer.position(partition) < ends[partition]:
                    batches = await consumer.getmany(partition, timeout_ms=200)
                    found += batches.get(partition, [])
    return found
