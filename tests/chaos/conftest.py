"""The brokers on which the chaos tests run, in each delivery mode that the broker can do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.brokers import TopicNames
from tests.chaos.evidence import Mode
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.setting import Setting

SESSION_SECONDS = 4.0
"""A busy machine keeps a worker from its heartbeats for a second or two."""


@pytest.fixture
def mode() -> Mode:
    """The delivery mode of `chaos`, where a test has no parameter of this name."""
    return "exactly_once"


@pytest.fixture
async def chaos(
    bootstrap: str, broker_name: str, mode: Mode, topic_names: TopicNames, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """A fleet without workers on topics of its own; its session is short, so that a take-over is quick."""
    setting = Setting(
        "kafka" if broker_name == "kafka" else "embedded",
        bootstrap,
        mode,
        session_seconds=SESSION_SECONDS,
    )
    [name] = topic_names("chaos")
    async with fleet(setting, name, tmp_path) as made:
        yield made
