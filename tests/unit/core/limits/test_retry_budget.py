"""The retry budget: repetitions come from successes, and a few from time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.limits.retry_budget import CAPACITY, FLOOR_PER_SECOND, TOKENS_PER_SUCCESS, RetryBudget


def repeated_in(seconds: int, budget: RetryBudget, *, succeeds: bool) -> int:
    """Repetitions of a second's steps, as many as the budget allows in each."""
    count = 0
    for now in range(seconds):
        while not budget.wait_seconds(now):
            paid = budget.take(now)
            count += 1
            if succeeds:
                budget.succeed(paid)
            if count % 100 == 0:
                break
    return count


def test_a_provider_that_always_fails_meets_the_capacity_and_then_what_time_allows() -> None:
    count = repeated_in(3600, RetryBudget(0.0), succeeds=False)
    assert CAPACITY + 3600 * FLOOR_PER_SECOND - 2 <= count <= CAPACITY + 3600 * FLOOR_PER_SECOND


def test_repetitions_that_succeed_cost_nothing() -> None:
    assert repeated_in(10, RetryBudget(0.0), succeeds=True) >= 1000


def test_a_probe_always_gets_through_in_the_end() -> None:
    budget = RetryBudget(0.0, tokens=0.0)
    wait_seconds = budget.wait_seconds(0.0)
    assert wait_seconds == pytest.approx(1 / FLOOR_PER_SECOND)
    assert budget.wait_seconds(wait_seconds) == 0.0


def test_each_success_adds_a_part_up_to_the_capacity() -> None:
    budget = RetryBudget(0.0, tokens=0.0)
    for _ in range(5):
        budget.succeed(0.0)
    assert budget.tokens == pytest.approx(5 * TOKENS_PER_SUCCESS)
    for _ in range(1000):
        budget.succeed(1.0)
    assert budget.tokens == CAPACITY


def test_a_repetition_that_was_not_sent_is_paid_back_and_adds_nothing() -> None:
    budget = RetryBudget(0.0)
    budget.refund(budget.take(0.0))
    assert budget.tokens == CAPACITY


def test_asking_changes_nothing_and_sees_what_time_has_added() -> None:
    budget = RetryBudget(0.0, tokens=0.0)
    assert budget.left(50.0) == pytest.approx(50 * FLOOR_PER_SECOND)
    assert budget.wait_seconds(50.0) == 0.0
    assert budget == RetryBudget(0.0, tokens=0.0)


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    budget = RetryBudget(100.0, tokens=0.0)
    assert budget.wait_seconds(50.0) == budget.wait_seconds(100.0) > 0


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([0.0, 1.0])), max_size=50))
def test_repetitions_that_fail_are_never_more_than_capacity_successes_and_time_allow(
    acts: list[tuple[float, float]],
) -> None:
    budget, now, taken, successes = RetryBudget(0.0), 0.0, 0, 0
    for pause, success in acts:
        now += pause
        if success:
            budget.succeed(0.0)
            successes += 1
        elif not budget.wait_seconds(now):
            budget.take(now)
            taken += 1
    assert taken <= CAPACITY + successes * TOKENS_PER_SUCCESS + now * FLOOR_PER_SECOND + 1e-6
