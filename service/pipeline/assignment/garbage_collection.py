"""Pauses Python's garbage collector during a restore.

A full collection visits every object: with a hundred thousand jobs in memory, each one stops the event loop
for most of a second, and reading a journal triggers several. A restore's objects have no cycles and are freed
without the collector, so it is paused meanwhile and never visits them afterwards.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class GarbageCollector:
    """The collector of the process; restores may overlap."""

    pauses: int = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause it for the block."""
        self.pauses += 1
        gc.disable()
        try:
            yield
        finally:
            self.pauses -= 1
            if not self.pauses:
                gc.enable()

    def forget(self) -> None:
        """Exclude the objects now in memory from all later collections.

        What they hold in reference cycles is never freed: a shard that is closed therefore drops its state.
        """
        gc.freeze()
