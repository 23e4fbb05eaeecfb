"""Urgency: where not all can go, the task whose result may be gone first does."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.job.submission import SubmissionState
from service.core.job.urgency import (
    CAN_WAIT,
    NEAR,
    PAST,
    RETENTION_MS,
    URGENT_MS,
    Priority,
    PriorityQueue,
    priority,
    retention_end_ms,
)
from tests.unit.core.samples import NOW_MS, submission

HOUR_MS = 3_600_000


def order(*edges_in_hours: float) -> list[float]:
    """Edges, in hours from now, in the order in which their tasks go."""
    line: PriorityQueue[float] = PriorityQueue()
    for hours in edges_in_hours:
        line.push(priority(NOW_MS + round(hours * HOUR_MS), NOW_MS), hours)
    return [line.pop() for _ in edges_in_hours]


def test_the_edge_counts_from_the_last_poll_that_found_the_task_at_work_else_from_its_submit() -> None:
    submitted = submission(SubmissionState.RUNNING, submitted_ms=NOW_MS)
    assert retention_end_ms(submitted) == NOW_MS + RETENTION_MS
    seen = submission(SubmissionState.RUNNING, submitted_ms=NOW_MS, unfinished_ms=NOW_MS + HOUR_MS)
    assert retention_end_ms(seen) == NOW_MS + HOUR_MS + RETENTION_MS


def test_a_task_of_unknown_age_is_past_its_edge() -> None:
    assert (
        priority(retention_end_ms(submission(SubmissionState.RUNNING, submitted_ms=None)), NOW_MS).group
        == PAST
    )


def test_near_the_edge_the_oldest_goes_first_then_the_likeliest_behind_it_then_what_can_wait() -> None:
    assert order(20, 5, -30, 0.1, -0.2, 24, 3) == [0.1, 3, 5, -0.2, -30, 20, 24]


def test_what_can_wait_goes_in_the_order_of_its_coming() -> None:
    assert order(20, 24, 7, 23) == [20, 24, 7, 23]


def test_the_bounds_of_the_groups() -> None:
    assert priority(NOW_MS, NOW_MS).group == PAST
    assert priority(NOW_MS + 1, NOW_MS).group == NEAR
    assert priority(NOW_MS + URGENT_MS, NOW_MS).group == NEAR
    assert priority(NOW_MS + URGENT_MS + 1, NOW_MS) == Priority(CAN_WAIT)


@given(st.lists(st.integers(-2 * RETENTION_MS, RETENTION_MS), max_size=30))
def test_nothing_that_can_wait_goes_before_what_cannot(edges: list[int]) -> None:
    line: PriorityQueue[int] = PriorityQueue()
    for edge in edges:
        line.push(priority(NOW_MS + edge, NOW_MS), edge)
    assert len(line) == len(edges)
    gone = []
    while line:
        first, item = line.first
        assert (first, item) == (priority(NOW_MS + item, NOW_MS), line.pop())
        gone.append(first.group)
    assert gone == sorted(gone)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=10), st.integers(1, 12))
def test_of_the_first_that_can_wait_the_best_goes_first_and_the_others_last(
    ranks: list[int], most: int
) -> None:
    line: PriorityQueue[tuple[int, int]] = PriorityQueue()
    items = list(enumerate(ranks))
    for item in items:
        line.push(Priority(CAN_WAIT), item)
    passed = line.prefer(most, lambda item: (item[1],))
    best = max(items[:most], key=lambda item: item[1])
    assert passed == [item for item in items[:most] if item is not best]
    assert [line.pop() for _ in items] == [best, *items[most:], *passed]
