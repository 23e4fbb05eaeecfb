"""One short storm on each broker; `make chaos` runs long ones."""

from pathlib import Path

import pytest

from tests.chaos.brokers import own_broker
from tests.chaos.evidence import Rules
from tests.chaos.fleet import fleet
from tests.chaos.known import RULES
from tests.chaos.reading import BrokerName
from tests.chaos.setting import Setting
from tests.chaos.storm import Storm, rage

SECONDS = 45.0
PARTITIONS = 12


@pytest.mark.timeout(400)
@pytest.mark.needs_java
@pytest.mark.parametrize("seed", [1])
async def test_a_fleet_in_a_storm_loses_nothing_and_pays_once(seed: int, tmp_path: Path) -> None:
    broker_name: BrokerName = "kafka"
    with own_broker(broker_name, nodes=1) as broker:
        setting = Setting(
            broker_name, broker.bootstrap, "exactly_once", PARTITIONS, broker_ports=broker.ports
        )
        rules = Rules(mode="exactly_once", known=frozenset(RULES))
        async with fleet(setting, "storm", tmp_path, has_variety=True) as made:
            report = await rage(Storm(seed, SECONDS), made, broker, rules)
    assert not report.judgement.complaints, f"{report.judgement.complaints}\n{report.lines(seed)}"
