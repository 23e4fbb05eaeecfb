"""Starts aiokafka's clients within a bound, and leaves no connection behind where that fails."""

import asyncio
from collections.abc import Coroutine

from service.kafka.closing import give_up_start, look_at, see_through

LAST_WORDS_SECONDS = 0.5
"""How long a start that is not wanted any more may still take to come to its end."""


async def start(starting: Coroutine[None, None, None], within_seconds: float) -> None:
    """See a client's `start` through; raises what it raises, and `TimeoutError` when it takes too long.

    The caller closes the client, whatever comes of this.
    """
    task = asyncio.ensure_future(starting)
    task.add_done_callback(look_at)
    try:
        await asyncio.wait({task}, timeout=within_seconds)
        if not task.done():
            raise TimeoutError
        task.result()
    finally:
        if not task.done():
            await see_through(give_up_start(task, LAST_WORDS_SECONDS))
