"""`python -m tests.watch.worker run`: the real service, with faults that a file turns on while it exists.

The folder is in STORM_SWITCHES. The service's code has no hook for this: parts of it are replaced.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

from service.cli import commands
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.events import Fetched, FetchFailed
from service.kafka.group.partition_offsets import PartitionOffsets
from service.pipeline.collect import CollectStage, ResultFile

SWITCHES = "STORM_SWITCHES"
BUG, FORGET, STICK = "bug", "forget", "stick"
LOOK_SECONDS = 0.1


def is_on(name: str) -> bool:
    """Whether the fault is turned on."""
    return Path(os.environ[SWITCHES], name).exists()


_event, _queue, _ask = CollectStage._event, CollectStage.queue, PartitionOffsets.ask


async def faulty_event(
    self: CollectStage, file: ResultFile, request: AcceptedRequest, held: AsyncExitStack
) -> Fetched | FetchFailed | None:
    """Read a result with a fault of ours."""
    if is_on(BUG):
        raise ZeroDivisionError("a fault of ours, made for this test")
    return await _event(self, file, request, held)


def forgetful_queue(self: CollectStage, file: ResultFile, due_ms: int) -> None:
    """Lose track of results."""
    if not is_on(FORGET):
        _queue(self, file, due_ms)


async def sticking_ask(self: PartitionOffsets) -> None:
    """Stand still, without an end of its own."""
    while is_on(STICK):
        await asyncio.sleep(LOOK_SECONDS)
    await _ask(self)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


if __name__ == "__main__":
    _replace(CollectStage, "_event", faulty_event)
    _replace(CollectStage, "queue", forgetful_queue)
    _replace(PartitionOffsets, "ask", sticking_ask)
    commands.main()
