"""Spend: what a UTC day has cost, and when it has cost enough."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.limits.spend_limit import DAY_MS, DaySpend, SpendRules, limits_reached

NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
LIMIT = SpendRules(seconds_per_day=1000)


def spent(seconds: int, at_ms: int = NOON_MS) -> DaySpend:
    return DaySpend().count(at_ms, seconds)


def test_a_day_ends_at_midnight_utc() -> None:
    spend = spent(7)
    spend = spend.count(NOON_MS + 1000, 5)
    spend = spend.count(NOON_MS + 2000, None)
    last_ms = 20_001 * DAY_MS - 1
    assert [spend.on(ms) for ms in (NOON_MS, last_ms, last_ms + 1)] == [12, 12, 0]
    spend = spend.count(last_ms + 1, 3)
    assert spend.on(last_ms + 1) == 3


def test_a_day_that_a_wrong_clock_was_ahead_with_ends_with_today() -> None:
    ahead = spent(7, NOON_MS + 3 * DAY_MS)
    spend = ahead.not_after(NOON_MS).count(NOON_MS, 5)
    assert (spend.on(NOON_MS), spend.on(NOON_MS + DAY_MS)) == (12, 0)
    assert spent(7).not_after(NOON_MS) == spent(7)


def paid(cost: float, at_ms: int = NOON_MS) -> DaySpend:
    return DaySpend().count(at_ms, None, cost)


def test_what_has_no_seconds_but_a_cost_reaches_the_limit_of_cost() -> None:
    rules = SpendRules(seconds_per_day=1, cost_per_day=2.0)
    assert not limits_reached([paid(0.49)], rules, 4, NOON_MS)
    assert limits_reached([paid(0.5)], rules, 4, NOON_MS)
    assert not limits_reached([paid(0.5), paid(0.25)], rules, 4, NOON_MS)
    assert not limits_reached([paid(10.0)], rules, 4, NOON_MS + DAY_MS)
    assert not limits_reached([paid(10.0)], LIMIT, 4, NOON_MS)


def test_either_limit_ends_the_day() -> None:
    rules = SpendRules(seconds_per_day=1000, cost_per_day=2.0)
    assert limits_reached([spent(250)], rules, 4, NOON_MS)
    assert limits_reached([paid(0.5)], rules, 4, NOON_MS)
    assert not limits_reached([spent(249), paid(0.49)], rules, 4, NOON_MS)


def test_a_new_day_costs_nothing_yet() -> None:
    spend = paid(3.0)
    assert (spend.cost_on(NOON_MS), spend.cost_on(NOON_MS + DAY_MS)) == (3.0, 0.0)
    spend = spend.count(NOON_MS + DAY_MS, 7)
    assert (spend.on(NOON_MS + DAY_MS), spend.cost_on(NOON_MS + DAY_MS)) == (7, 0.0)


def test_without_a_limit_or_a_shard_nothing_limits_reached() -> None:
    assert not limits_reached([spent(10**9)], SpendRules(), 4, NOON_MS)
    assert not limits_reached([], LIMIT, 4, NOON_MS)


def test_a_process_has_the_part_of_its_shards() -> None:
    assert not limits_reached([spent(249)], LIMIT, 4, NOON_MS)
    assert limits_reached([spent(250)], LIMIT, 4, NOON_MS)
    assert not limits_reached([spent(250), spent(249)], LIMIT, 4, NOON_MS)
    assert limits_reached([spent(400), spent(100)], LIMIT, 4, NOON_MS)


def test_a_part_shrinks_when_partitions_are_added() -> None:
    assert not limits_reached([spent(250)], LIMIT, 3, NOON_MS)
    assert limits_reached([spent(250)], LIMIT, 4, NOON_MS)
    assert limits_reached([spent(125)], LIMIT, 8, NOON_MS)


def test_the_next_day_has_room_again() -> None:
    assert not limits_reached([spent(10**6)], LIMIT, 4, NOON_MS + DAY_MS)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=12), st.integers(1, 5))
def test_parts_that_are_not_spent_are_together_below_the_limit(seconds: list[int], members: int) -> None:
    rules = SpendRules(10_000)
    parts = [[spent(each) for each in seconds[member::members]] for member in range(members)]
    if not any(limits_reached(part, rules, len(seconds), NOON_MS) for part in parts):
        assert sum(seconds) < 10_000


def test_a_clock_behind_the_last_day_does_not_lift_the_limit() -> None:
    assert limits_reached([spent(250)], LIMIT, 4, NOON_MS - 3 * DAY_MS)
    assert limits_reached([spent(250)], LIMIT, 4, 0)
    rules = SpendRules(cost_per_day=2.0)
    assert limits_reached([paid(0.5)], rules, 4, NOON_MS - 3 * DAY_MS)


def test_what_ends_while_the_clock_is_behind_counts_on_the_last_day() -> None:
    spend = spent(7).count(NOON_MS - 3 * DAY_MS, 5).count(0, 1, 0.5)
    assert (spend.on(NOON_MS), spend.cost_on(NOON_MS)) == (13, 0.5)
    assert spend.count(NOON_MS + DAY_MS, 2).on(NOON_MS + DAY_MS) == 2
