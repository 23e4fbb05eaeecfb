"""What the project takes for granted about its two brokers, shown on each of them with aiokafka."""

import pytest
from aiokafka import AIOKafkaProducer

from tests.brokers import TopicNames, create_topics


async def test_topics_get_the_partitions_that_were_asked_for(bootstrap: str, topic_names: TopicNames) -> None:
    one, five = topic_names("one", "five")
    await create_topics(bootstrap, {one: 1, five: 5})
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        assert await producer.partitions_for(one) == {0}
        assert await producer.partitions_for(five) == {0, 1, 2, 3, 4}
    finally:
        await producer.stop()
