"""A whole stack for each integration test: topics of its own on a shared broker, and its own simulator."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.simulator import SimulatorConfig, serve
from tests.brokers import TopicNames
from tests.integration.stack import ROLES, Stack, settings_for


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """The simulator of `stack`; a test module overrides it."""
    return SimulatorConfig(speed=10)


@pytest.fixture
async def stack(
    bootstrap: str,
    broker_name: str,
    session_timeout_ms: int,
    topic_names: TopicNames,
    sim_config: SimulatorConfig,
    tmp_path: Path,
) -> AsyncIterator[Stack]:
    """The stack; service processes that the test started and left are killed at its end."""
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    async with serve(sim_config) as sim:
        settings = settings_for(
            bootstrap, topics, sim, session_timeout_ms, transactions=broker_name == "kafka"
        )
        stack = Stack(bootstrap, topics, sim, tmp_path, settings)
        try:
            yield stack
        finally:
            for scribe in stack.scribes:
                if scribe.process.returncode is None:
                    scribe.process.kill()
                await scribe.process.wait()
