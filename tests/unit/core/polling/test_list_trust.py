"""A list that misleads is left alone, for longer each time, and gets another chance."""

from service.core.polling.list_trust import (
    COST,
    LONGEST_SECONDS,
    MOST,
    SHORTEST_SECONDS,
    START,
    ListTrust,
)


def distrusted(trust: ListTrust, now: float) -> float:
    """Mislead until the list is left alone; returns for how long."""
    while trust.is_trusted(now):
        trust.misled(now)
    until = now
    while not trust.is_trusted(until):
        until += SHORTEST_SECONDS
    return until - now


def test_a_list_of_which_half_misleads_is_left_alone() -> None:
    trust, count = ListTrust(), 0
    while trust.is_trusted(0.0):
        trust.helped()
        trust.misled(0.0)
        count += 1
        assert count < 100
    assert count >= START / COST


def test_a_list_that_misleads_now_and_then_is_used_on() -> None:
    trust = ListTrust()
    for _ in range(100):
        for _ in range(COST):
            trust.helped()
        trust.misled(0.0)
    assert trust.is_trusted(0.0)


def test_a_distrusted_list_is_ignored_for_longer_each_time_up_to_an_hour() -> None:
    trust, now, waits = ListTrust(), 0.0, list[float]()
    for _ in range(9):
        waits.append(distrusted(trust, now))
        now += waits[-1]
    assert waits[:3] == [SHORTEST_SECONDS, 2 * SHORTEST_SECONDS, 4 * SHORTEST_SECONDS]
    assert waits[-1] == LONGEST_SECONDS


def test_many_wrong_hints_at_one_moment_are_one_reason_to_leave_the_list_alone() -> None:
    trust = ListTrust()
    for _ in range(100):
        trust.misled(0.0)
    assert trust.seconds_left(1.0) == SHORTEST_SECONDS - 1
    assert trust.is_trusted(SHORTEST_SECONDS)


def test_a_list_that_was_right_for_long_is_as_good_as_new() -> None:
    trust = ListTrust()
    distrusted(trust, 0.0)
    for _ in range(MOST):
        trust.helped()
    now = 10 * SHORTEST_SECONDS
    assert distrusted(trust, now) == SHORTEST_SECONDS
