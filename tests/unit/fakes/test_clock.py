"""The loop that the pipeline's tests run on: its time leaps, its order is a real loop's."""

import asyncio
import time
from collections.abc import Coroutine

import pytest

from tests.fakes.clock import FakeClock, LeapingLoop, StuckError, settle


def run(test: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(test)


def test_an_hour_passes_at_once_and_shows_on_every_clock() -> None:
    async def wait() -> None:
        clock = FakeClock()
        boot_seconds, now_ms = clock.boot_seconds(), clock.now_ms()
        await clock.sleep(3600)
        assert clock.boot_seconds() - boot_seconds == pytest.approx(3600)
        assert clock.now_ms() - now_ms == 3_600_000

    began = time.monotonic()
    run(wait())
    assert time.monotonic() - began < 30


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    woken: list[int] = []

    async def sleeper(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def wait() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (30, 10, 20)))

    run(wait())
    assert woken == [10, 20, 30]


def test_a_timeout_of_asyncio_leaps_too() -> None:
    async def wait() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1000):
                await asyncio.Event().wait()

    run(wait())


def test_no_time_passes_while_something_can_run() -> None:
    async def wait() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(100):
            await asyncio.sleep(0)
        assert loop.time() == 0.0
        await settle()
        assert 0.0 < loop.time() < 0.001

    run(wait())


def test_no_time_passes_while_a_thread_works() -> None:
    async def wait() -> None:
        ticks = asyncio.create_task(asyncio.sleep(1.0))
        assert await asyncio.to_thread(sum, range(100_000)) > 0
        assert not ticks.done()
        await ticks

    run(wait())


def test_a_test_that_waits_for_nothing_fails_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fakes.clock.THREAD_SECONDS", 0.01)

    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError):
        run(wait())


def test_a_test_that_ticks_for_ever_fails_with_a_reason() -> None:
    async def wait() -> None:
        while True:
            await FakeClock().sleep(60)

    with pytest.raises(StuckError):
        run(wait())


def test_a_suspended_machine_and_a_set_clock_differ() -> None:
    clock = FakeClock()
    boot_seconds, now_ms = clock.boot_seconds(), clock.now_ms()
    clock.jump(-60)
    assert (clock.boot_seconds(), clock.now_ms()) == (boot_seconds, now_ms - 60_000)
    clock.suspend(100)
    assert (clock.boot_seconds(), clock.now_ms()) == (boot_seconds + 100, now_ms + 40_000)
