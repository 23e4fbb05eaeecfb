"""`scribe status` of real replicas: healthy, with a fault, and gone."""

import asyncio
import json
import signal
import subprocess
import sys

import pytest
import typer.testing

from sandbox.child import free_ports
from sandbox.simulator import Fault
from service.cli.commands import app
from tests.integration.stack import Stack
from tests.integration.test_limits import status_until
from tests.integration.test_main_job import HELLO, request

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])
WAIT_SECONDS = 60


async def scribe(*arguments: str, **environ: str) -> typer.testing.Result:
    run = typer.testing.CliRunner().invoke
    return await asyncio.to_thread(run, app, ["status", *arguments], env=environ)


async def test_a_replica_is_healthy_then_held_then_gone(stack: Stack) -> None:
    replica = await stack.start()
    url = f"http://127.0.0.1:{replica.port}"
    done = await scribe(url)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith(f"{url}  healthy")
    assert "ready 0-2" in done.stdout
    # Without a URL it is the replica on this machine.
    assert (await scribe(SCRIBE_HTTP__PORT=str(replica.port))).exit_code == 0

    message = "Incorrect API key sk-canary1234567890"
    stack.sim.state.add_fault(
        Fault(on="submit", kind="status", status=401, code="InvalidApiKey", message=message, times=None)
    )
    await stack.publish(request("r-1", HELLO))
    await status_until(replica, "hold")
    done = await scribe(url)
    assert done.exit_code == 3
    assert "! hold of the account" in done.stdout
    assert "InvalidApiKey" in done.stdout
    assert "SCRIBE_PROVIDER__API_KEY_FILE" in done.stdout
    assert "canary" not in done.stdout

    gone = f"http://127.0.0.1:{free_ports(1)[0]}"
    done = await scribe(url, gone, "--output", "json")
    assert done.exit_code == 4
    document = json.loads(done.stdout)
    assert document["healthy"] is False
    assert [each["reachable"] for each in document["replicas"]] == [True, False]
    assert document["replicas"][0]["status"]["hold"]["code"] == "InvalidApiKey"
    assert "refused" in document["replicas"][1]["error"].lower()


async def test_watching_prints_a_document_a_turn_until_it_is_interrupted(stack: Stack) -> None:
    replica = await stack.start()
    command = [sys.executable, "-m", "service", "status", "--watch", "-o", "json"]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"SCRIBE_HTTP__PORT": str(replica.port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_SECONDS):
        for _ in range(2):
            assert json.loads(await process.stdout.readline())["healthy"] is True
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
