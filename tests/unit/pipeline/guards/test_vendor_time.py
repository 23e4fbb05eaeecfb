"""Vendor time: the vendor is asked what time it is while that matters and nothing else tells."""

from collections.abc import AsyncIterator

import pytest

from service.core.provider.answers import ProviderError
from service.pipeline.guards.vendor_time import ASK_SECONDS, ask
from tests.fakes.stepped_clock import SteppedClock
from tests.unit.pipeline.world import World

TIMEOUT = ProviderError("timeout", "no answer")


@pytest.fixture
async def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def world(clock: SteppedClock) -> AsyncIterator[World]:
    made = World(clock=clock)
    made.spawn(ask(made.provider, made.limiter, clock, clock.vendor, lambda: None), name="ask")
    yield made
    await made.end()


async def test_a_start_asks_at_once_and_then_no_more_than_it_must(world: World, clock: SteppedClock) -> None:
    await clock.sleep(1.5)
    assert world.provider.count("list") == 1
    await clock.sleep(ASK_SECONDS - 2)
    assert world.provider.count("list") == 1
    await clock.sleep(3)
    assert world.provider.count("list") == 2


async def test_whose_time_is_confirmed_asks_no_more(world: World, clock: SteppedClock) -> None:
    await clock.sleep(1.5)
    clock.answer()
    await clock.sleep(3_600)
    assert world.provider.count("list") == 1


@pytest.mark.parametrize("step", [-3_600.0, 3_600.0])
async def test_while_the_wall_clock_is_away_it_is_asked_until_the_step_is_adopted(
    world: World, clock: SteppedClock, step: float
) -> None:
    clock.answer()
    await clock.sleep(60)
    clock.jump(step)
    await clock.sleep(10 * ASK_SECONDS)
    assert 10 <= world.provider.count("list") <= 11
    clock.jump(-step)
    await clock.sleep(600)
    assert 10 <= world.provider.count("list") <= 11


async def test_other_answers_make_asking_needless(world: World, clock: SteppedClock) -> None:
    clock.answer()
    await clock.sleep(2)
    clock.jump(3_600)
    await clock.answering(600)
    assert world.provider.count("list") <= 1


async def test_asking_stays_within_the_budget_and_outlives_errors(world: World, clock: SteppedClock) -> None:
    world.serve(0.0)
    await clock.sleep(60)
    assert world.provider.count("list") <= 1
    world.provider.next_lists.append(TIMEOUT)
    world.serve(1.0)
    await clock.sleep(3 * ASK_SECONDS)
    assert world.provider.count("list") >= 3
