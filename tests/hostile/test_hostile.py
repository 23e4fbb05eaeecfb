"""What comes from outside ends in the outcome that its table expects, and ends no process."""

from pathlib import Path

import pytest

from tests.brokers import TopicNames
from tests.hostile.run import run
from tests.integration.stack import ROLES

NUMBER = 2_000


@pytest.mark.needs_java
@pytest.mark.needs_minutes
@pytest.mark.timeout(1_200)
async def test_hostile_records_and_answers_end_in_one_expected_outcome_each(
    kafka_bootstrap: str, topic_names: TopicNames, tmp_path: Path
) -> None:
    report = await run(kafka_bootstrap, topic_names(*ROLES), tmp_path, NUMBER, seed=8)
    assert report.complaints == []
    assert report.sent + report.refused_by_broker == 2 * NUMBER
