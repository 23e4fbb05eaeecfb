"""A task is missed only where a page proves that it is not running any more, however rows move meanwhile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.polling.listed_tasks import (
    FIRST_MS,
    LAST_MS,
    MAX_LISTED,
    ListedTasks,
    Place,
    Span,
    order_of,
    span_of,
)
from service.core.provider.answers import ListedTask, TaskPage, TaskStatus, UnreadableRow

LISTED_MS, ASKED_MS = 1_000, 1_000
"""A page that is asked for when another one is answered is the later one."""
FIRST, MIDDLE, LAST, ONLY = (True, False), (False, False), (False, True), (True, True)


def page(*times: int, unreadable: int = 0) -> TaskPage:
    """A page of running tasks created then, each named after its time."""
    rows = tuple(ListedTask(f"t{time_ms}", TaskStatus.RUNNING, time_ms) for time_ms in times)
    return TaskPage(rows, None, (UnreadableRow(0),) * unreadable)


def listed(*times: int) -> ListedTasks:
    tasks = ListedTasks()
    for time_ms in times:
        tasks.add(f"t{time_ms}", time_ms, LISTED_MS)
    return tasks


@given(
    st.sets(st.integers(0, 400), max_size=60),
    st.lists(st.sets(st.integers(0, 400), max_size=8), max_size=30),
    st.integers(1, 9),
    st.booleans(),
)
def test_no_running_task_is_missed_though_others_come_and_go_between_the_pages(
    running: set[int], ends: list[set[int]], size: int, is_newest_first: bool
) -> None:
    tasks, now, number = listed(*sorted(running)), 400, 0
    gone = set[str]()
    for ended in [*ends, *[set[int]()] * 60]:
        rows = sorted(running, reverse=is_newest_first)
        shown = page(*rows[number * size : (number + 1) * size])
        is_last = (number + 1) * size >= len(rows)
        span = span_of(shown, Place(number == 0, is_last, is_newest_first))
        if span is not None:
            missing = tasks.take_missing(span, (row.task_id for row in shown.tasks), ASKED_MS)
            assert set(missing) <= gone
        number, now = number + 1, now + 1
        gone |= {f"t{each}" for each in ended & running}
        running = (running - ended) | {now}


@given(st.sets(st.integers(0, 99), min_size=1), st.sets(st.integers(0, 99)), st.integers(1, 9), st.booleans())
def test_in_a_list_at_rest_every_ended_task_is_missed_that_no_edge_of_a_page_hides(
    before: set[int], ended: set[int], size: int, is_newest_first: bool
) -> None:
    tasks, rows = listed(*before), sorted(before - ended, reverse=is_newest_first)
    pages = [rows[at : at + size] for at in range(0, len(rows), size)] or [[]]
    missing: set[str] = set()
    hidden: set[int] = set()
    for number, times in enumerate(pages):
        place = Place(number == 0, number == len(pages) - 1, is_newest_first)
        span = span_of(page(*times), place)
        assert span is not None
        missing |= set(tasks.take_missing(span, (f"t{each}" for each in times), ASKED_MS))
        if number:
            edge = sorted((pages[number - 1][-1], times[0]))
            hidden |= set(range(edge[0], edge[1] + 1))
    assert missing == {f"t{each}" for each in (before & ended) - hidden}


@pytest.mark.parametrize(
    ("times", "place", "span"),
    [
        ((9, 5), Place(*MIDDLE, True), Span(5, 9)),
        ((9, 5), Place(*FIRST, True), Span(5, LAST_MS)),
        ((9, 5), Place(*LAST, True), Span(FIRST_MS, 9)),
        ((5, 9), Place(*FIRST, False), Span(FIRST_MS, 9)),
        ((5, 9), Place(*LAST, False), Span(5, LAST_MS)),
        ((9, 5), Place(*FIRST, None), Span(5, 9)),
        ((5,), Place(*FIRST, None), Span(5, 5)),
        ((5,), Place(*ONLY, None), Span(FIRST_MS, LAST_MS)),
        ((), Place(*ONLY, None), Span(FIRST_MS, LAST_MS)),
        ((), Place(*MIDDLE, True), None),
        ((5, 9), Place(*MIDDLE, True), None),
        ((9, 5), Place(*ONLY, False), None),
        ((5, 9, 7), Place(*ONLY, None), None),
        ((7, 7, 7), Place(*MIDDLE, True), Span(7, 7)),
    ],
)
def test_a_page_shows_completely_what_lies_between_its_rows(
    times: tuple[int, ...], place: Place, span: Span | None
) -> None:
    assert span_of(page(*times), place) == span


def test_a_page_with_a_row_that_cannot_be_read_proves_nothing() -> None:
    assert span_of(page(9, 5, unreadable=1), Place(*ONLY, True)) is None


def test_the_order_of_a_page_is_known_from_two_times() -> None:
    assert (order_of(page(9, 5)), order_of(page(5, 9))) == (True, False)
    assert (order_of(page(5)), order_of(page()), order_of(page(5, 5))) == (None, None, None)


def test_a_task_is_kept_once_and_missed_once() -> None:
    tasks = listed(5, 7, 7, 9)
    tasks.add("other", 7, LISTED_MS)
    tasks.add("t7", 7, LISTED_MS)
    assert len(tasks) == 4
    assert tasks.take_missing(Span(5, 9), (), ASKED_MS) == ["t7", "other"]
    assert tasks.take_missing(Span(5, 9), (), ASKED_MS) == []
    assert tasks.take_missing(Span(FIRST_MS, LAST_MS), ["t5"], ASKED_MS) == ["t9"]
    tasks.clear()
    assert len(tasks) == 0


def test_a_page_that_was_asked_for_before_another_one_showed_a_task_does_not_prove_its_end() -> None:
    tasks = listed(5, 7, 9)
    tasks.add("late", 6, LISTED_MS + 1)
    assert tasks.take_missing(Span(4, 9), (), ASKED_MS) == ["t5", "t7"]
    assert tasks.take_missing(Span(4, 9), (), LISTED_MS) == []
    assert tasks.take_missing(Span(4, 9), (), LISTED_MS + 1) == ["late"]


def test_no_more_tasks_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_LISTED >= 100_000
    monkeypatch.setattr("service.core.polling.listed_tasks.MAX_LISTED", 3)
    assert len(listed(1, 2, 3, 4)) == 3
