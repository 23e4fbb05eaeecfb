"""The time by which things end: no step of the wall clock moves it unless the vendor's `Date` agrees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.time.trusted_time import AGREED_SECONDS, TimeEvent, TrustedReading, TrustedTime
from service.core.time.vendor_clock import VendorClock

BEGIN = 1_760_000_000.0
BOOT = 5_000.0
DAY = 86_400.0
FOR_EVER = 1_800.0
"""Thirty times the longest time that the clock remembers anything of an answer."""
STEPS = [-3 * DAY, -3_600.0, -1.5, 1.5, 3_600.0, 3 * DAY]
step_either_way = pytest.mark.parametrize("step", STEPS)


@dataclass
class Machine:
    """A machine whose wall clock, and a vendor whose clock, may be off by some seconds."""

    wall_off: float = 0.0
    vendor_off: float = 0.0
    elapsed: float = 0.0
    stalled: float = 0.0
    """What the boot clock missed."""
    events: list[TimeEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vendor = VendorClock()
        self.time = TrustedTime(self.vendor)

    @property
    def boot(self) -> float:
        return BOOT + self.elapsed - self.stalled

    @property
    def true_ms(self) -> int:
        return round(1000 * (BEGIN + self.elapsed))

    def read(self) -> TrustedReading:
        wall_ms = round(1000 * (BEGIN + self.elapsed + self.wall_off))
        reading, event = self.time.read(wall_ms, self.boot)
        self.events += [] if event is None else [event]
        return reading

    def answer(self) -> None:
        self.vendor.observe(
            self.boot - 0.02, self.boot, 1000 * math.floor(BEGIN + self.elapsed + self.vendor_off)
        )

    def answer_without_date(self) -> None:
        self.vendor.observe_dateless(self.boot)

    def run_dateless(self, seconds: float, every: int = 10) -> TrustedReading:
        """Let time pass with answers that carry no `Date`."""
        reading = self.read()
        for _ in range(round(seconds / every)):
            self.answer_without_date()
            reading = self.run(every, answers=False)
        return reading

    def run(self, seconds: float, *, answers: bool = True) -> TrustedReading:
        """Let time pass with an answer and a reading in each second."""
        reading = self.read()
        for _ in range(round(seconds)):
            self.elapsed += 1.0
            if answers:
                self.answer()
            reading = self.read()
        return reading

    def off_seconds(self) -> float:
        return (self.read().now_ms - self.true_ms) / 1000


def started() -> Machine:
    machine = Machine()
    machine.run(70)
    assert machine.events == [TimeEvent.CONFIRMED]
    return machine


def test_before_the_first_date_nothing_has_ended() -> None:
    machine = Machine()
    reading = machine.run(FOR_EVER, answers=False)
    assert reading == TrustedReading(machine.true_ms, 0)
    assert machine.events == []


def test_a_date_that_agrees_with_the_wall_clock_confirms_it_at_once() -> None:
    machine = Machine()
    assert machine.run(1) == TrustedReading(machine.true_ms, machine.true_ms)


@step_either_way
@pytest.mark.parametrize("answers", [True, False])
def test_a_step_of_two_seconds_changes_nothing(step: float, answers: bool) -> None:
    machine = started()
    machine.wall_off = step
    machine.run(2, answers=answers)
    assert machine.off_seconds() == 0
    machine.wall_off = 0.0
    machine.run(120, answers=answers)
    assert machine.off_seconds() == 0
    assert machine.events[1:] == [TimeEvent.STEPPED, TimeEvent.RETURNED]


@step_either_way
@pytest.mark.parametrize("answers", [True, False])
def test_a_step_for_ever_is_never_adopted_without_the_vendor(step: float, answers: bool) -> None:
    machine = started()
    machine.wall_off = step
    if abs(step) > 2.1:  # a smaller one the missing part of the second cannot tell from an agreement
        machine.run(FOR_EVER, answers=answers)
        assert machine.off_seconds() == 0
        assert machine.events[1:] == [TimeEvent.STEPPED]


@step_either_way
def test_a_step_that_the_vendor_agrees_with_is_adopted_after_a_minute(step: float) -> None:
    """As on a machine whose boot clock missed a part."""
    machine = started()
    machine.wall_off = machine.vendor_off = step
    before = machine.read()
    machine.run(AGREED_SECONDS - 1)
    assert TimeEvent.ADOPTED not in machine.events
    after = machine.run(2 * AGREED_SECONDS)
    assert machine.events[1:] == [TimeEvent.STEPPED, TimeEvent.ADOPTED]
    if step > 0:
        assert machine.off_seconds() == step
    else:
        assert after.confirmed_ms == after.now_ms >= before.now_ms


def test_time_stands_still_after_a_step_back_until_it_has_caught_up() -> None:
    machine = started()
    machine.wall_off = machine.vendor_off = -300.0
    held = machine.run(200)
    assert machine.run(50) == held
    machine.run(300)
    assert machine.off_seconds() == -300


def test_a_vendor_that_agrees_for_less_than_a_minute_adopts_nothing() -> None:
    machine = started()
    machine.wall_off = machine.vendor_off = 3 * DAY
    machine.run(AGREED_SECONDS - 2)
    machine.vendor_off = 0.0
    machine.run(FOR_EVER)
    assert machine.off_seconds() == 0


def test_patience_without_a_later_answer_adopts_nothing() -> None:
    machine = started()
    machine.wall_off = machine.vendor_off = 3 * DAY
    machine.run(45)
    machine.run(FOR_EVER, answers=False)
    assert machine.off_seconds() == 0
    assert TimeEvent.ADOPTED not in machine.events


def test_small_corrections_are_followed_at_once() -> None:
    machine = started()
    machine.wall_off = 0.9
    assert machine.off_seconds() == 0.9


@pytest.mark.parametrize("step", [-0.9, 0.9])
def test_small_corrections_do_not_add_up_while_no_date_confirms_them(step: float) -> None:
    machine = started()
    for _ in range(1_000):
        machine.wall_off += step
        machine.run(1, answers=False)
    assert abs(machine.off_seconds()) < 3.0


def test_corrections_that_the_vendor_agrees_with_may_add_up() -> None:
    machine = started()
    for _ in range(40):
        machine.wall_off += 0.5
        machine.vendor_off += 0.5
        machine.run(100)
    assert machine.off_seconds() == pytest.approx(20, abs=1)


@pytest.mark.parametrize("lie", [-3 * DAY, 3 * DAY])
def test_a_vendor_whose_date_jumps_alone_changes_nothing(lie: float) -> None:
    machine = started()
    machine.vendor_off = lie
    machine.run(FOR_EVER)
    assert machine.off_seconds() == 0
    assert machine.events == [TimeEvent.CONFIRMED]


@pytest.mark.parametrize("leap", [-1.0, 1.0])
def test_a_leap_second_is_adopted_like_any_step(leap: float) -> None:
    machine = started()
    machine.wall_off = machine.vendor_off = leap
    machine.run(200)
    assert machine.events[1:] == [TimeEvent.STEPPED, TimeEvent.ADOPTED]


def test_a_boot_clock_that_missed_hours_is_made_good_once_the_vendor_agrees() -> None:
    machine = started()
    machine.elapsed += 10 * 3_600
    machine.stalled = 10 * 3_600
    machine.run(20)
    assert machine.off_seconds() == -10 * 3_600
    machine.run(200)
    assert machine.off_seconds() == 0


def test_a_machine_that_was_suspended_goes_on_at_once() -> None:
    """The boot clock runs meanwhile, and so do both others."""
    machine = started()
    machine.elapsed += 10 * 3_600
    assert machine.off_seconds() == 0
    assert machine.events == [TimeEvent.CONFIRMED]


@step_either_way
def test_a_start_with_a_wrong_wall_clock_ends_nothing_early_and_believes_the_vendor_in_the_end(
    step: float,
) -> None:
    machine = Machine(wall_off=step)
    for _ in range(round(AGREED_SECONDS) - 1):
        reading = machine.run(1)
        assert reading.confirmed_ms <= machine.true_ms + 2_000
    machine.run(30)
    if abs(step) > 2.1:
        assert abs(machine.off_seconds()) < 1.5
    assert machine.events[-1] in (TimeEvent.STEPPED, TimeEvent.CONFIRMED)


@pytest.mark.parametrize("lie", [-3 * DAY, 3 * DAY])
def test_a_first_date_that_is_wrong_ends_nothing_early(lie: float) -> None:
    machine = Machine(vendor_off=lie)
    machine.elapsed += 1.0
    machine.answer()
    assert machine.read().confirmed_ms <= machine.true_ms
    machine.vendor_off = 0.0
    machine.run(5)
    assert machine.off_seconds() == 0


def test_a_start_is_not_before_the_journals_latest_record() -> None:
    machine = Machine(wall_off=-3 * DAY)
    machine.read()
    machine.time.not_before(machine.true_ms, machine.boot)
    machine.run(600, answers=False)
    assert machine.off_seconds() == 0
    assert machine.read().confirmed_ms == 0
    assert machine.run(1).confirmed_ms == machine.true_ms


def test_a_journal_from_the_future_counts_only_until_the_date_is_known() -> None:
    machine = Machine()
    machine.read()
    machine.time.not_before(machine.true_ms + 300_000_000, machine.boot)
    assert machine.read().now_ms == machine.true_ms + 300_000_000
    machine.run(1)
    machine.time.not_before(machine.true_ms + 300_000_000, machine.boot)
    assert machine.off_seconds() == 0


def dateless(wall_off: float = 0.0, broker_off: float | None = 0.0) -> Machine:
    """A process whose vendor answers without any `Date`; the broker, if it says its time, may be off."""
    machine = Machine(wall_off=wall_off)
    machine.read()
    if broker_off is not None:
        machine.time.witnessed(machine.true_ms + round(1000 * broker_off), machine.boot)
    return machine


def test_for_a_vendor_without_a_date_the_broker_stands_in_after_a_minute() -> None:
    machine = dateless()
    assert machine.run_dateless(50).confirmed_ms == 0
    assert machine.run_dateless(30).confirmed_ms == machine.true_ms
    assert machine.events == []


@pytest.mark.parametrize(("wall_off", "broker_off"), [(3 * DAY, 0.0), (0.0, 3 * DAY), (7.0, 0.0)])
def test_where_clock_and_broker_disagree_the_earlier_counts(wall_off: float, broker_off: float) -> None:
    machine = dateless(wall_off, broker_off)
    assert machine.run_dateless(600).confirmed_ms == machine.true_ms


def test_a_vendor_that_is_out_of_reach_is_not_one_without_a_date() -> None:
    machine = dateless()
    machine.answer_without_date()
    assert machine.run(FOR_EVER, answers=False).confirmed_ms == 0


def test_without_a_broker_that_stamps_nothing_stands_in_for_a_date() -> None:
    assert dateless(broker_off=None).run_dateless(3_600).confirmed_ms == 0


@step_either_way
def test_a_step_under_a_vendor_without_a_date_ends_nothing(step: float) -> None:
    machine = dateless()
    machine.run_dateless(120)
    machine.wall_off = step
    for seconds in (2, 3_600):
        assert abs(machine.run_dateless(seconds, 1).confirmed_ms - machine.true_ms) <= 1000


def test_the_first_date_takes_the_brokers_place() -> None:
    machine = dateless(broker_off=-3 * DAY)
    assert machine.run_dateless(120).confirmed_ms < machine.true_ms
    assert machine.run(1).confirmed_ms == machine.true_ms
    assert machine.events == [TimeEvent.CONFIRMED]


def test_answers_without_a_date_beside_others_change_nothing() -> None:
    machine = started()
    machine.time.witnessed(machine.true_ms + 10**9, machine.boot)
    assert machine.run_dateless(600).confirmed_ms == machine.true_ms


Moves = Sequence[tuple[float, float, bool, int]]
"""For each: what is added to the wall clock and to the vendor's, whether answers come, for how long."""
OFFS = st.sampled_from([0.0, 0.0, 0.4, -0.4, 5.0, -5.0, 3 * DAY, -3 * DAY])
MOVES = st.lists(st.tuples(OFFS, OFFS, st.booleans(), st.integers(1, 150)), max_size=8)


@given(MOVES)
def test_whatever_the_clocks_do_time_never_goes_back_once_it_is_confirmed(moves: Moves) -> None:
    machine = started()
    before = machine.read()
    for wall, vendor, answers, seconds in moves:
        machine.wall_off += wall
        machine.vendor_off += vendor
        for _ in range(seconds):
            after = machine.run(1, answers=answers)
            assert after.confirmed_ms == after.now_ms >= before.now_ms
            before = after


@given(MOVES)
def test_whatever_the_wall_clock_does_an_honest_vendor_keeps_time_within_seconds(moves: Moves) -> None:
    machine = started()
    for wall, _, answers, seconds in moves:
        machine.wall_off += wall
        machine.run(seconds, answers=answers)
        assert abs(machine.off_seconds()) < 3.0


@given(OFFS, MOVES)
def test_nothing_is_confirmed_that_both_clocks_say_is_to_come(off: float, moves: Moves) -> None:
    """A wall clock that is wrong from the start, an honest vendor."""
    machine = Machine(wall_off=off)
    confirmed_ms = 0
    for wall, _, answers, seconds in moves:
        machine.wall_off += wall
        reading = machine.run(seconds, answers=answers)
        assert confirmed_ms <= reading.confirmed_ms <= machine.true_ms + 3_000
        confirmed_ms = reading.confirmed_ms
