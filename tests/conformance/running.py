"""Runs a program that uses the vendor's SDK, or OpenAI's, against a simulator, as a process that knows
nothing else.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Protocol

KEY = "sk-conformance"


class Door(Protocol):
    """What stands where the vendor would: a simulator, or what is in front of one."""

    base_url: str
    chat_base_url: str


async def run_sample(
    name: str, door: Door, *arguments: str, key: str = KEY
) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, the lines of JSON that it printed, and its complaints."""
    code, out, err = await run_program(door, str(Path(__file__).with_name(name)), *arguments, key=key)
    return code, [json.loads(line) for line in out.splitlines()], err


async def run_program(door: Door, *arguments: str, key: str = KEY) -> tuple[int, str, str]:
    """Run Python with these arguments: the exit code and what it wrote to its two outputs."""
    environment = {
        "PATH": os.environ["PATH"],
        "DASHSCOPE_API_KEY": key,
        "DASHSCOPE_HTTP_BASE_URL": door.base_url,
        "OPENAI_API_KEY": key,
        "OPENAI_BASE_URL": door.chat_base_url,
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
