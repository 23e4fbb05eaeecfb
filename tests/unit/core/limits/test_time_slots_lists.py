"""N7 for list calls, which are limited by the number of those that are unanswered, in virtual time."""

import pytest

from tests.unit.core.limits.slot_world import LIST, LISTS, QUERY, QUOTAS, SlotWorld


@pytest.mark.parametrize("replicas", [1, 2, 12])
@pytest.mark.parametrize("has_polls", [False, True])
@pytest.mark.parametrize("seconds", [2, 9])
def test_list_calls_that_a_broken_path_held_do_not_exceed_the_quota(
    replicas: int, seconds: float, has_polls: bool
) -> None:
    world = SlotWorld(0, quotas={**LISTS, QUERY: QUOTAS[QUERY]} if has_polls else LISTS)
    world.start(replicas)
    world.run(15)
    world.path_away += [(20.0, 20.0 + seconds), (40.0, 40.0 + seconds)]
    world.run(60)
    assert world.worst_over() == {}
    assert len(world.arrivals[LIST]) > 120


@pytest.mark.parametrize("replicas", [1, 12])
def test_a_list_that_is_always_slow_is_read_at_the_rate_that_its_answers_allow(replicas: int) -> None:
    world = SlotWorld(0, quotas=LISTS, answer_seconds=(3.0, 3.2))
    world.start(replicas)
    world.run(60)
    assert world.worst_over() == {}
    assert len(world.arrivals[LIST]) > 60
