"""The pipeline with a provider whose tasks end by the clock."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.pipeline.polling.timed_provider import TimedProvider
from tests.unit.pipeline.world import Limits, World


@pytest.fixture
async def world(limits: Limits) -> AsyncIterator[World]:
    clock = FakeClock()
    made = World(limits, clock=clock, provider=TimedProvider(now_ms=clock.now_ms, sleep=clock.sleep))
    yield made
    await made.end()
