"""Starts aiokafka's clients within a bound, and leaves no connection behind where that fails.

Cancelled while it waits for the first metadata, aiokafka forgets the connection it has opened for them.
"""

import asyncio
from collections.abc import Coroutine

from service.kafka.closing import look_at

LAST_WORDS_SECONDS = 0.5
"""How long a start that is not wanted any more may still take to come to its end."""


async def start(starting: Coroutine[None, None, None], within_seconds: float) -> None:
    """See a client's `start` through; raises what it raises, and `TimeoutError` when it takes too long.

    The caller closes the client, whatever comes of this.
    """
    task = asyncio.ensure_future(starting)
    # Who is cancelled twice does not see its end.
    task.add_done_callback(look_at)
    try:
        await asyncio.wait({task}, timeout=within_seconds)
        if not task.done():
            raise TimeoutError
        task.result()
    finally:
        if not task.done():
            await asyncio.wait({task}, timeout=LAST_WORDS_SECONDS)
            task.cancel()
            await asyncio.wait({task}, timeout=LAST_WORDS_SECONDS)
