"""A storm's schedule can be replayed, and leaves nothing out."""

import pytest

from tests.chaos.load import make_requests
from tests.chaos.outages import faults_of
from tests.chaos.schedule import TRACKS, Track, act_at


@pytest.mark.parametrize("track", list(TRACKS))
def test_a_step_is_the_same_whenever_it_is_asked_for(track: Track) -> None:
    forwards = [act_at(7, step, track) for step in range(40)]
    backwards = [act_at(7, step, track) for step in reversed(range(40))]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize("track", list(TRACKS))
def test_a_round_of_steps_holds_every_act_and_another_seed_another_order(track: Track) -> None:
    names = TRACKS[track]
    orders = [[act_at(seed, step, track).name for step in range(len(names))] for seed in range(5)]
    assert all(sorted(order) == sorted(names) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_every_act_at_the_provider_but_a_shut_door_is_a_rule_of_the_simulator() -> None:
    for name in set(TRACKS["provider"]) - {"refuse"}:
        assert all(faults_of(name, step) for step in range(4))


def test_a_hold_meets_the_whole_account_and_each_model_alone() -> None:
    calls = [{fault.on for fault in faults_of("hold_model", step)} for step in range(2)]
    assert calls == [{"transcribe"}, {"submit"}]
    codes = {fault.code for step in range(2) for fault in faults_of("hold_account", step)}
    assert codes == {"InvalidApiKey", "Arrearage"}


def test_the_same_requests_are_made_again_for_a_seed() -> None:
    assert make_requests("a", 20, (0.2, 5.0), seed=3) == make_requests("a", 20, (0.2, 5.0), seed=3)
    assert make_requests("a", 20, (0.2, 5.0), seed=3) != make_requests("a", 20, (0.2, 5.0), seed=4)
