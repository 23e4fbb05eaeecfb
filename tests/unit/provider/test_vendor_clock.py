"""The vendor's clock, learned from the dates of its answers."""

from email.utils import formatdate

import pytest

from service.provider.vendor_clock import LONGEST_CALL_SECONDS, VendorClock
from tests.fakes.clock import BEGIN_MS, FakeClock


def learned(clock: FakeClock, vendor_seconds: float, call_seconds: float = 0.0) -> VendorClock:
    """What is known after one call whose answer bears this date."""
    vendor = VendorClock(clock)
    asked_at = clock.boot_seconds()
    clock.suspend(call_seconds)
    vendor.learn(formatdate(vendor_seconds, usegmt=True), asked_at)
    return vendor


def test_nothing_is_known_before_the_first_answer() -> None:
    assert VendorClock(FakeClock()).offset_ms() is None


@pytest.mark.parametrize("ahead_seconds", [0, 420, -7_200])
def test_an_answers_date_tells_how_far_the_vendor_is_ahead(ahead_seconds: int) -> None:
    """The date leaves out the part of the second: it was half a second later, give or take as much."""
    vendor = learned(FakeClock(), BEGIN_MS / 1000 + ahead_seconds)
    assert vendor.offset_ms() == 1000 * ahead_seconds + 500


def test_the_answer_was_made_half_way_through_the_call() -> None:
    assert learned(FakeClock(), BEGIN_MS / 1000, call_seconds=1.0).offset_ms() == 0


def test_a_call_that_took_long_tells_nothing() -> None:
    clock = FakeClock()
    assert learned(clock, BEGIN_MS / 1000, LONGEST_CALL_SECONDS + 0.1).offset_ms() is None


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_an_answer_without_a_date_tells_nothing(date: str | None) -> None:
    clock = FakeClock()
    vendor = learned(clock, BEGIN_MS / 1000)
    before = vendor.offset_ms()
    vendor.learn(date, clock.boot_seconds())
    assert vendor.offset_ms() == before


def test_who_sets_our_wall_clock_moves_the_vendor_away_from_it() -> None:
    clock = FakeClock()
    vendor = learned(clock, BEGIN_MS / 1000)
    clock.jump(60)
    assert vendor.offset_ms() == 500 - 60_000
    clock.suspend(3_600)
    assert vendor.offset_ms() == 500 - 60_000
