"""A service that ends, by a signal or at once, and the next one that goes on where it stood."""

import asyncio
import signal

import pytest

from sandbox.simulator import Fault
from tests.brokers import in_test_all
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, request

SLOW = HELLO.replace("run=0.2", "run=60")
"""Six seconds at the simulator's tenfold speed: long enough to be killed meanwhile."""


@in_test_all
async def test_a_killed_service_is_resumed_and_nothing_is_submitted_twice(stack: Stack) -> None:
    first = await stack.start()
    for number in range(6):
        await stack.publish(request(f"k-{number}", SLOW))
    await stack.until(lambda: len(stack.sim.ledger().submits) == 6)
    await stack.until(lambda: all(each.answered for each in stack.sim.ledger().submits))
    # The answers are with the service; give it the moment in which it writes them down.
    await until_running(stack, 6)
    await first.end(signal.SIGKILL)

    await stack.start()
    outcomes = await stack.outcomes(6)
    assert sorted(outcome.id for outcome in outcomes) == [f"k-{number}/0/0" for number in range(6)]
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert len(stack.sim.ledger().submits) == 6


async def test_a_service_killed_while_its_post_is_out_is_resumed_and_the_task_is_paid_for_once(
    stack: Stack,
) -> None:
    stack.sim.state.add_fault(Fault(on="submit", kind="slow", seconds=20))
    first = await stack.start()
    await stack.publish(request("k-post", HELLO))
    await stack.until(lambda: len(stack.sim.ledger().submits) == 1)
    await first.end(signal.SIGKILL)

    # The killed owner's POST may be out for its whole time, as far as the next one knows.
    await stack.start(SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS="2")
    [outcome] = await stack.outcomes(1)
    [submit] = stack.sim.ledger().submits
    assert (outcome.kind, outcome.body["task_id"]) == ("result", submit.task.task_id)


async def test_sigterm_ends_a_busy_service_with_success_and_the_next_one_goes_on(stack: Stack) -> None:
    first = await stack.start()
    for number in range(6):
        await stack.publish(request(f"t-{number}", SLOW))
    await until_running(stack, 6)
    assert await first.end(signal.SIGTERM) == 0

    await stack.start()
    outcomes = await stack.outcomes(6)
    assert sorted(outcome.id for outcome in outcomes) == [f"t-{number}/0/0" for number in range(6)]
    assert len(stack.sim.ledger().submits) == 6


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_requests_published_while_no_service_runs_wait_for_one(stack: Stack) -> None:
    first = await stack.start()
    await first.end()
    await stack.publish(request("w-1", HELLO))
    await stack.start()
    [outcome] = await stack.outcomes(1)
    assert outcome.kind == "result"


@in_test_all
async def test_a_second_member_takes_its_part_and_everything_is_done_once(stack: Stack) -> None:
    await stack.start()
    for number in range(6):
        await stack.publish(request(f"m-{number}", SLOW))
    await until_running(stack, 6)
    await stack.start()
    for number in range(6, 12):
        await stack.publish(request(f"m-{number}", HELLO))
    outcomes = await stack.outcomes(12, seconds=60)
    assert sorted(outcome.id for outcome in outcomes) == sorted(f"m-{number}/0/0" for number in range(12))
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert len(stack.sim.ledger().submits) == 12


async def until_running(stack: Stack, count: int) -> None:
    """Wait until the service's own picture, which it renews every second, shows so many running jobs."""
    scribe = stack.scribes[-1]
    async with asyncio.timeout(60):
        while (await scribe.get("status")).json()["submissions"].get("running", 0) < count:
            await asyncio.sleep(0.1)
