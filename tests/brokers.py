"""Fixtures that give tests a broker: the embedded one, real Apache Kafka, or both in turn.

Loaded with `pytest_plugins = ["tests.brokers"]`. Each broker starts once per run, when first asked for;
`TEST_KAFKA=host:port` names a Kafka to use instead of starting one.
"""

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sandbox import kafka
from sandbox.broker import embedded_broker

TopicNames = Callable[..., list[str]]


def real_kafka_missing() -> str | None:
    """Why tests with real Kafka cannot run here, with how to make them; None when they can."""
    return None if os.environ.get("TEST_KAFKA") else kafka.missing()


async def create_topics(
    bootstrap: str,
    topics: Mapping[str, int],
    configs: Mapping[str, str] | None = None,
    *,
    replication: int = 1,
) -> None:
    """Create each topic with its number of partitions, all with the same `configs`; fails when refused."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        wanted = [
            NewTopic(name, partitions, replication, topic_configs=dict(configs or {}))
            for name, partitions in topics.items()
        ]
        answer = await admin.create_topics(wanted, timeout_ms=20_000)
    finally:
        await admin.close()
    refused = [error for error in answer.topic_errors if error[1] != 0]
    assert not refused, f"the broker refused to create topics: {refused}"


@pytest.fixture(scope="session")
def embedded_bootstrap() -> Iterator[str]:
    """`host:port` of an embedded broker that lives as long as the run."""
    with embedded_broker() as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """`host:port` of a real Kafka that lives as long as the run; the test must be marked needs_java.

    It never downloads: `python -m sandbox kafka --fetch` does, beforehand.
    """
    given = os.environ.get("TEST_KAFKA")
    if given:
        yield given
        return
    missing = kafka.missing()
    if missing:
        pytest.skip(missing)
    with kafka.real_kafka() as cluster:
        yield cluster.bootstrap


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.needs_java)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """`host:port` of the embedded broker, then of real Kafka: the test runs once on each."""
    address: str = request.getfixturevalue(f"{request.param}_bootstrap")
    return address


@pytest.fixture
def topic_names(request: pytest.FixtureRequest) -> TopicNames:
    """`topic_names("requests", "results")` -> names that no other test or run uses, told by the test's."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:80]
    unique = f"{test}-{uuid.uuid4().hex[:8]}"

    def named(*roles: str) -> list[str]:
        return [f"{unique}.{role}" for role in roles]

    return named
