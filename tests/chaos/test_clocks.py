"""A clock that a run can step: the wall alone, and nothing where the library is not installed."""

import asyncio
import sys
from pathlib import Path

from tests.chaos import clocks

BOUND_SECONDS = 60.0
DAYS = 2 * 24 * 3600
PROGRAM = f"""
import sys, time
wall, boot, still = time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
print("began", flush=True)
while abs(time.time() - wall) < {DAYS}:
    time.sleep(0.05)
print(max(time.monotonic() - boot, time.clock_gettime(time.CLOCK_BOOTTIME) - still) < {DAYS}, flush=True)
"""


async def test_a_step_moves_the_wall_clock_of_one_process_and_not_its_boot_clock(tmp_path: Path) -> None:
    offset_path = tmp_path / "clock"
    environment = dict(clocks.environment(offset_path))
    if clocks.library() is None:
        assert environment == {}
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(BOUND_SECONDS):
        assert await process.stdout.readline() == b"began\n"
        clocks.step(offset_path, "+3d")
        assert await process.stdout.readline() == b"True\n"
        assert await process.wait() == 0
