"""The account's quota, counted where it counts: at the simulator, over all replicas (N7)."""

import pytest

from sandbox.simulator import SimulatorConfig
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, request

REQUESTS = 60
SUBMITS_PER_SECOND = 10
SPAN_SECONDS = 5.0
"""Long enough that calls which a busy machine delivers in a bunch do not decide."""


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """A simulator that counts and does not refuse, so that nothing but our own budget holds calls back."""
    return SimulatorConfig(speed=10, submit_rpm=None, query_qps=None)


@pytest.mark.needs_minutes
@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_two_members_together_stay_within_the_accounts_quota(stack: Stack) -> None:
    await stack.start()
    await stack.start()
    await stack.publish_all([(request(f"q-{n}", f"{HELLO}&n={n}"), f"q-{n}", ()) for n in range(REQUESTS)])
    outcomes = await stack.outcomes(REQUESTS, seconds=60)
    ledger = stack.sim.ledger()
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert len(ledger.submits) == REQUESTS
    assert ledger.peak("submit", SPAN_SECONDS) <= SUBMITS_PER_SECOND * SPAN_SECONDS
