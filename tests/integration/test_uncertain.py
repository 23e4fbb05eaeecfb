"""Submits whose answer was lost: looked for in the account's list, adopted or made again, paid for once.

The vendor's clock is seven minutes ahead of ours and its zone another than it documents; strangers have tasks
in the account. The list lags, lies and is down: nothing of that may lead to a second submit.
"""

import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from sandbox.simulator import Fault, SimulatorConfig
from tests.integration.stack import Scribe, Stack
from tests.integration.test_main_job import HELLO, OTHER, request
from tests.integration.vendor_client import VendorClient

QUICK = {"SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": "3", "SCRIBE_SUBMIT__SETTLE_SECONDS": "2"}
STRANGER = "sk-stranger"
READINGS = 8
"""More list calls than two readings need: with them a job that is let go would have been submitted again."""
SECONDS = 60.0

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """A clock at the pace of ours, as the vendor's is."""
    keys = {"sk-simulator": "account-1", STRANGER: "account-1"}
    return SimulatorConfig(start_time=time.time() + 420, zone_hours=-3.5, api_keys=keys)


def lose(stack: Stack, kind: str, url: str = "") -> None:
    """Let the answer to one submit be lost, after (drop_after) or before (drop_before) it made a task."""
    stack.sim.state.add_fault(Fault(on="submit", kind=kind, match=url))


def spoil(stack: Stack, kind: str, **fields: float) -> None:
    """Let the list go wrong until the faults are cleared."""
    stack.sim.state.add_fault(Fault(on="list", kind=kind, times=None, **fields))  # type: ignore[arg-type]


def lists(stack: Stack) -> int:
    """How many list calls there were."""
    return len(stack.sim.ledger().calls_of("list"))


def billed(stack: Stack) -> Counter[str]:
    """How often each file was in a submit of ours that made a task."""
    tasks = (entry.task for entry in stack.sim.ledger().submits)
    ours = (task for task in tasks if task.api_key_id == "12345")
    return Counter(url for task in ours for url in task.submission.file_urls)


async def strange(stack: Stack, *urls: str) -> None:
    """Let strangers submit these files, each in a task of its own."""
    async with httpx.AsyncClient(trust_env=False) as http:
        for url in urls:
            await VendorClient(stack.sim, http, STRANGER).task(url)


async def uncertain_counts(scribe: Scribe) -> dict[str, int]:
    """What the metric says of uncertain submits."""
    return await scribe.counted("scribe_uncertain_submits_total")


async def until_read(stack: Stack) -> None:
    """Let the list be read so often that nothing is left to wait for."""
    begun = lists(stack)
    await stack.until(lambda: lists(stack) >= begun + READINGS, seconds=SECONDS)


async def test_a_lost_answer_is_adopted(stack: Stack) -> None:
    await strange(stack, OTHER, "http://media.test/busy.wav?status=RUNNING_FOREVER")
    lose(stack, "drop_after")
    spoil(stack, "rename")
    scribe = await stack.start(**QUICK)
    await stack.publish(request("u-1", HELLO))
    [outcome] = await stack.outcomes(1, SECONDS)
    [task_id] = [each.task.task_id for each in stack.sim.ledger().submits if not each.answered]
    assert (outcome.kind, outcome.body["task_id"]) == ("result", task_id)
    assert billed(stack) == {HELLO: 1}
    assert await uncertain_counts(scribe) == {"begun": 1, "adopted": 1}


async def test_a_submit_that_never_arrived_is_made_again(stack: Stack) -> None:
    await strange(stack, OTHER)
    lose(stack, "drop_before")
    scribe = await stack.start(**QUICK)
    await stack.publish(request("u-2", HELLO))
    [outcome] = await stack.outcomes(1, SECONDS)
    assert (outcome.kind, outcome.body["attempts"]["submit"]) == ("result", 2)
    assert billed(stack) == {HELLO: 1}
    assert await uncertain_counts(scribe) == {"begun": 1, "resubmitted": 1}


async def test_a_list_that_lags_leads_to_no_second_submit(stack: Stack) -> None:
    lose(stack, "drop_after")
    spoil(stack, "lag", seconds=8)
    scribe = await stack.start(**{**QUICK, "SCRIBE_SUBMIT__SETTLE_SECONDS": "10"})
    await stack.publish(request("u-5", HELLO))
    [outcome] = await stack.outcomes(1, SECONDS)
    assert outcome.kind == "result"
    assert billed(stack) == {HELLO: 1}
    assert await uncertain_counts(scribe) == {"begun": 1, "adopted": 1}


Spoil = Callable[[Stack], None]


def down(stack: Stack) -> None:
    spoil(stack, "status")


def out_of_order(stack: Stack) -> None:
    spoil(stack, "shuffle")


def hours_off(stack: Stack) -> None:
    spoil(stack, "misdate", seconds=-7_200)


def behind(stack: Stack) -> None:
    spoil(stack, "lag", seconds=3_600)


@pytest.mark.needs_minutes
@pytest.mark.parametrize("spoilt", [down, out_of_order, hours_off, behind])
async def test_a_list_that_cannot_be_relied_on_leads_to_no_second_submit(stack: Stack, spoilt: Spoil) -> None:
    """A task of ours that runs tells that the list has the wrong hour, or shows too little."""
    await strange(stack, *(f"http://media.test/{n}.wav" for n in range(6)))
    scribe = await stack.start(**QUICK)
    running = "http://media.test/running.wav?status=RUNNING_FOREVER"
    await stack.publish(request("u-6-running", running))
    await stack.until(lambda: billed(stack) == {running: 1})
    spoilt(stack)
    lose(stack, "drop_after", "arrived")
    lose(stack, "drop_before", "hello")
    await stack.publish_all(
        [(request("u-6", HELLO), None, ()), (request("u-7", f"{OTHER}&arrived=1"), None, ())]
    )
    await until_read(stack)
    assert billed(stack)[HELLO] == 0
    stack.sim.state.faults.clear()
    outcomes = await stack.outcomes(2, SECONDS)
    assert [each.kind for each in outcomes] == ["result", "result"]
    assert billed(stack) == {running: 1, HELLO: 1, f"{OTHER}&arrived=1": 1}
    assert await uncertain_counts(scribe) == {"begun": 2, "adopted": 1, "resubmitted": 1}
