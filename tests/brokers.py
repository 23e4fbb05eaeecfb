"""Fixtures that give tests a broker: the embedded one, real Apache Kafka, or both in turn.

Loaded with `pytest_plugins = ["tests.brokers"]`. Each broker starts once per run, when first asked for;
`TEST_KAFKA=host:port` names a Kafka to use instead of starting one.
"""

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sandbox import kafka
from sandbox.broker import embedded_broker

ALREADY_EXISTS = 36
_LOOKS = 500
_LOOK_SECONDS = 0.02

TopicNames = Callable[..., list[str]]


def real_kafka_missing() -> str | None:
    """Why tests with real Kafka cannot run here, with how to make them; None when they can."""
    return None if os.environ.get("TEST_KAFKA") else kafka.missing()


in_test_all = pytest.mark.parametrize(
    "broker_name",
    [
        pytest.param("embedded", marks=pytest.mark.computes),
        pytest.param("kafka", marks=pytest.mark.needs_java),
    ],
)
"""For a test on both brokers that costs more than `make test` can spend on it."""


async def create_topics(
    bootstrap: str,
    topics: Mapping[str, int],
    configs: Mapping[str, str] | None = None,
    replication: int = 1,
) -> None:
    """Create each topic with its number of partitions, all with the same `configs`.

    Returns when the broker serves them: real Kafka answers a creation some 50 ms before its own metadata
    knows the topic. Fails when one is refused.
    """
    wanted = [
        NewTopic(name, partitions, replication, topic_configs=dict(configs or {}))
        for name, partitions in topics.items()
    ]
    async with admin(bootstrap) as client:
        answer = await client.create_topics(wanted)
        # The embedded broker creates a topic that a client asks for first; what it made is checked below.
        refused = [error for error in answer.topic_errors if error[1] not in (0, ALREADY_EXISTS)]
        assert not refused, f"the broker refused to create topics: {refused}"
        for _ in range(_LOOKS):
            if _are_served(await client.describe_topics(list(topics)), topics):
                return
            await asyncio.sleep(_LOOK_SECONDS)
    pytest.fail(f"the broker created {list(topics)}, but does not serve them")


def _are_served(described: list[dict[str, Any]], topics: Mapping[str, int]) -> bool:
    with_leader = {
        topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"])
        for topic in described
    }
    return with_leader == dict(topics)


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client, closed at the end of the block."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


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
def broker_name(request: pytest.FixtureRequest) -> str:
    """ "embedded", then "kafka": a test that asks for this, or for `bootstrap`, runs once on each."""
    name: str = request.param
    return name


@pytest.fixture
def bootstrap(request: pytest.FixtureRequest, broker_name: str) -> str:
    """`host:port` of the broker that `broker_name` names."""
    address: str = request.getfixturevalue(f"{broker_name}_bootstrap")
    return address


@pytest.fixture
def session_timeout_ms(broker_name: str) -> int:
    """A group session that makes joins quick on the broker at hand.

    The embedded one answers a first join after half a session (but a second at least), and a join to a
    group that was left empty after nearly two; real Kafka at once, and its default minimum is 6 s.
    """
    return 2_000 if broker_name == "embedded" else 6_000


@pytest.fixture
def topic_names(request: pytest.FixtureRequest) -> TopicNames:
    """`topic_names("requests", "results")` -> names that no other test or run uses, told by the test's."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:80]
    unique = f"{test}-{uuid.uuid4().hex[:8]}"

    def named(*roles: str) -> list[str]:
        return [f"{unique}.{role}" for role in roles]

    return named
