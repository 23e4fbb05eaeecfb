"""Runs a program that uses the vendor's SDK, or OpenAI's, against a simulator, as a process that knows
nothing else.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from sandbox.simulator import Simulator

KEY = "sk-conformance"


async def run_sample(
    name: str, simulator: Simulator, *arguments: str, key: str = KEY
) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, the lines of JSON that it printed, and its complaints."""
    code, out, err = await run_program(simulator, str(Path(__file__).with_name(name)), *arguments, key=key)
    return code, [json.loads(line) for line in out.splitlines()], err


async def run_program(simulator: Simulator, *arguments: str, key: str = KEY) -> tuple[int, str, str]:
    """Run Python with these arguments: the exit code and what it wrote to its two outputs."""
    environment = {
        "PATH": os.environ["PATH"],
        "DASHSCOPE_API_KEY": key,
        "DASHSCOPE_HTTP_BASE_URL": simulator.base_url,
        "OPENAI_API_KEY": key,
        "OPENAI_BASE_URL": simulator.chat_base_url,
        "PYTHONIOENCODING": "utf-8",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
