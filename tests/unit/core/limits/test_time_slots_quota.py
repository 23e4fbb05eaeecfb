"""N7 and N14 over all replicas, counted at the provider in every sliding second, in virtual time."""

import pytest

from tests.unit.core.limits.slot_world import FAST, QUERY, QUOTAS, SLOW, Member, SlotWorld

computes = pytest.mark.computes
REPLICAS = (12, *(pytest.param(replicas, marks=computes) for replicas in (1, 2, 48)))
SEEDS = (0, *(pytest.param(seed, marks=computes) for seed in (1, 2)))

pytestmark = [pytest.mark.parametrize("replicas", REPLICAS), pytest.mark.parametrize("seed", SEEDS)]


def started(seed: int, replicas: int, until: float = 15.0) -> SlotWorld:
    world = SlotWorld(seed)
    world.start(replicas)
    world.run(until)
    return world


def one_of(world: SlotWorld) -> Member:
    return world.random.choice(world.members)


def test_no_second_holds_more_calls_than_the_quota_however_many_replicas_there_are(
    seed: int, replicas: int
) -> None:
    world = started(seed, replicas, until=15)
    before = {kind: len(world.arrivals[kind]) for kind in QUOTAS}
    world.run(75)
    rates = {kind: (len(world.arrivals[kind]) - before[kind]) / 60 for kind in QUOTAS}
    assert world.worst_over() == {}
    assert rates[QUERY] > 14.4
    assert rates[FAST] > 7.1
    assert rates[SLOW] > 1.2


def test_joins_and_leaves_under_way_do_not_exceed_the_quota(seed: int, replicas: int) -> None:
    world = started(seed, replicas)
    for _ in range(6):
        world.join()
        world.run(world.now + world.random.uniform(1, 12))
        world.leave(one_of(world))
        world.run(world.now + world.random.uniform(1, 12))
    assert world.worst_over() == {}


def test_a_broker_that_stalls_for_two_seconds_does_not_exceed_the_quota(seed: int, replicas: int) -> None:
    world = started(seed, replicas)
    world.broker_away += [(begin, begin + 2) for begin in (20.0, 24.0, 29.5)]
    world.run(45)
    assert world.worst_over() == {}


def test_a_member_that_is_cut_off_from_kafka_does_not_exceed_the_quota(seed: int, replicas: int) -> None:
    world = started(seed, replicas)
    world.cut(one_of(world))
    world.run(120)
    assert world.worst_over() == {}


def test_a_static_member_replaced_while_it_is_cut_off_does_not_exceed_the_quota(
    seed: int, replicas: int
) -> None:
    world = started(seed, replicas)
    for _ in range(3 if replicas < 48 else 12):
        world.replace(one_of(world))
        world.run(world.now + world.random.uniform(0, 1))
    world.run(60)
    assert world.worst_over() == {}


def test_a_rebalance_soon_after_a_replacement_does_not_exceed_the_quota(seed: int, replicas: int) -> None:
    """Who gives a partition back before it was sure of it can say of nobody that calls have stopped."""
    world = started(seed, replicas)
    for _ in range(max(1, replicas // 2)):
        world.replace(one_of(world))
    world.run(world.now + world.random.uniform(0, 2))
    world.join()
    world.run(world.now + 4)
    world.rebalance()
    world.run(60)
    assert world.worst_over() == {}


def test_a_crash_does_not_exceed_the_quota(seed: int, replicas: int) -> None:
    world = started(seed, replicas)
    world.crash(one_of(world))
    world.join()
    world.run(120)
    assert world.worst_over() == {}


def test_partitions_added_under_running_replicas_do_not_exceed_the_quota(seed: int, replicas: int) -> None:
    world = started(seed, replicas)
    for partitions in (53, 64, 96):
        world.partitions = partitions
        world.join()
        world.run(world.now + 25)
    assert world.worst_over() == {}


def test_partitions_added_while_a_replaced_member_is_cut_off_do_not_exceed_the_quota(
    seed: int, replicas: int
) -> None:
    world = started(seed, replicas)
    for _ in range(max(1, replicas // 2)):
        world.replace(one_of(world))
    world.partitions = 96
    world.rebalance()
    world.run(60)
    assert world.worst_over() == {}


def test_a_view_of_the_vendors_clock_that_is_half_a_second_wrong_does_not_exceed_the_quota(
    seed: int, replicas: int
) -> None:
    world = SlotWorld(seed, worst_error=0.5, uncertainty=0.5)
    world.start(replicas)
    world.run(75)
    assert world.worst_over() == {}


def test_a_clock_that_jumps_back_and_forth_does_not_exceed_the_quota(seed: int, replicas: int) -> None:
    world = started(seed, replicas)
    for member in world.members:
        boot = world.now + member.machine.origin
        member.machine.steps = [(boot + 5, 3600.0 + member.machine.error), (boot + 12, member.machine.error)]
    world.run(60)
    assert world.worst_over() == {}


@pytest.mark.parametrize("seconds", [2, 10])
def test_a_path_that_was_away_does_not_exceed_the_quota(seed: int, replicas: int, seconds: float) -> None:
    world = started(seed, replicas)
    world.path_away += [(20.0, 20.0 + seconds), (40.0, 40.0 + seconds)]
    world.run(60)
    # Of 48 replicas a few may have connected, and not called yet, when the path went away.
    assert world.worst(QUERY) <= (22 if replicas == 48 else 20)


@pytest.mark.parametrize("away_seconds", [2, *(pytest.param(each, marks=computes) for each in (0, 10))])
@pytest.mark.parametrize("answer_seconds", [1.1, pytest.param(1.5, marks=computes), 3.0])
def test_a_provider_that_usually_answers_late_is_called_within_the_quota_wherever_its_path_goes(
    seed: int, replicas: int, answer_seconds: float, away_seconds: float
) -> None:
    world = SlotWorld(seed, answer_seconds=(answer_seconds, answer_seconds + 0.2))
    world.start(replicas)
    world.run(45)
    assert replicas > 4 or len(world.arrivals[QUERY]) > 45 * 9 / max(1.5, answer_seconds)
    world.run(60)
    world.path_away += [(begin, begin + away_seconds) for begin in (60.0, 80.0)]
    world.run(100)
    assert world.worst(FAST) <= 10
    assert world.worst(QUERY) <= (22 if replicas == 48 else 20)
