"""The clocks: the machine's own, and the one that things end by."""

import ast
import asyncio
from pathlib import Path

from service.clock import SAME_SECONDS, SystemClock, TrustedClock
from service.core.time.trusted_time import TimeEvent
from service.core.time.vendor_clock import VendorClock
from tests.fakes.clock import FakeClock
from tests.fakes.stepped_clock import SteppedClock


def test_a_listener_gets_each_clock_step_with_its_size() -> None:
    machine, told = FakeClock(), list[tuple[TimeEvent, float]]()
    vendor = VendorClock()
    clock = TrustedClock(machine, vendor, lambda event, ahead: told.append((event, ahead)))
    vendor.observe(machine.boot_seconds() - 0.1, machine.boot_seconds(), machine.wall_ms())
    assert clock.confirmed_ms() == machine.wall_ms()
    machine.jump(3_600)
    machine.suspend(2 * SAME_SECONDS)
    assert clock.now_ms() == machine.wall_ms() - 3_600_000
    clock.now_ms()
    machine.jump(-3_600)
    machine.suspend(2 * SAME_SECONDS)
    clock.now_ms()
    assert told == [(TimeEvent.CONFIRMED, 0.0), (TimeEvent.STEPPED, 3_600.0), (TimeEvent.RETURNED, 0.0)]


def test_a_reading_serves_for_a_millisecond_and_no_longer() -> None:
    machine = FakeClock()
    clock = TrustedClock(machine, VendorClock(), lambda _event, _ahead: None)
    first_ms = clock.now_ms()
    machine.suspend(0.9 * SAME_SECONDS)
    assert clock.now_ms() == first_ms
    machine.suspend(1.2 * SAME_SECONDS)
    assert clock.now_ms() == first_ms + 2


def test_a_journals_time_counts_before_the_first_reading_of_the_clock() -> None:
    clock = SteppedClock()
    clock.jump(-3_600)
    clock.not_before(clock.true_ms())
    assert clock.now_ms() == clock.true_ms()


def test_the_machine_is_asked_for_everything_else() -> None:
    clock = SteppedClock(draw_always=0.25)
    assert clock.trusted.wall_ms() == clock.wall_ms()
    assert clock.trusted.boot_seconds() == clock.boot_seconds()
    assert clock.trusted.draw() == 0.25
    asyncio.run(clock.trusted.sleep(0))


def test_the_system_clock_believes_the_machine() -> None:
    clock = SystemClock()
    before = clock.wall_ms()
    clock.not_before(before + 10**9)
    assert before <= clock.now_ms() <= clock.confirmed_ms() <= clock.wall_ms()
    assert clock.boot_seconds() > 0
    assert 0 <= clock.draw() < 1
    asyncio.run(clock.sleep(0))


def test_no_other_module_sleeps() -> None:
    sleeping = [
        (path.as_posix(), node.lineno)
        for path in Path("service").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("asyncio.sleep", "sleep")
        and ast.unparse(node.args[0]) != "0"
    ]
    assert [path for path, _line in sleeping] == ["service/clock.py"], sleeping
