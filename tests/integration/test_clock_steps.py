"""A real service whose wall clock steps by three days and back while jobs are open (libfaketime)."""

import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from sandbox.simulator import SimulatorConfig
from tests.integration.stack import Scribe, Stack
from tests.integration.test_main_job import HELLO, OTHER, request

pytestmark = [
    pytest.mark.parametrize("broker_name", ["embedded"]),
    pytest.mark.parametrize("sim_config", [SimulatorConfig()]),
    pytest.mark.needs_faketime,
]
STEP_SECONDS = 2.5


def faked(settings_file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is set by the file's text; its boot clock is the real."""
    found = find_spec("libfaketime")
    assert found is not None
    assert found.origin is not None
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(settings_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


async def value(scribe: Scribe, name: str) -> float:
    """What a metric without labels says."""
    lines = (await scribe.get("metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def until_offset(stack: Stack, scribe: Scribe, days: int) -> None:
    """Wait until the service sees its wall clock so many days away."""
    shown: list[float] = []
    end = time.monotonic() + 30
    while not shown or abs(shown[-1] - days * 86_400) > 5:
        assert time.monotonic() < end, shown
        shown.append(await value(scribe, "scribe_clock_offset_seconds"))
        await stack.until(lambda: True)


async def test_three_days_forwards_and_back_end_and_forget_nothing(stack: Stack, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    scribe = await stack.start(SCRIBE_SPEND__SECONDS_PER_DAY="1", **faked(clock))
    await stack.publish(request("running", HELLO + "&status=RUNNING_FOREVER", ttl_seconds=3600))
    await stack.until(lambda: len(stack.sim.ledger().submits) == 1)
    await stack.publish(request("finished", OTHER))
    await stack.outcomes(1)
    await stack.publish(request("waiting", HELLO, ttl_seconds=3600))
    for days in (3, -3):
        clock.write_text(f"{days:+d}d")
        await until_offset(stack, scribe, days)
        begun = time.monotonic()
        await stack.until(lambda begun=begun: time.monotonic() > begun + STEP_SECONDS)
        clock.write_text("+0")
        await until_offset(stack, scribe, 0)
    await stack.publish(request("finished", OTHER))
    told = await stack.outcomes(2)
    assert [each.body.get("code") for each in told if each.kind == "failure"] == ["already_finished"]
    status = (await scribe.get("status")).json()
    assert status["hold"]["code"] == "spend_limit"
    assert sum(status["jobs"].values()) == 2
    assert len(stack.sim.ledger().submits) == 2
    assert await value(scribe, "scribe_clock_steps_total") == 2
