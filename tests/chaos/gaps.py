"""When this process stood still: what it counts of calls is blurred then."""

import asyncio
from collections.abc import Callable

FEEL_SECONDS, GAP_SECONDS = 0.02, 0.1
"""How often this process feels its own pulse; later by so much, and it stood still."""


async def feel(wall: Callable[[], float], gaps: list[tuple[float, float]]) -> None:
    """Note when this process stood still, by the clock that stamps the calls, until cancelled."""
    while True:
        before = wall()
        await asyncio.sleep(FEEL_SECONDS)
        after = wall()
        if after - before - FEEL_SECONDS > GAP_SECONDS:
            gaps.append((before, after))
