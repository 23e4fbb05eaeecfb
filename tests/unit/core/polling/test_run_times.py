"""Two times of the vendor's tell a run time, or none does; those of a model tell how long a task waits."""

from collections.abc import Iterable
from statistics import mean

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.core.polling import run_times
from service.core.polling.run_times import (
    LONGEST_MS,
    MOST_MODELS,
    REMEMBERED,
    ModelRunTimes,
    RunTimes,
    run_ms,
)
from service.core.provider.answers import TaskStatus, TaskView

BEGUN = "2026-03-02 10:15:01.113"


@pytest.mark.parametrize(
    ("submitted", "ended", "took_ms"),
    [
        (BEGUN, "2026-03-02 10:15:08.902", 7_789),
        (BEGUN, BEGUN, 0),
        (BEGUN, "2026-03-04 10:15:01.112", 172_799_999),
        (BEGUN, "2026-03-04 10:15:01.114", None),
        (BEGUN, "2026-03-02 10:15:01.112", None),
        (BEGUN, "2026-03-02T10:15:02Z", None),
        (BEGUN, "", None),
        (BEGUN, "soon", None),
        (BEGUN, None, None),
        (None, BEGUN, None),
        ("0001-01-01 00:00:00", "9999-12-31 23:59:59", None),
    ],
)
def test_a_run_time_comes_from_the_answer_or_is_unknown(
    submitted: str | None, ended: str | None, took_ms: int | None
) -> None:
    task = TaskView("t", TaskStatus.SUCCEEDED, submit_time=submitted, end_time=ended)
    assert run_ms(task) == took_ms


HOUR_MS = 3_600_000
some_ms = st.integers(0, LONGEST_MS)


def learned(took_ms: Iterable[int]) -> RunTimes:
    times = RunTimes()
    for each in took_ms:
        times.add(each)
    return times


@given(st.lists(some_ms, max_size=20), some_ms, some_ms, some_ms)
def test_a_tasks_wait_begins_at_its_last_poll_and_grows_with_its_age(
    took_ms: list[int], looked_at_ms: int, after_ms: int, later_ms: int
) -> None:
    times = learned(took_ms)
    waited_ms = times.waited_ms(looked_at_ms, looked_at_ms + after_ms)
    assert 0 <= waited_ms <= after_ms
    assert times.waited_ms(looked_at_ms, looked_at_ms + after_ms + later_ms) >= waited_ms - 1


@given(st.lists(st.integers(100, HOUR_MS), min_size=1, max_size=4), st.integers(0, HOUR_MS), some_ms)
def test_the_expected_wait_is_the_mean_of_tasks_that_ran_past_their_last_poll(
    took_ms: list[int], looked_at_ms: int, after_ms: int
) -> None:
    longer_ms = [each for each in took_ms if each > looked_at_ms * 1.1]
    # Within a bin of the last poll, 500 ms at first, run times count in part.
    assume(longer_ms and not any(abs(each - looked_at_ms) <= 0.1 * looked_at_ms + 500 for each in took_ms))
    age_ms = looked_at_ms + after_ms
    true_ms = mean(max(0, age_ms - each) for each in longer_ms)
    waited_ms = learned(took_ms * 100).waited_ms(looked_at_ms, age_ms)
    # The width of a bin, and the weight of unseen run times.
    assert abs(waited_ms - true_ms) <= 0.1 * max(longer_ms) + 500 + 0.05 * after_ms


@pytest.mark.parametrize("looked_at_ms", [0, 60_000])
def test_the_oldest_task_has_waited_as_long_as_it_was_not_polled(
    looked_at_ms: int,
) -> None:
    times = learned([10_000] * 50)
    waits = [times.waited_ms(looked_at_ms, looked_at_ms + HOUR_MS * hours) for hours in (1, 2, 10)]
    assert waits == sorted(waits)
    assert waits[0] > 0


def test_a_new_task_and_one_just_polled_have_not_waited() -> None:
    times = learned([10_000])
    assert times.waited_ms(0, 0) == 0
    assert times.waited_ms(20_000, 20_000) == 0
    assert times.waited_ms(20_000, 19_000) == 0


def test_a_poll_dated_before_the_submit_counts_as_one_at_the_submit() -> None:
    times = learned([10_000])
    assert times.waited_ms(-5_000, 20_000) == times.waited_ms(0, 20_000)
    assert times.waited_ms(-5_000, -1_000) == 0


def test_past_the_longest_of_all_times_a_task_has_surely_ended() -> None:
    assert RunTimes().waited_ms(2 * LONGEST_MS, 3 * LONGEST_MS) == LONGEST_MS


def test_new_run_times_displace_the_old_ones() -> None:
    times = learned([600_000] * 5 * REMEMBERED + [60_000] * 3 * REMEMBERED)
    assert times.waited_ms(0, 120_000) == pytest.approx(60_000, rel=0.15)


def test_however_many_run_times_are_learned_their_weights_stay_finite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    took_ms = [60_000, 600_000] * REMEMBERED
    plain = learned(took_ms)
    monkeypatch.setattr(run_times, "_RESCALE_AT", 1.5)
    times = learned(took_ms)
    assert times._weight <= 1.5
    assert times.waited_ms(70_000, 300_000) == pytest.approx(plain.waited_ms(70_000, 300_000))


def test_each_model_has_its_own_run_times_and_an_unknown_one_those_of_any() -> None:
    models = ModelRunTimes()
    for _ in range(50):
        models.add("quick", 10_000)
        models.add("slow", 1_000_000)
    waits = [models.of(model).waited_ms(0, 100_000) for model in ("quick", "unknown", "slow")]
    assert waits == sorted(waits, reverse=True)
    assert len(set(waits)) == 3


def test_the_model_used_least_lately_is_forgotten() -> None:
    models = ModelRunTimes()
    for number in range(MOST_MODELS):
        models.add(f"m{number}", 1_000)
    models.add("m0", 1_000)
    models.add("one more", 1_000)
    unknown = models.of("unknown")
    assert len(models) == MOST_MODELS
    assert models.of("m0") is not unknown
    assert models.of("m1") is unknown
