"""Budgets: whatever happens, no window holds more calls than the share and the burst."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.budget import LOWEST_PART, RECOVERY_SECONDS, Budget

SHARES = st.floats(0.0, 200.0, allow_subnormal=False)
PAUSES = st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.0, 7.0, 90.0])


@dataclass(frozen=True)
class Act:
    """A pause, then something that happens to a budget."""

    pause_seconds: float
    what: str
    value: float = 0.0


ACTS = st.lists(
    st.builds(Act, PAUSES, st.just("take"), st.integers(1, 60).map(float))
    | st.builds(Act, PAUSES, st.just("penalise"))
    | st.builds(Act, PAUSES, st.just("share"), SHARES)
    | st.builds(Act, st.just(-3.0), st.just("take"), st.just(5.0)),
    max_size=30,
)


def worth(share: float, burst_seconds: float) -> float:
    """What the bucket holds: at least one call; nothing without a share."""
    return max(1.0, share * burst_seconds) if share > 0 else 0.0


def perform(budget: Budget, act: Act, now: float) -> int:
    """Let it happen; returns the calls granted."""
    match act.what:
        case "take":
            return sum(budget.try_take(now) for _ in range(int(act.value)))
        case "penalise":
            budget.penalise(now)
        case "share":
            budget.set_share(act.value, now)
    return 0


@given(SHARES, ACTS, st.floats(0.0, 2.0))
def test_no_window_holds_more_than_its_shares_and_the_burst(
    share: float, acts: list[Act], burst_seconds: float
) -> None:
    """Checked for every window that begins at an act: what the bucket holds and what the share lets in."""
    now = 100.0
    budget = Budget(share, now, burst_seconds)
    windows: list[float] = []
    for act in acts:
        now = max(now, now + act.pause_seconds)
        windows = [left + share * max(0.0, act.pause_seconds) for left in windows]
        windows.append(worth(share, burst_seconds))
        granted = perform(budget, act, now - 1.0 if act.pause_seconds < 0 else now)
        windows = [left - granted for left in windows]
        assert min(windows) > -1e-6
        share = act.value if act.what == "share" else share
        assert 0.0 <= budget.rate_per_second <= share + 1e-9


@given(ACTS)
def test_a_share_of_nothing_grants_nothing(acts: list[Act]) -> None:
    now, budget = 0.0, Budget(0.0, 0.0)
    for act in acts:
        now += max(0.0, act.pause_seconds)
        if act.what != "share":
            assert perform(budget, act, now) == 0
            assert budget.wait_seconds(now) == float("inf")


@given(st.floats(0.02, 200.0), ACTS)
def test_a_call_is_granted_after_the_wait_that_was_told(share: float, acts: list[Act]) -> None:
    now, budget = 0.0, Budget(share, 0.0)
    for act in acts:
        now += max(0.0, act.pause_seconds)
        perform(budget, act, now)
    budget.set_share(share, now)
    now += budget.wait_seconds(now) + 1e-6 / budget.rate_per_second
    assert budget.try_take(now)


def test_a_penalty_halves_the_rate_and_empties_the_bucket() -> None:
    budget = Budget(20.0, 0.0)
    budget.penalise(0.0)
    assert budget.rate_per_second == 10.0
    assert not budget.try_take(0.0)
    assert budget.wait_seconds(0.0) == pytest.approx(0.1)


def test_many_penalties_leave_enough_for_a_probe() -> None:
    budget = Budget(20.0, 0.0)
    for _ in range(50):
        budget.penalise(0.0)
    assert budget.rate_per_second == 20.0 * LOWEST_PART


def test_the_rate_recovers_to_the_share_and_no_further() -> None:
    budget = Budget(20.0, 0.0)
    budget.penalise(0.0)
    budget.wait_seconds(RECOVERY_SECONDS / 4)
    assert budget.rate_per_second == pytest.approx(15.0)
    budget.wait_seconds(2 * RECOVERY_SECONDS)
    assert budget.rate_per_second == 20.0


def test_a_rate_under_penalty_keeps_its_proportion_when_the_share_changes() -> None:
    budget = Budget(20.0, 0.0)
    budget.penalise(0.0)
    budget.set_share(40.0, 0.0)
    assert budget.rate_per_second == 20.0


def test_a_share_that_comes_back_begins_with_an_empty_bucket() -> None:
    budget = Budget(0.0, 0.0)
    budget.set_share(10.0, 5.0)
    assert not budget.try_take(5.0)
    assert budget.try_take(5.2)
