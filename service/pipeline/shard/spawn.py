"""The port through which stages start tasks."""

import asyncio
from collections.abc import Coroutine
from typing import Protocol


class Spawn(Protocol):
    """Start a task whose crash ends the process."""

    def __call__(self, coroutine: Coroutine[None, None, None], *, name: str) -> "asyncio.Task[None]":
        """Start the task; `name` identifies it in logs."""
        ...
