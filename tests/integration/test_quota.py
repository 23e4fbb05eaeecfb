"""The account's quota, counted where it counts: at the simulator, in every second, over all replicas (N7)."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandbox.simulator import SimulatorConfig
from tests.chaos.evidence import QUOTAS, Complaint
from tests.chaos.gaps import feel
from tests.chaos.quota import too_fast
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, request

TWO, SIX = 2, 6
REQUESTS = 60
MORE = 30

pytestmark = [
    pytest.mark.needs_minutes,
    pytest.mark.timeout(400),
    pytest.mark.parametrize("broker_name", ["embedded"]),
]


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """A simulator that counts and does not refuse, so that nothing but our own budget holds calls back."""
    return SimulatorConfig(speed=10, submit_rpm=None, query_qps=None)


@asynccontextmanager
async def judged(stack: Stack) -> AsyncIterator[list[Complaint]]:
    """Judge the calls of a block: complaints about seconds that held too many, but for our own slowness."""
    gaps: list[tuple[float, float]] = []
    pulse = asyncio.create_task(feel(stack.sim.state.clock.wall, gaps))
    complaints: list[Complaint] = []
    try:
        yield complaints
    finally:
        pulse.cancel()
    ledger = stack.sim.ledger()
    calls = {kind: [call.wall for call in ledger.calls_of(kind)] for kind in ("submit", "query")}
    complaints += too_fast(calls, gaps, QUOTAS)


async def publish(stack: Stack, numbers: range) -> None:
    await stack.publish_all([(request(f"q-{n}", f"{HELLO}&n={n}"), f"q-{n}", ()) for n in numbers])


@pytest.mark.parametrize("members", [TWO, SIX])
async def test_members_together_stay_within_the_accounts_quota(stack: Stack, members: int) -> None:
    settings = {"SCRIBE_TOPICS__PARTITIONS": "12"}
    async with judged(stack) as complaints:
        await asyncio.gather(*(stack.start(**settings) for _ in range(members)))
        await publish(stack, range(REQUESTS))
        outcomes = await stack.outcomes(REQUESTS)
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert len(stack.sim.ledger().submits) == REQUESTS
    assert complaints == []


async def test_a_member_that_joins_and_one_that_leaves_amid_the_work_keep_the_quota(stack: Stack) -> None:
    settings = {"SCRIBE_TOPICS__PARTITIONS": "12"}
    async with judged(stack) as complaints:
        first = await stack.start(**settings)
        await publish(stack, range(REQUESTS))
        await stack.start(**settings)
        await publish(stack, range(REQUESTS, REQUESTS + MORE))
        assert await first.end(signal.SIGTERM) == 0
        outcomes = await stack.outcomes(REQUESTS + MORE)
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert len(stack.sim.ledger().submits) == REQUESTS + MORE
    assert complaints == []
