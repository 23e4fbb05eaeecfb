"""One short storm on each broker; `make chaos` runs long ones."""

from pathlib import Path

import pytest

from tests.chaos.brokers import own_broker
from tests.chaos.fleet import Setting, fleet
from tests.chaos.oracle import Rules
from tests.chaos.reading import BrokerName
from tests.chaos.storm import Storm, rage

SECONDS = 45.0
PARTITIONS = 12


@pytest.mark.timeout(400)
@pytest.mark.needs_java
@pytest.mark.parametrize("seed", [1])
async def test_a_fleet_in_a_storm_loses_nothing_and_pays_once(seed: int, tmp_path: Path) -> None:
    broker_name: BrokerName = "kafka"
    with own_broker(broker_name, nodes=1) as broker:
        setting = Setting(broker_name, broker.bootstrap, "exactly_once", PARTITIONS)
        async with fleet(setting, "storm", tmp_path) as made:
            verdict = await rage(Storm(seed, SECONDS), made, broker, Rules())
    assert not verdict.complaints, f"{verdict.complaints}\n{verdict.line(seed)}"
