"""Every test of the pipeline runs on a loop whose time leaps, and leaves no task and no crash behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.fakes.clock import FakeClock, LeapingLoop
from tests.unit.pipeline.world import Limits, World


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"leaping": LeapingLoop}


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def limits() -> Limits:
    """A test that needs others parametrizes this one."""
    return Limits()


@pytest.fixture
async def world(limits: Limits) -> AsyncIterator[World]:
    made = World(limits)
    yield made
    await made.end()
