"""`python -m tests.integration.slow_worker run`: the real service, whose restores outlast a group session.

The service's code has no hook for this: the journal is another where `service.assemble` makes it.
"""

import asyncio

from service import assemble, cli
from service.kafka.journal import Journal
from service.kafka.takeover import Taken

TAKE_SECONDS = 8.0


class SlowJournal(Journal):
    """A journal that is long in being read."""

    async def take(self, partition: int, group_offset: int | None) -> Taken:
        """Take a shard over, late."""
        await asyncio.sleep(TAKE_SECONDS)
        return await super().take(partition, group_offset)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


if __name__ == "__main__":
    _replace(assemble, "Journal", SlowJournal)
    cli.main()
