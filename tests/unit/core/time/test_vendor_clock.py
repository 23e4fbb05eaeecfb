"""The vendor's clock, learned from the dates of its answers."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.time.vendor_clock import (
    DRIFT,
    MAX_SECONDS,
    MAX_VERSIONS,
    MIN_SECONDS,
    WINDOW_SECONDS,
    VendorClock,
)

AHEAD = 1_760_000_000.25
"""Vendor time minus boot time in these tests."""
DAYS = 3 * 86_400.0
CALL = st.tuples(
    st.floats(0.01, 30.0),  # since the last call was sent
    st.floats(0.0, 2.0),  # on the way there
    st.floats(0.0, 2.0),  # on the way back
)


def answer(
    vendor: VendorClock, sent: float, there: float = 0.01, back: float = 0.01, *, ahead: float = AHEAD
) -> None:
    """One call, answered by a vendor whose clock is `ahead` of the boot clock."""
    vendor.observe(sent, sent + there + back, 1000 * math.floor(sent + there + ahead))


def width(vendor: VendorClock, boot: float) -> float:
    low, high = known(vendor, boot)
    return high - low


def known(vendor: VendorClock, boot: float) -> tuple[float, float]:
    bounds = vendor.offset_seconds(boot)
    assert bounds is not None
    return bounds


def test_nothing_is_known_before_the_first_answer() -> None:
    vendor = VendorClock()
    assert vendor.offset_seconds(100.0) is None
    assert vendor.observed_boot is None


def test_one_answer_bounds_it_by_the_missing_part_of_the_second_and_the_time_of_the_call() -> None:
    vendor = VendorClock()
    vendor.observe(100.0, 100.5, 2_000_000)
    assert vendor.offset_seconds(100.5) == pytest.approx((1_899.5, 1_901.0), abs=1e-3)
    assert vendor.observed_boot == 100.5


@given(st.lists(CALL, min_size=1, max_size=60))
def test_an_honest_vendor_is_always_within_the_bounds(calls: list[tuple[float, float, float]]) -> None:
    vendor, boot = VendorClock(), 5_000.0
    for since, there, back in calls:
        boot += since
        answer(vendor, boot, there, back)
        received = max(boot + there + back, vendor.observed_boot or 0.0)
        low, high = known(vendor, received)
        assert low - 1e-6 <= AHEAD <= high + 1e-6


def test_forty_answers_bound_it_to_an_eighth_of_a_second() -> None:
    chance, vendor, boot = random.Random(1), VendorClock(), 5_000.0
    for _ in range(40):
        boot += chance.uniform(0.1, 1.5)
        answer(vendor, boot, chance.uniform(0.01, 0.03), chance.uniform(0.01, 0.03))
    assert width(vendor, boot + 0.1) < 0.125


@pytest.mark.parametrize("lie", [-DAYS, -2.0, 2.0, DAYS])
def test_a_date_that_is_wrong_is_outvoted(lie: float) -> None:
    vendor, boot = VendorClock(), 5_000.0
    for second in range(20):
        answer(vendor, boot + second, ahead=AHEAD + lie if second in (3, 11, 19) else AHEAD)
        # The bounds of a second that lied alone are those of the lie until the next one.
        low, high = known(vendor, boot + second + 1)
        assert second == 0 or low <= AHEAD <= high


def test_many_wrong_dates_within_one_second_have_one_vote() -> None:
    vendor = VendorClock()
    for second in range(4):
        answer(vendor, 5_000.0 + second)
    for lie in range(100):
        answer(vendor, 5_004.1 + lie / 1000, ahead=AHEAD + DAYS)
    low, high = known(vendor, 5_005.0)
    assert low <= AHEAD <= high


def test_one_wrong_date_after_an_idle_hour_is_outvoted_by_what_was_known() -> None:
    vendor = VendorClock()
    for second in range(12):
        answer(vendor, 5_000.0 + second)
    answer(vendor, 8_600.0, ahead=AHEAD + DAYS)
    low, high = known(vendor, 8_601.0)
    assert low <= AHEAD <= high


def test_a_vendor_whose_clock_was_set_is_followed_once_most_seconds_say_so() -> None:
    vendor = VendorClock()
    for second in range(40):
        answer(vendor, 5_000.0 + second)
    for second in range(62):
        answer(vendor, 5_040.0 + second, ahead=AHEAD + 7)
    low, high = known(vendor, 5_102.0)
    assert low <= AHEAD + 7 <= high


def test_where_no_two_seconds_agree_the_newest_counts() -> None:
    vendor = VendorClock()
    for second in range(30):
        answer(vendor, 5_000.0 + second, ahead=AHEAD + 100 * second)
    low, high = known(vendor, 5_030.0)
    assert low <= AHEAD + 2_900 <= high


def test_a_bound_widens_while_no_answer_comes() -> None:
    vendor = VendorClock()
    answer(vendor, 5_000.0)
    before = width(vendor, 5_000.02)
    assert width(vendor, 5_000.02 + 3_600) == pytest.approx(before + 2 * DRIFT * 3_600)


def test_what_is_older_than_a_minute_counts_only_where_there_is_little_else() -> None:
    vendor = VendorClock()
    for second in range(MIN_SECONDS + 4):
        answer(vendor, 5_000.0 + second, ahead=AHEAD + 50)
    for second in range(MIN_SECONDS):
        answer(vendor, 5_000.0 + 2 * WINDOW_SECONDS + second)
    low, high = known(vendor, 5_000.0 + 2 * WINDOW_SECONDS + MIN_SECONDS)
    assert low <= AHEAD <= high


def test_an_answer_that_came_before_its_call_was_sent_counts_for_nothing() -> None:
    vendor = VendorClock()
    vendor.observe(100.0, 99.0, 2_000_000)
    assert vendor.offset_seconds(100.0) is None


def test_a_long_call_says_little_and_takes_nothing_away() -> None:
    vendor = VendorClock()
    answer(vendor, 5_000.0)
    before = width(vendor, 5_031.0)
    answer(vendor, 5_001.0, 20.0, 10.0)
    assert width(vendor, 5_031.0) <= before + 1e-6


def test_what_is_remembered_is_bounded_however_many_answers_come_and_contradict() -> None:
    vendor, chance = VendorClock(), random.Random(7)
    for number in range(20_000):
        answer(vendor, 5_000.0 + number / 100, ahead=AHEAD + chance.uniform(-1e6, 1e6))
    seconds = vendor._seconds
    assert len(seconds) <= MAX_SECONDS
    assert all(len(second.versions) <= MAX_VERSIONS for second in seconds)
