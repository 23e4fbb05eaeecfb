"""Two processes under one `group.instance.id`: the later one ends with a sentence, a hand-over is nothing."""

import asyncio
import json
import signal

import pytest

from tests.integration.stack import READY_SECONDS, Scribe, Stack
from tests.integration.test_main_job import HELLO, request

pytestmark = [
    pytest.mark.needs_java,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("broker_name", ["kafka"]),
]

DUPLICATE_MEMBER = {"SCRIBE_KAFKA__GROUP_INSTANCE_ID": "scribe-0"}
SYNCHRONOUS = "qwen3-asr-flash"
SLOW = HELLO.replace("run=0.2", "run=60")
"""Six seconds at the simulator's speed, on the wire of a synchronous model: a stop waits for it."""


def events(scribe: Scribe) -> list[str]:
    """The log's lines by their event; what is not ours, as it stands."""
    lines = scribe.log_path.read_text().splitlines()
    return [json.loads(line)["event"] if line.startswith("{") else line for line in lines]


async def until_ready(scribe: Scribe) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while not await scribe.is_ready():
            assert scribe.process.returncode is None, scribe.log_path.read_text()
            await asyncio.sleep(0.05)


async def test_the_later_of_two_processes_under_one_name_ends_and_the_earlier_goes_on(stack: Stack) -> None:
    earlier = await stack.start(**DUPLICATE_MEMBER)
    later = await stack.launch(**DUPLICATE_MEMBER)
    assert await later.ended() == 78
    [sentence] = [line for line in events(later) if line.startswith("scribe: ")]
    assert "SCRIBE_KAFKA__GROUP_INSTANCE_ID=scribe-0" in sentence
    assert "started before this one" in sentence
    await until_ready(earlier)
    await stack.publish(request("after", HELLO))
    await stack.outcomes(1)
    assert await earlier.end() == 0


async def test_a_process_that_follows_one_that_drains_is_no_duplicate(stack: Stack) -> None:
    """As long as the old one drains it would take its name back, and both would seem to be duplicates."""
    old = await stack.start(**DUPLICATE_MEMBER)
    await stack.publish({**request("slow", SLOW), "model": SYNCHRONOUS})
    await stack.until(lambda: bool(stack.sim.ledger().submitted_urls()), READY_SECONDS)
    old.process.send_signal(signal.SIGTERM)
    new = await stack.start(**DUPLICATE_MEMBER)
    assert await old.ended() == 0
    await until_ready(new)
    await stack.publish(request("after", HELLO))
    await stack.outcomes(2)
    assert "duplicate_member" not in [*events(old), *events(new)]
    assert await new.end() == 0


async def test_a_name_that_passes_from_process_to_process_is_no_duplicate(stack: Stack) -> None:
    """Killed or stopped, each within the session of the one before: the group has not forgotten it."""
    for number, how in enumerate([signal.SIGKILL, signal.SIGTERM] * 3):
        scribe = await stack.start(**DUPLICATE_MEMBER, SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS="30")
        await stack.publish(request(f"r-{number}", HELLO))
        await stack.outcomes(number + 1)
        await scribe.end(how)
        assert "duplicate_member" not in events(scribe)
