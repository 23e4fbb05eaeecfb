"""The benchmark of polling tells of every task that ended, and the same each time."""

from collections.abc import Callable
from functools import partial
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.poll import (
    ANSWER_SECONDS,
    RUNS,
    Load,
    RunningTasks,
    Runs,
    Seen,
    load_of,
    lro,
    oracle,
    sdk,
    serve,
    simulate,
)
from service.core.provider.answers import TaskStatus
from tests.fakes.provider import FakeTask

FEW = Load(
    in_flight=10,
    arrivals_per_second=1.0,
    begin_seconds=0.0,
    until_seconds=60.0,
    end_seconds=120.0,
    runs=[10.0 + number % 7 for number in range(40)],
)


@pytest.mark.parametrize(
    "policy",
    [partial(simulate, waits=sdk), partial(simulate, waits=lro), serve],
    ids=["sdk", "lro", "scribe"],
)
def test_every_task_is_seen_after_its_end_and_each_run_tells_the_same(policy: Callable[[Load], Seen]) -> None:
    row = policy(FEW).row("it")
    assert (row["tasks"], row["unseen"]) == (40, 0)
    assert float(row["delay p50 s"]) >= ANSWER_SECONDS
    assert float(row["queries a task"]) > 1
    assert policy(FEW).row("it") == row


def test_the_oracle_asks_once_and_waits_for_one_answer() -> None:
    row = simulate(FEW, oracle).row("oracle")
    assert row["queries a task"] == 1
    assert row["delay p50 s"] == pytest.approx(ANSWER_SECONDS)


def test_a_task_that_is_never_seen_is_as_late_as_the_end() -> None:
    assert Seen(FEW).row("blind")["max s"] == pytest.approx(FEW.end_seconds - 10.0)


@pytest.mark.parametrize("draw", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("in_flight", [10, 1_300])
def test_a_load_keeps_the_wanted_number_of_tasks_in_flight(in_flight: int, draw: Runs) -> None:
    load = load_of(in_flight, draw)
    at = load.begin_seconds
    begun = [number / load.arrivals_per_second for number in range(len(load.runs))]
    running = sum(start <= at < ended for start, ended in zip(begun, load.ends(), strict=True))
    assert running == pytest.approx(in_flight, rel=0.3)


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 5))
def test_a_page_shows_the_tasks_that_run_and_the_newest_of_them_first(lengths: list[int], size: int) -> None:
    running, made = RunningTasks(), list[tuple[int, FakeTask]]()
    for now, length in enumerate(lengths):
        task = FakeTask(f"task-{now}", "fun-asr", (), {}, (TaskStatus.RUNNING,))
        made.append((now + length, task))
        running.add(task, now + length)
        run = [each for ends, each in reversed(made) if ends > now]
        shown = list[FakeTask]()
        for page_no in count(1):
            page, total = running.page(now, page_no, size)
            assert total == len(run)
            if not page:
                break
            shown += page
        assert shown == run
