"""Waiting for what is due: in order, in time, by a clock that nobody can set."""

import asyncio

from service.pipeline.shard.timers import LONGEST_WAIT_SECONDS, Timers
from tests.fakes.clock import FakeClock, settle


def now() -> float:
    return round(asyncio.get_running_loop().time(), 2)


async def taken(due: Timers[str]) -> str:
    """The next item, however many empty turns it takes."""
    while (item := await due.take()) is None:
        pass
    return item


async def test_what_has_been_due_for_longest_comes_first(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    for delay_ms, item in ((300, "c"), (100, "a"), (200, "b"), (100, "a2")):
        due.push(clock.now_ms() + delay_ms, item)
    assert len(due) == 4
    assert [await taken(due) for _ in range(4)] == ["a", "a2", "b", "c"]
    assert now() == 0.3
    assert len(due) == 0


async def test_nothing_is_taken_before_it_is_due(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    due.push(clock.now_ms() + 5_000, "late")
    assert await taken(due) == "late"
    assert now() == 5.0


async def test_what_is_due_already_is_taken_at_once(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    due.push(clock.now_ms() - 60_000, "overdue")
    assert await due.take() == "overdue"
    assert now() == 0.0


async def test_a_turn_ends_after_a_second_even_when_nothing_is_due(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    due.push(clock.now_ms() + 60_000, "far")
    assert await due.take() is None
    assert now() == LONGEST_WAIT_SECONDS


async def test_a_turn_may_be_shorter(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    assert await due.take(0.25) is None
    assert now() == 0.25


async def test_a_turn_is_never_longer(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    assert await due.take(60.0) is None
    assert now() == LONGEST_WAIT_SECONDS


async def test_a_wait_of_nothing_still_lets_time_pass(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    before = clock.boot_seconds()
    assert await due.take(0.0) is None
    assert clock.boot_seconds() > before


async def test_what_is_pushed_meanwhile_ends_the_wait(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    due.push(clock.now_ms() + 60_000, "far")
    taking = asyncio.create_task(taken(due))
    await settle()
    due.push(clock.now_ms() + 10, "near")
    assert await taking == "near"
    assert now() == 0.01


async def test_a_call_ends_the_wait_too(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    taking = asyncio.create_task(due.take())
    await settle()
    due.wake()
    assert await taking is None
    assert now() == 0.0


async def test_setting_the_wall_clock_back_delays_nothing(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    due.push(clock.now_ms() + 2_000, "item")
    clock.jump(-3600)
    assert await taken(due) == "item"
    assert now() == 2.0


async def test_setting_the_wall_clock_on_releases_nothing(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    due.push(clock.now_ms() + 2_000, "item")
    clock.jump(3600)
    assert await due.take() is None
    assert await taken(due) == "item"
    assert now() == 2.0


async def test_the_time_of_a_suspended_machine_counts(clock: FakeClock) -> None:
    due: Timers[str] = Timers(clock)
    due.push(clock.now_ms() + 3_600_000, "item")
    taking = asyncio.create_task(taken(due))
    await settle()
    clock.suspend(3_600)
    assert await taking == "item"
    assert now() == LONGEST_WAIT_SECONDS


async def test_a_long_queue_lets_others_run(clock: FakeClock) -> None:
    due: Timers[int] = Timers(clock)
    for item in range(1000):
        due.push(clock.now_ms(), item)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while len(due):
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    assert [await due.take() for _ in range(1000)] == list(range(1000))
    await running
    assert turns > 500
