"""The benchmarks of the whole service run at their smallest size; no test judges what they measure."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import inflight, overhead, scale
from benchmarks.peers import __main__ as peers
from benchmarks.report import Row

pytestmark = [pytest.mark.needs_java, pytest.mark.needs_minutes]


def columns(rows: Sequence[Row]) -> list[str]:
    """The names of all rows, which are the same."""
    [names] = {tuple(row) for row in rows}
    return list(names)


def figures(row: Row) -> list[float]:
    """What was measured."""
    return [value for value in row.values() if not isinstance(value, str)]


async def test_overhead_compares_both_modes_with_every_bare_loop(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    rows = await overhead.measure(kafka_bootstrap, jobs=3, rounds=1, folder=tmp_path)
    bare = ["bare aiohttp", "bare httpx on aiohttp", "bare httpx"]
    assert [row["contender"] for row in rows] == ["exactly_once", "at_least_once", *bare]
    ratios = ["cpu to aiohttp", "cpu to httpx on aiohttp", "cpu to httpx"]
    assert columns(rows) == ["contender", "cpu_ms", *ratios, "wall_ms", "wall to aiohttp", "provider calls"]
    assert all(figure > 0 for row in rows for figure in figures(row))
    assert rows[2]["cpu to aiohttp"] == rows[2]["wall to aiohttp"] == 1
    assert {row["provider calls"] for row in rows[2:]} == {3}, "a submit, a query and a fetch"
    # The service reads the list now and then.
    assert all(3 <= float(str(row["provider calls"])) <= 5 for row in rows[:2])


async def test_inflight_keeps_the_jobs_open_and_polls_them(kafka_bootstrap: str, tmp_path: Path) -> None:
    first, some = await inflight.measure(kafka_bootstrap, sizes=[0, 13], seconds=1.0, folder=tmp_path)
    measured = ["cpu_percent_of_a_core", "polls_per_second", "resident_mib"]
    assert columns([first, some]) == [
        "open jobs",
        *measured,
        "start_seconds",
        "drain_seconds",
        "bytes_per_job",
    ]
    assert (first["open jobs"], some["open jobs"]) == ("0", "13")
    assert first["polls_per_second"] == first["bytes_per_job"] == 0
    assert float(some["resident_mib"]) > 0
    assert float(some["cpu_percent_of_a_core"]) > 0


async def test_inflight_counts_what_the_journal_takes_of_a_job(kafka_bootstrap: str, tmp_path: Path) -> None:
    rows = await inflight.written(kafka_bootstrap, jobs=3, folder=tmp_path)
    assert columns(rows) == ["bytes_per_job_in", "mean"]
    request, until_running, until_end, beside = (float(row["mean"]) for row in rows)
    assert 0 < request < until_running < until_end
    assert 0 < beside < until_end


async def test_peers_lose_nothing_and_bill_twice_what_scribe_looks_for(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    scribe, sdk, _ = peers.CONTENDERS
    place = peers.Place(kafka_bootstrap, tmp_path, None)
    ours, theirs = await peers.measure(place, "lost", jobs=3, rounds=1, contenders=[scribe, sdk])
    seen = ["answers lost", "lost", "failed", "billed twice", "results twice"]
    assert columns([ours, theirs]) == ["contender", *seen]
    assert figures(ours) == [3, 0, 0, 0, 0]
    assert figures(theirs) == [3, 0, 0, 3, 0]


async def test_scale_tells_a_jobs_cost_at_each_rate(kafka_bootstrap: str, tmp_path: Path) -> None:
    rows = await scale.cost(kafka_bootstrap, rates=[1.0, 10.0], seconds=2.0, folder=tmp_path)
    assert [(row["jobs a second"], row["jobs"]) for row in rows] == [("1", 2), ("10", 20)]
    assert all(float(row["cpu ms a job"]) > 0 for row in rows)
    assert rows[0]["to the first"] == 1
