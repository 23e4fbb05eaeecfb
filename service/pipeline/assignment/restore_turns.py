"""Lets large journals be restored one after another.

A restore takes memory for a while, and what it has freed stays with the process. Restores are bound by the
processor: several at once end no sooner than one after another.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from service.kafka.journal.takeover import BeforeReading

LARGE_RECORDS = 2_000
"""Smaller journals are restored at once: the brokers' answers take most of their time."""


@dataclass(slots=True)
class RestoreTurns:
    """The restores of the process."""

    _large: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[BeforeReading]:
        """Restore in the block, which calls what it is given; a large restore has its turn until the end."""
        async with AsyncExitStack() as held:

            async def wait(records: int) -> None:
                if records > LARGE_RECORDS:
                    await held.enter_async_context(self._large)

            yield wait
