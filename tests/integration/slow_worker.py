"""`python -m tests.integration.slow_worker run`: the real service, whose restores outlast a group session.

The service's code has no hook for this: the journal is another where `service.app.wiring` makes it.
"""

import asyncio

from service.app import wiring
from service.cli import commands
from service.kafka.journal.journal import Journal
from service.kafka.journal.takeover import BeforeReading, RestoredShard, at_once

TAKE_SECONDS = 8.0


class SlowJournal(Journal):
    """A journal that is long in being read."""

    async def take_over(
        self, partition: int, group_offset: int | None, before_reading: BeforeReading = at_once
    ) -> RestoredShard:
        """Take a shard over, late."""
        await asyncio.sleep(TAKE_SECONDS)
        return await super().take_over(partition, group_offset, before_reading)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


if __name__ == "__main__":
    _replace(wiring, "Journal", SlowJournal)
    commands.main()
