"""The benchmark of a backlog submits within the quota, whatever the shape of the backlog."""

from dataclasses import replace

import pytest

from benchmarks.submits import BACKLOGS, HOT, Backlog, measure


@pytest.mark.parametrize("backlog", [*BACKLOGS.values(), HOT], ids=lambda backlog: backlog.name)
def test_a_backlog_is_submitted_within_the_quota(backlog: Backlog) -> None:
    few = replace(backlog, requests=60)
    row = measure(few, 2, 0.1)
    assert float(row["submits a minute"]) > 0
    assert float(row["most in a second"]) <= 10


def test_a_hot_partition_has_the_part_of_the_quota_that_its_replica_has() -> None:
    few = replace(HOT, requests=600)
    alone, one_of_two = (float(measure(few, each, 0.1)["submits a minute"]) for each in (1, 2))
    assert one_of_two == pytest.approx(alone / 2, rel=0.2)
