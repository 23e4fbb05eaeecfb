"""Items of a group keep their order, and no group waits for more than one item of each other group."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.core.limits.fair_queue import FairQueue

ITEMS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=60)
"""Groups and items."""


def queue_of(items: list[tuple[int, int]]) -> FairQueue[int, tuple[int, int]]:
    queue: FairQueue[int, tuple[int, int]] = FairQueue()
    for item in items:
        queue.add(item[0], item)
    return queue


def popped(queue: FairQueue[int, tuple[int, int]]) -> list[tuple[int, int]]:
    found = []
    while queue:
        found.append(queue.pop())
    return found


@given(ITEMS)
def test_every_item_leaves_once_and_those_of_a_group_in_the_order_of_their_arrival(
    items: list[tuple[int, int]],
) -> None:
    queue, once = queue_of(items), list(dict.fromkeys(items))
    assert sorted(queue) == sorted(once)
    assert len(queue) == len(once)
    assert all(queue.holds(item[0], item) for item in items)
    found = popped(queue)
    for group in range(6):
        assert [each for each in found if each[0] == group] == [each for each in once if each[0] == group]
    assert not any(queue.holds(item[0], item) for item in items)


@given(ITEMS)
def test_an_item_waits_for_at_most_one_item_of_each_other_group_behind_the_last_of_its_own(
    items: list[tuple[int, int]],
) -> None:
    meanwhile = {group: Counter[int]() for group, _ in items}
    for group, _ in popped(queue_of(items)):
        assert all(count == 1 for count in meanwhile[group].values())
        for waiting in meanwhile.values():
            waiting[group] += 1
        meanwhile[group].clear()


def test_a_new_group_waits_for_one_item_of_each_group_that_waits() -> None:
    queue = queue_of([(1, each) for each in range(100)] + [(2, each) for each in range(100)])
    queue.pop()
    queue.add(3, (3, 0))
    assert [queue.pop()[0] for _ in range(3)] == [2, 1, 3]


def test_groups_that_are_over_are_dropped() -> None:
    queue = queue_of([(1, 1), (1, 2), (2, 1)])
    queue.drop(lambda group: group == 1)
    assert (list(queue), len(queue)) == ([(2, 1)], 1)
    assert not queue.holds(1, (1, 1))


@given(ITEMS, st.data())
def test_a_removed_item_costs_its_group_no_turn(items: list[tuple[int, int]], data: st.DataObject) -> None:
    once = list(dict.fromkeys(items))
    gone = data.draw(st.lists(st.sampled_from(once), unique=True)) if once else []
    queue = queue_of(once)
    for item in gone:
        queue.remove(item[0], item)
        assert not queue.holds(item[0], item)
    left = [each for each in once if each not in gone]
    assert sorted(queue) == sorted(left)
    assert len(queue) == len(left)
    turns = {group: rank for rank, group in enumerate(dict.fromkeys(group for group, _ in once))}
    found = popped(queue)
    first_round = list(dict.fromkeys(group for group, _ in found))
    assert first_round == sorted(first_round, key=turns.__getitem__)
    assert len(found) == len(left)
    assert len(queue) == 0
