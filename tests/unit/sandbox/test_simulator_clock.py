"""The simulator's time and the vendor's way of writing it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.simulator.clock import SimulatedClock, http_date, read_list_stamp, result_folder, vendor_time

NOON_UTC = 1_772_452_800.0  # 2026-03-02 12:00:00Z, 20:00 at the vendor
EPOCHS = st.integers(min_value=0, max_value=4_000_000_000_000).map(lambda millis: millis / 1000)


class _Wall:
    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


@given(speed=st.floats(0.1, 1000), passed=st.floats(0, 1e6), advanced=st.floats(0, 1e6))
def test_a_fast_clock_runs_in_proportion_and_keeps_what_it_was_advanced(
    speed: float, passed: float, advanced: float
) -> None:
    wall = _Wall()
    clock = SimulatedClock(speed=speed, start=NOON_UTC, monotonic=wall)
    clock.advance(advanced)
    wall.seconds += passed
    assert clock.now() == pytest.approx(NOON_UTC + advanced + passed * speed)
    assert clock.wall() == pytest.approx(passed)


@given(st.lists(st.floats(0, 1e6), max_size=10))
def test_a_virtual_clock_moves_by_advance_alone_and_never_back(steps: list[float]) -> None:
    wall = _Wall()
    clock = SimulatedClock(virtual=True, start=NOON_UTC, monotonic=wall)
    seen = [clock.now()]
    for step in steps:
        wall.seconds += 1000
        seen.append(clock.advance(step))
    assert seen == sorted(seen)
    assert clock.now() == pytest.approx(NOON_UTC + sum(steps))


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_clock_cannot_be_advanced_by_nonsense(seconds: float) -> None:
    with pytest.raises(ValueError, match="advance_seconds"):
        SimulatedClock(virtual=True).advance(seconds)


def test_vendor_times_are_gmt_plus_8_without_a_zone() -> None:
    assert vendor_time(NOON_UTC + 0.113) == "2026-03-02 20:00:00.113"
    assert vendor_time(NOON_UTC + 0.9999) == "2026-03-02 20:00:01.000"
    assert result_folder(NOON_UTC + 15 * 60) == "20260302/20%3A15"
    assert http_date(NOON_UTC) == "Mon, 02 Mar 2026 12:00:00 GMT"


@given(EPOCHS)
def test_a_list_stamp_reads_back_to_the_second_it_names(epoch: float) -> None:
    stamp = vendor_time(epoch)[:19].translate({ord(mark): None for mark in "-: "})
    assert read_list_stamp(stamp) == pytest.approx(round(epoch * 1000) // 1000)


@pytest.mark.parametrize(
    "stamp", ["", "2026-03-02", "20260302", "20261302000000", "２０２６０３０２００００００"]
)
def test_other_stamps_are_refused(stamp: str) -> None:
    with pytest.raises(ValueError, match=r"YYYYMMDDhhmmss|does not match format|unconverted"):
        read_list_stamp(stamp)


def test_the_time_until_a_moment_is_given_in_real_seconds() -> None:
    wall = [0.0]
    fast = SimulatedClock(speed=10, start=100.0, monotonic=lambda: wall[0])
    still = SimulatedClock(virtual=True, start=100.0, monotonic=lambda: wall[0])
    assert (fast.real_seconds_until(150.0), still.real_seconds_until(150.0)) == (5.0, math.inf)
    wall[0] = 4.0
    assert fast.real_seconds_until(150.0) == 1.0
    still.advance(50)
    assert (fast.real_seconds_until(140.0), still.real_seconds_until(150.0)) == (0.0, 0.0)
