"""Synchronous calls through a kill, a stop and a rebalance, on both brokers, counted at the ledger."""

import signal

import pytest

from tests.brokers import in_test_all
from tests.integration.stack import Stack

MODEL = "qwen3-asr-flash"
SLOW = "http://media.test/slow.wav?text=Hello+world.&duration=4&run=40"
"""Four seconds at the simulator's tenfold speed."""


def request(request_id: str, url: str = SLOW) -> dict[str, object]:
    return {"request_id": request_id, "file_urls": [url], "model": MODEL}


async def called(stack: Stack, count: int) -> None:
    """Wait until so many calls are with the provider."""
    await stack.until(lambda: len(stack.sim.ledger().submits) >= count)


@in_test_all
async def test_a_call_that_a_kill_lost_is_made_once_more_and_counted(stack: Stack) -> None:
    first = await stack.start()
    await stack.publish(request("s-kill"))
    await called(stack, 1)
    await first.end(signal.SIGKILL)

    second = await stack.start()
    [outcome] = await stack.outcomes(1)
    assert (outcome.kind, outcome.id) == ("result", "s-kill/0/0")
    assert stack.sim.ledger().submitted_urls() == {SLOW: 2}
    assert outcome.body["attempts"]["submit"] == 2
    assert await second.counted("scribe_uncertain_submits_total") == {"begun": 1, "resubmitted": 1}


async def test_a_stop_waits_for_the_answer_that_is_paid_for(stack: Stack) -> None:
    first = await stack.start()
    await stack.publish(request("s-stop"))
    await called(stack, 1)
    assert await first.end(signal.SIGTERM) == 0

    [outcome] = await stack.all_outcomes()
    assert (outcome.kind, outcome.id) == ("result", "s-stop/0/0")
    assert stack.sim.ledger().submitted_urls() == {SLOW: 1}
    await stack.start()
    assert len(await stack.all_outcomes()) == 1


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_a_stop_waits_no_longer_than_it_may(stack: Stack) -> None:
    first = await stack.start(SCRIBE_SHUTDOWN__ANSWER_SECONDS="0", SCRIBE_SHUTDOWN__GRACE_SECONDS="2")
    await stack.publish(request("s-bound"))
    await called(stack, 1)
    assert await first.end(signal.SIGTERM) == 0
    assert await stack.all_outcomes() == []

    await stack.start()
    [outcome] = await stack.outcomes(1)
    assert outcome.kind == "result"
    assert stack.sim.ledger().submitted_urls() == {SLOW: 2}


@in_test_all
async def test_a_rebalance_leaves_calls_the_time_to_be_answered(stack: Stack) -> None:
    await stack.start()
    for number in range(6):
        await stack.publish(request(f"s-{number}"))
    await called(stack, 6)
    await stack.start()
    outcomes = await stack.outcomes(6)
    assert sorted(outcome.id for outcome in outcomes) == [f"s-{number}/0/0" for number in range(6)]
    assert stack.sim.ledger().submitted_urls() == {SLOW: 6}
