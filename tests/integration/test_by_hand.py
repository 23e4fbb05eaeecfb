"""The parts started by hand, as a newcomer does: each prints what the service must be told of it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sandbox.child import die_with_parent

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


@asynccontextmanager
async def started(*command: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of ours that is ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def settings_of(process: asyncio.subprocess.Process) -> dict[str, str]:
    """The settings that the process says a service needs."""
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        async for line in process.stdout:
            _, found, words = line.decode().partition("a service needs")
            if found:
                settings = words.strip(' ":}\n').split()
                return dict(setting.split("=", 1) for setting in settings)
    raise AssertionError("it ended without a word on what a service needs")


@pytest.mark.timeout(180)
@pytest.mark.computes
async def test_a_request_is_served_by_what_the_broker_and_the_simulator_print() -> None:
    async with started("sandbox", "broker") as broker, started("sandbox", "simulate") as simulator:
        settings = {**await settings_of(broker), **await settings_of(simulator)}
        async with started(
            "service", "run", **settings, SCRIBE_HTTP__HOST="127.0.0.1", SCRIBE_HTTP__PORT="0"
        ):
            # A client that is quicker than the service would be told that the topics are missing.
            async with started("service", "topics", **settings) as topics:
                assert await topics.wait() == 0
            url = "https://example.com/a.wav?run=0.2&text=hello"
            async with started("service", "submit", url, "--wait", **settings) as client:
                said, _ = await asyncio.wait_for(client.communicate(), START_SECONDS)
            assert (client.returncode, "hello" in said.decode()) == (0, True), said.decode()
