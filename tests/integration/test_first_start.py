"""The first start on a new cluster of one broker: a reason is said once, and what is normal is no error."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox import kafka
from sandbox.kafka import Cluster
from sandbox.simulator import SimulatorConfig, serve
from tests.brokers import TopicNames
from tests.integration.stack import ROLES, Stack, settings_for, standing

pytestmark = [pytest.mark.needs_java, pytest.mark.timeout(180)]


@pytest.fixture
def new_cluster() -> Iterator[Cluster]:
    """One broker that no client has ever asked for anything."""
    with kafka.real_kafka() as cluster:
        yield cluster


@pytest.fixture
async def stack(new_cluster: Cluster, topic_names: TopicNames, tmp_path: Path) -> AsyncIterator[Stack]:
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    async with serve(SimulatorConfig(speed=10)) as sim:
        settings = settings_for(new_cluster.bootstrap, topics, sim, 30_000, transactions=True)
        async with standing(Stack(new_cluster.bootstrap, topics, sim, tmp_path, settings)) as made:
            yield made


async def test_a_first_start_says_what_is_wrong_once_and_a_normal_one_logs_no_error(stack: Stack) -> None:
    refused = await stack.launch(SCRIBE_TOPICS__REPLICATION="3")
    assert await refused.ended() == 78
    said = refused.log_path.read_text()
    assert said.count("SCRIBE_TOPICS__REPLICATION") == 1
    assert said.count("replication factor of 3") == 1, said
    normal = await stack.start()
    assert await normal.end() == 0
    lines = [json.loads(line) for line in normal.log_path.read_text().splitlines()]
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
    [started] = [line for line in lines if line["event"] == "service_started"]
    assert started["brokers"] == stack.bootstrap
    assert started["topics"] == dict(stack.topics)
    assert started["group"] == stack.topics["requests"]
    assert started["delivery"] == "exactly_once"
    assert started["provider"] in stack.sim.base_url
