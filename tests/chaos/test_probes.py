"""A stall is named for what stands still; whatever moves, or is deliberately out of order, is none."""

from collections.abc import Mapping

from tests.chaos.probes import CURSOR_SECONDS, FLEET_SECONDS, INSTANCE_SECONDS, Member, Sample, Watch

MOVING: Mapping[str, float] = {"poll": 0.1, "submit": 0.2}


def a_sample(
    at: float,
    came: int = 0,
    outstanding: int = 1,
    loop_ages: Mapping[str, float] = MOVING,
    cursor: int = 5,
    end: int = 5,
    *,
    is_calm: bool = True,
) -> Sample:
    return Sample(at, came, outstanding, {"w": Member(loop_ages, {0: cursor})}, {0: end}, is_calm)


def stalls_of(*samples: Sample) -> list[str]:
    watch = Watch()
    for sample in samples:
        watch.take(sample)
    return [stall.partition(":")[0] for stall in watch.stalls]


def test_a_fleet_without_outcomes_is_one_stall() -> None:
    late = [a_sample(FLEET_SECONDS + 1 + second) for second in range(3)]
    assert stalls_of(a_sample(0), *late) == ["fleet"]


def test_a_fleet_that_finishes_something_or_has_nothing_to_do_does_not_stand_still() -> None:
    assert stalls_of(a_sample(0), a_sample(FLEET_SECONDS, came=1), a_sample(FLEET_SECONDS + 9, came=1)) == []
    assert stalls_of(a_sample(0, outstanding=0), a_sample(FLEET_SECONDS + 1, outstanding=0)) == []


def test_a_worker_whose_loop_does_not_turn_stands_still() -> None:
    stuck = {"poll": INSTANCE_SECONDS + 1, "submit": 0.2}
    assert stalls_of(a_sample(0, loop_ages=stuck)) == ["instance"]
    assert stalls_of(a_sample(0, loop_ages=stuck, is_calm=False)) == []


def test_a_cursor_that_lags_and_does_not_move_while_nothing_happens_stands_still() -> None:
    until = CURSOR_SECONDS + 1
    assert stalls_of(a_sample(0, cursor=4), a_sample(until, cursor=4, came=1)) == ["cursor"]
    assert stalls_of(a_sample(0, cursor=4), a_sample(until, cursor=5, came=1)) == []
    shaken = a_sample(until / 2, cursor=4, is_calm=False)
    assert stalls_of(a_sample(0, cursor=4), shaken, a_sample(until, cursor=4, came=1)) == []
