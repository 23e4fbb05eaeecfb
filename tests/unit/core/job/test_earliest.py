"""The earliest time is the one that a walk would find, and what is remembered for it has a bound."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.core.job.earliest import SLOT_MS, SPARE, EarliestTime

TIMES = st.integers(0, 9).map(lambda slot: slot * SLOT_MS)


@given(st.lists(st.tuples(TIMES, st.booleans()), max_size=40))
def test_the_earliest_is_what_a_walk_would_find(changes: list[tuple[int, bool]]) -> None:
    times, plain = EarliestTime(), Counter[int]()
    for time_ms, is_new in changes:
        if not is_new and not plain[time_ms]:
            continue
        number = 1 if is_new else -1
        times.change(time_ms, number)
        plain[time_ms] += number
        assert times.earliest_ms() == min(+plain, default=None)


def test_times_of_one_slot_count_as_equal() -> None:
    times = EarliestTime()
    times.change(SLOT_MS + 1, 1)
    times.change(2 * SLOT_MS - 1, 1)
    times.change(2 * SLOT_MS - 1, -1)
    assert times.earliest_ms() == SLOT_MS
    times.change(SLOT_MS + 1, -1)
    assert times.earliest_ms() is None


def test_what_comes_and_goes_behind_an_old_one_is_not_remembered_forever() -> None:
    times = EarliestTime()
    times.change(0, 1)
    for _ in range(3 * SPARE):
        times.change(SLOT_MS, 1)
        times.change(SLOT_MS, -1)
    assert len(times._heap) <= 2 + SPARE + 1
    assert times.earliest_ms() == 0
