"""Replicas that see the same slots read one page after the other, and leave none out."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.limits.time_slots import stride_of
from service.core.polling.page_turns import (
    EXTENT_SECONDS,
    LONGEST_AGE_SECONDS,
    MAX_PAGES,
    SHARING_SECONDS,
    SHORTEST_AGE_SECONDS,
    TIE_SECONDS,
    Extent,
    PageTurns,
    pages_of,
)

SPACING_SECONDS = 0.0675
LATE_SECONDS = 0.4
"""From the choice of a page until the other replicas know of it."""


def longest_gap(replicas: int, served: int, pages: int, partitions: int = 60) -> float:
    """In slots of the replicas that call, the longest time without a read of some page."""
    dice, views = random.Random(1), [PageTurns() for _ in range(replicas)]
    last = dict.fromkeys(range(1, pages + 1), 0)
    told: list[tuple[float, int, int, float]] = []
    longest = used = 0
    for slot in range(1, 60 * pages + 600):
        place = slot % partitions
        owner = (place * stride_of(partitions) % partitions) * replicas // partitions
        if owner >= served:
            continue
        now, used = slot * SPACING_SECONDS, used + 1
        while told and told[0][0] <= now:
            _, reader, page, asked_at = told.pop(0)
            for number, view in enumerate(views):
                if number != reader:
                    view.read(page, asked_at, 0)
        chosen = views[owner].next_page(slot, pages, now, dice.random())
        if chosen is None:
            continue
        views[owner].read(chosen, now, 0)
        told.append((now + LATE_SECONDS, owner, chosen, now))
        if used > 10 * pages:
            longest = max(longest, used - last[chosen])
        last[chosen] = used
    return max(longest, *(used - each for each in last.values()))


@pytest.mark.parametrize("replicas", [4, 12])
@pytest.mark.parametrize("pages", [10, 13, 20, 50])
def test_where_all_call_each_page_is_read_once_a_round(replicas: int, pages: int) -> None:
    # The turns shift after each round: two reads of a page are a round apart, and now and then two.
    assert longest_gap(replicas, replicas, pages) <= 2 * pages


@pytest.mark.parametrize("served", [1, 2, 3, 6, 11])
@pytest.mark.parametrize("pages", [8, 12, 13, 24, 60])
def test_where_some_do_not_call_no_page_is_left_out(served: int, pages: int) -> None:
    assert longest_gap(12, served, pages) <= 6 * pages


@settings(max_examples=30)
@given(st.integers(2, 40), st.integers(0, 10**12))
def test_of_pages_read_long_ago_each_slot_has_its_own(pages: int, first: int) -> None:
    turns = PageTurns()
    for page in range(1, pages + 1):
        turns.read(page, 0.0, 0)
    chosen = [turns.next_page(slot, pages, 100.0, 0.5) for slot in range(first, first + pages)]
    # Where one round ends and the next begins, one page may come twice.
    assert len(set(chosen)) >= pages - 1


def test_a_page_that_was_just_read_is_left_out_and_one_that_waits_far_longer_goes_first() -> None:
    turns, now = PageTurns(), 100.0
    turn = turns.next_page(7, 3, now, 0.0)
    assert turn is not None
    others = [page for page in (1, 2, 3) if page != turn]
    for page in others:
        turns.read(page, now - LONGEST_AGE_SECONDS + 0.01, 0)
    turns.read(turn, now - SHORTEST_AGE_SECONDS + 0.01, 0)
    assert turns.next_page(7, 3, now, 0.0) is None
    turns.read(turn, now - SHORTEST_AGE_SECONDS + 0.005, 0)
    assert turns.next_page(7, 3, now + 0.02, 0.0) == turn
    later = now + 10
    turns.read(turn, later - 2.0, 0)
    assert turns.next_page(7, 3, later, 0.0) == others[0]


def test_among_pages_that_wait_equally_long_chance_decides() -> None:
    turns = PageTurns()
    for page, asked_at in (
        (1, 10.0),
        (2, 10.0 + 0.9 * TIE_SECONDS),
        (3, 10.0 + 1.1 * TIE_SECONDS),
        (4, 19.9),
    ):
        turns.read(page, asked_at, 0)
    slot = next(slot for slot in range(16) if (slot + slot // 4) % 4 == 3)
    assert {turns.next_page(slot, 4, 20.0, chance / 10) for chance in range(10)} == {1, 2}


def test_an_earlier_read_that_is_heard_of_late_changes_nothing() -> None:
    turns = PageTurns()
    turns.read(1, 9.9, 3)
    turns.read(1, 5.0, 3)
    assert turns.next_page(0, 1, 10.0, 0.0) is None


def test_the_length_of_the_list_is_known_while_others_are_heard_and_our_own_answer_is_recent() -> None:
    turns = PageTurns()
    turns.note_own_answer(2, 100, 250, 10.0)
    turns.note_shared_page(10.0)
    assert turns.extent(10.0) is None
    turns.note_own_answer(1, 100, 250, 11.0)
    turns.note_own_answer(2, 50, 260, 12.0)
    assert turns.extent(12.0) == Extent(100, 260)
    assert turns.extent(10.1 + SHARING_SECONDS) is None
    turns.note_shared_page(50.0)
    turns.note_shared_page(11.0)
    assert turns.extent(12.1 + EXTENT_SECONDS) is None
    turns.note_own_answer(2, 50, None, 50.0)
    assert turns.extent(50.0) is None


def test_the_number_of_pages_is_bounded() -> None:
    assert [pages_of(Extent(*each)) for each in ((0, 0), (10, 0), (10, 10), (10, 11))] == [1, 1, 1, 2]
    assert pages_of(Extent(1, 10**9)) == MAX_PAGES
    turns = PageTurns()
    turns.read(MAX_PAGES + 1, 1.0, 1)
    turns.read(3, 2.0, 4)
    assert turns.shown_since(1.0) == {3: 4}
    assert turns.shown_since(2.5) == {}
