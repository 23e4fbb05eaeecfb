"""A backlog of large requests is served whole, and in little memory."""

from pathlib import Path

import pytest

from benchmarks import backlog

pytestmark = pytest.mark.needs_minutes
PEAK_MIB = 200.0
"""The process takes 75 by itself. What was written once for each file took a gigabyte."""
REQUEST_MIB = 0.05


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("per_task", "requests"), [(1, 5), (100, 20)])
async def test_a_backlog_of_large_requests_is_served_in_little_memory(
    bootstrap: str, broker_name: str, tmp_path: Path, per_task: int, requests: int
) -> None:
    given = backlog.Backlog(requests, per_task)
    row = await backlog.measure(bootstrap, given, tmp_path, is_real=broker_name == "kafka")
    assert row["results"] == requests * backlog.FILES
    assert row["submits"] == (row["results"] if per_task == 1 else requests)
    assert float(row["peak_mib"]) < PEAK_MIB
    # A request is written once, and less than a kilobyte for each of its files.
    assert float(row["journal_mib"]) < requests * (REQUEST_MIB + backlog.FILES / 1024)
