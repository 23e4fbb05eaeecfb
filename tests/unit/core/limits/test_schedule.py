"""What is due when: the queue's order, and the times between looks."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.limits.schedule import SHARED_TIMES, DueQueue, PollSchedule, SharedTimes

TIMES = st.integers(0, 50)
SECONDS = st.floats(0.0, 1e6)


@given(st.lists(st.tuples(st.booleans(), TIMES)))
def test_the_queue_gives_what_is_due_longest_and_equal_times_in_order_of_arrival(
    acts: list[tuple[bool, int]],
) -> None:
    queue: DueQueue[int] = DueQueue()
    waiting: list[tuple[int, int]] = []
    for number, (is_push, time_ms) in enumerate(acts):
        if is_push:
            queue.push(time_ms, number)
            waiting.append((time_ms, number))
        else:
            due = min((item for item in waiting if item[0] <= time_ms), default=None)
            assert queue.pop_due(time_ms) == (due[1] if due else None)
            waiting = [item for item in waiting if item != due]
        assert len(queue) == len(waiting)
        assert sorted(queue) == sorted(item for _, item in waiting)
        assert queue.next_due_ms() == min((time for time, _ in waiting), default=None)


def test_items_that_cannot_be_compared_may_be_due_at_one_time() -> None:
    queue: DueQueue[object] = DueQueue()
    first, second = object(), object()
    queue.push(1, first)
    queue.push(1, second)
    assert (queue.pop_due(1), queue.pop_due(1)) == (first, second)


@given(TIMES.map(lambda ms: ms * 10_000), st.integers(-(10**6), 10**9))
def test_a_poll_is_neither_sooner_nor_later_than_the_bounds(submitted_ms: int, age_ms: int) -> None:
    schedule = PollSchedule(2.0, 30.0)
    now_ms = submitted_ms + age_ms
    wait_ms = schedule.next_poll_ms(submitted_ms, now_ms) - now_ms
    assert 1000 * schedule.first_seconds <= wait_ms <= 1000 * schedule.longest_seconds


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_an_older_task_is_never_polled_more_often(age_ms: int, other_ms: int) -> None:
    schedule = PollSchedule(2.0, 30.0)
    waits = [schedule.next_poll_ms(0, age) - age for age in sorted((age_ms, other_ms))]
    assert waits == sorted(waits)


@given(st.integers(8_000, 120_000))
def test_within_the_bounds_the_delay_is_a_fixed_part_of_the_age(age_ms: int) -> None:
    assert abs(PollSchedule(2.0, 30.0).next_poll_ms(0, age_ms) - 1.25 * age_ms) <= 1


def test_equal_times_are_one_object_and_only_the_latest_are_known() -> None:
    times, first = SharedTimes(), 10**12
    assert times.once(first) is times.once(int(str(first))) is first
    for later in range(SHARED_TIMES + 1):
        times.once(first + 1 + later)
    again = int(str(first))
    assert times.once(again) is again
