"""A storm's schedule can be replayed, and leaves nothing out."""

from tests.chaos.load import make_requests
from tests.chaos.schedule import ACTS, act_at


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    forwards = [act_at(7, step) for step in range(40)]
    backwards = [act_at(7, step) for step in reversed(range(40))]
    assert forwards == backwards[::-1]


def test_ten_steps_hold_every_act_and_another_seed_another_order() -> None:
    orders = [[act_at(seed, step).name for step in range(len(ACTS))] for seed in range(5)]
    assert all(sorted(order) == sorted(ACTS) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_the_same_requests_are_made_again_for_a_seed() -> None:
    assert make_requests("a", 20, (0.2, 5.0), seed=3) == make_requests("a", 20, (0.2, 5.0), seed=3)
    assert make_requests("a", 20, (0.2, 5.0), seed=3) != make_requests("a", 20, (0.2, 5.0), seed=4)
