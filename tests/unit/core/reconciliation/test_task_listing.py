"""One reading of the account's list: what it keeps, and when something may have been missed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.provider.answers import ListedTask, TaskPage, TaskStatus, UnreadableRow
from service.core.reconciliation import task_listing
from service.core.reconciliation.task_listing import (
    EVER,
    TaskListing,
    TimeSpan,
    UnknownTask,
    is_within,
    meets,
    merged,
)

NOW = 1_000.0
ALL = ((0.0, NOW),)


def tasks(*created: int) -> tuple[ListedTask, ...]:
    """Tasks that are named after the time of their making."""
    return tuple(ListedTask(f"t{at}", TaskStatus.RUNNING, at) for at in created)


def read(
    *pages: tuple[int, ...],
    totals: tuple[int | None, ...] = (),
    witness: dict[str, tuple[int, int]] | None = None,
) -> TaskListing:
    """A reading of these pages; without other totals they say what they hold together."""
    listing = TaskListing(ALL, witness or {})
    said = totals or (sum(map(len, pages)),) * len(pages)
    for page, total in zip(pages, said, strict=True):
        listing.add(TaskPage(tasks(*page), total), NOW)
    return listing


@pytest.mark.parametrize(
    "pages",
    [
        ((),),
        ((9, 8, 7), (6, 5), ()),
        ((1, 2), (3, 4), ()),
        ((5, 5, 5), (5, 5), ()),
    ],
)
def test_a_list_in_order_is_read_whole(pages: tuple[tuple[int, ...], ...]) -> None:
    listing = read(*pages)
    assert listing.is_complete
    assert set(listing.found) == {f"t{at}" for page in pages for at in page}


def test_new_tasks_may_push_rows_to_the_next_page() -> None:
    assert read((9, 8, 7), (8, 7, 6), (5,), (), totals=(5, 7, 7, 7)).is_complete


def test_a_list_without_totals_ends_with_an_empty_page() -> None:
    assert read((9, 8), (7,), (), totals=(None, None, None)).is_complete


@pytest.mark.parametrize(
    ("pages", "totals"),
    [
        (((9, 8), (7,)), (3, 3)),
        (((9, 8), (7, 6), ()), (5, 5, 5)),
        (((9, 8), (6, 5), ()), (5, 4, 4)),
        (((9, 7), (8, 6), ()), (4, 4, 4)),
        (((9, 8), (7, 9), ()), (4, 4, 4)),
        (((9, 8), (7, 8), ()), (4, 4, 4)),
        (((2_000, 8), ()), (2, 2)),
    ],
    ids=[
        "the end was not reached",
        "fewer rows than it says",
        "rows left from before the page",
        "no order between pages",
        "no order within a page",
        "a row again in the middle",
        "a task of the future",
    ],
)
def test_what_may_have_missed_a_task_is_incomplete(
    pages: tuple[tuple[int, ...], ...], totals: tuple[int, ...]
) -> None:
    assert not read(*pages, totals=totals).is_complete


def test_a_page_that_fails_leaves_the_reading_incomplete_and_what_it_showed() -> None:
    listing = read((9, 8), ())
    listing.fail()
    assert not listing.is_complete
    assert set(listing.found) == {"t9", "t8"}


@pytest.mark.parametrize(
    ("witness", "is_complete"),
    [({"t9": (5, 10)}, True), ({"t4": (0, 10)}, False), ({"t9": (0, 8)}, False)],
    ids=["it is there", "it is missing", "its time is wrong"],
)
def test_a_task_of_ours_must_be_there_with_its_time(
    witness: dict[str, tuple[int, int]], is_complete: bool
) -> None:
    assert read((9, 8), (), witness=witness).is_complete is is_complete


def test_only_what_was_created_in_the_spans_is_kept() -> None:
    listing = TaskListing(((1, 2), (5, 6)), {})
    listing.add(TaskPage(tasks(7, 6, 4, 2, 0), 5), NOW)
    assert set(listing.found) == {"t6", "t2"}


def test_more_tasks_than_can_be_kept_make_it_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_listing, "MAX_FOUND", 2)
    listing = read((9, 8, 7), ())
    assert len(listing.found) == 2
    assert not listing.is_complete


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=30),
    st.integers(1, 7),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 3)), max_size=6),
)
def test_a_complete_reading_has_missed_nothing_whatever_comes_and_goes(
    created: list[int], size: int, changes: list[tuple[int, int]]
) -> None:
    """Between two pages one task may leave, from anywhere, and up to three may come."""
    rows, newest, left = sorted(created, reverse=True), 100, set[int]()
    lasting = set(created)
    listing, pending = TaskListing(ALL, {}), list(changes)
    for number in range(40):
        page = rows[number * size : (number + 1) * size]
        listing.add(TaskPage(tasks(*page), len(rows)), NOW)
        if listing.is_over:
            break
        if pending:
            gone, coming = pending.pop()
            left.update(rows[gone : gone + 1])
            del rows[gone : gone + 1]
            rows = [*range(newest + coming, newest, -1), *rows]
            newest += coming
    if listing.is_complete:
        assert {f"t{at}" for at in lasting - left} <= set(listing.found)


@given(st.floats(0, 9), st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=3))
def test_a_moment_is_within_when_one_span_holds_it(at: float, spans: list[tuple[float, float]]) -> None:
    assert is_within(at, spans) == bool([span for span in spans if span[0] <= at <= span[1]])


# Rows that cannot be read.


def unreadable(
    *rows: UnreadableRow, of: tuple[int, ...] = (9, 7, 5), spans: tuple[TimeSpan, ...] = ALL
) -> TaskListing:
    """A reading of one page with these rows among its tasks."""
    listing = TaskListing(spans, {})
    listing.add(TaskPage(tasks(*of), len(of) + len(rows), rows), NOW)
    listing.add(TaskPage((), len(of) + len(rows)), NOW)
    return listing


def test_a_row_that_cannot_be_read_voids_nothing_but_may_be_a_task_of_its_time() -> None:
    listing = unreadable(UnreadableRow(1))
    assert set(listing.found) == {"t9", "t7", "t5"}
    assert listing.is_complete
    assert listing.unknown == [UnknownTask(None, (7, 9))]


@pytest.mark.parametrize(
    ("place", "created", "span"),
    [
        (0, (9, 7, 5), (9, EVER[1])),
        (3, (9, 7, 5), (EVER[0], 5)),
        (0, (5, 7, 9), (EVER[0], 5)),
        (2, (5, 7, 9), (7, 9)),
        (3, (5, 7, 9), (9, EVER[1])),
        (0, (), EVER),
        (0, (9,), EVER),
        (1, (9,), EVER),
    ],
)
def test_its_neighbours_and_the_lists_order_bound_when_its_task_was_made(
    place: int, created: tuple[int, ...], span: TimeSpan
) -> None:
    assert unreadable(UnreadableRow(place, "t1"), of=created).unknown == [UnknownTask("t1", span)]


def test_a_row_that_tells_its_time_is_bound_by_that() -> None:
    assert unreadable(UnreadableRow(1, None, 8)).unknown == [UnknownTask(None, (8, 8))]


def test_a_row_outside_the_searched_times_is_no_candidate() -> None:
    rows = (UnreadableRow(1, None, 8), UnreadableRow(2))
    assert unreadable(*rows, spans=((0, 4), (10, 20))).unknown == []
    assert len(unreadable(*rows, spans=((0, 6), (8, 8))).unknown) == 2


def test_a_page_of_rows_that_cannot_be_read_is_not_the_lists_end() -> None:
    listing = TaskListing(ALL, {})
    listing.add(TaskPage((), 3, (UnreadableRow(0), UnreadableRow(0))), NOW)
    assert not listing.is_over
    listing.add(TaskPage(tasks(4), 3), NOW)
    listing.add(TaskPage((), 3), NOW)
    assert listing.is_complete
    assert [row.created for row in listing.unknown] == [EVER, EVER]


def test_a_row_that_the_last_page_had_counts_once() -> None:
    listing = TaskListing(ALL, {})
    listing.add(TaskPage(tasks(9, 8), 4, (UnreadableRow(1),)), NOW)
    listing.add(TaskPage(tasks(8, 7), 4, (UnreadableRow(0), UnreadableRow(1))), NOW)
    assert [row.created for row in listing.unknown] == [(8, 9), (7, 8)]


def test_more_rows_that_cannot_be_read_than_can_be_kept_make_it_incomplete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_listing, "MAX_UNREADABLE", 2)
    rows = [UnreadableRow(1, None, 8), UnreadableRow(2), UnreadableRow(3)]
    assert unreadable(*rows[:2]).is_complete
    listing = unreadable(*rows)
    assert len(listing.unknown) == 2
    assert not listing.is_complete


# Spans.

SPANS = st.tuples(st.floats(0, 9), st.floats(0, 9)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(SPANS, max_size=5), st.floats(0, 9))
def test_merged_spans_are_the_same_time_and_do_not_touch(spans: list[TimeSpan], at: float) -> None:
    found = merged(spans)
    assert is_within(at, found) == is_within(at, spans)
    assert all(one[1] < other[0] for one, other in pairwise(found))


@given(SPANS, SPANS)
def test_spans_meet_where_one_moment_is_in_both(one: TimeSpan, other: TimeSpan) -> None:
    latest_begin = max(one[0], other[0])
    assert meets(one, other) == (is_within(latest_begin, [one]) and is_within(latest_begin, [other]))
