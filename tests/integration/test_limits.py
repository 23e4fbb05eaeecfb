"""Deadlines, cancels, spent days, repeated requests: as a person meets them."""

import asyncio
import signal
from typing import Any

import pytest

from tests.integration.stack import CHECK_SECONDS, Scribe, Stack
from tests.integration.test_main_job import HELLO, OTHER, request

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])
MARKER_SECONDS = 20.0


async def status_until(scribe: Scribe, name: str, seconds: float = 20.0) -> Any:
    """What /status says under a name, once it says anything there; it is renewed every second."""
    async with asyncio.timeout(seconds):
        while not (shown := (await scribe.get("status")).json()[name]):
            await asyncio.sleep(0.1)
        return shown


@pytest.mark.computes
async def test_a_task_that_never_ends_ends_by_its_deadline(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("never", HELLO + "&status=RUNNING_FOREVER", ttl_seconds=4))
    [outcome] = await stack.outcomes(1)
    assert (outcome.body["code"], outcome.body["stage"]) == ("deadline_exceeded", "poll")
    assert outcome.body["task_id"] == stack.sim.ledger().submits[0].task.task_id


async def test_a_pending_task_is_cancelled_at_the_provider(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("pending", HELLO + "&status=PENDING_FOREVER"))
    await stack.until(lambda: len(stack.sim.ledger().submits) == 1)
    await stack.publish({"request_id": "pending", "action": "cancel"})
    [outcome] = await stack.outcomes(1)
    assert outcome.body["code"] == "cancelled"
    await stack.until(lambda: [call.status for call in stack.sim.ledger().calls_of("cancel")] == [200])


@pytest.mark.computes
async def test_a_day_that_is_spent_keeps_its_jobs_and_a_restart_does_not_forget_it(stack: Stack) -> None:
    # One shard has the whole limit: of several each has its part, and may be served before the others are.
    one = {"SCRIBE_TOPICS__PARTITIONS": "1"}
    first = await stack.start(SCRIBE_SPEND__SECONDS_PER_DAY="4", **one)
    await stack.publish(request("paid", HELLO))
    [outcome] = await stack.outcomes(1)
    assert outcome.body["usage"]["billed_seconds"] >= 4
    assert (await status_until(first, "hold"))["code"] == "spend_limit"
    await stack.publish(request("kept", OTHER))
    await status_until(first, "jobs")
    assert 'scribe_hold{code="spend_limit"} 1.0' in (await first.get("metrics")).text
    await first.end(signal.SIGKILL)

    second = await stack.start(SCRIBE_SPEND__SECONDS_PER_DAY="4", **one)
    assert (await status_until(second, "hold"))["code"] == "spend_limit"
    assert (await status_until(second, "jobs")) == {"waiting": 1}
    assert len(stack.sim.ledger().submits) == 1
    await second.end()

    await stack.start(SCRIBE_SPEND__SECONDS_PER_DAY="1000", **one)
    assert {each.id for each in await stack.outcomes(2)} == {"paid/0/0", "kept/0/0"}


async def finished(stack: Stack, count: int) -> None:
    """Wait until the journal says of so many requests that they have ended: their outcomes are out before."""
    async with asyncio.timeout(MARKER_SECONDS):
        while True:
            entries = {(record.partition, record.key): record.value for record in await stack.journal()}
            if sum(b'"ends":' in (value or b"") for value in entries.values()) == count:
                return
            await asyncio.sleep(CHECK_SECONDS)


@pytest.mark.computes
async def test_what_was_done_is_known_again_after_a_restart_and_by_another_member(stack: Stack) -> None:
    first = await stack.start()
    done = [f"d-{n}" for n in range(6)]
    for request_id in done:
        await stack.publish(request(request_id, HELLO, OTHER))
    await stack.outcomes(12)
    await finished(stack, 6)
    await first.end(signal.SIGKILL)
    await stack.start()
    await stack.start()
    for request_id in done:
        await stack.publish(request(request_id, HELLO, OTHER))
    await stack.publish(request("d-0", OTHER))
    await stack.publish(request("d-1", HELLO, OTHER, replay=1, file_indexes=[1]))
    await stack.publish(request("last", HELLO))
    outcomes = await stack.outcomes(21)
    again = [each for each in outcomes if each.id not in {f"d-{n}/0/{i}" for n in range(6) for i in (0, 1)}]
    told = [each.body["request_id"] for each in again if each.body.get("code") == "already_finished"]
    assert sorted(told) == done
    found = sorted(
        (each.kind, each.body["request_id"], each.body["file_index"])
        for each in again
        if each.body.get("code") != "already_finished"
    )
    assert found == [("failure", "d-0", None), ("result", "d-1", 1), ("result", "last", 0)]
    assert len(outcomes) == 21
    assert len(stack.sim.ledger().submits) == 14
