"""Python's garbage collector, kept from standing in the way of a restore.

Its full collections look at every object there is: with a hundred thousand jobs in memory each one stops the
event loop for most of a second, and reading a journal brings on several. What a restore makes holds no cycles
and is freed without the collector, so it stands still meanwhile and never looks at those objects afterwards.
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
        """Let it stand still for the block."""
        self.pauses += 1
        gc.disable()
        try:
            yield
        finally:
            self.pauses -= 1
            if not self.pauses:
                gc.enable()

    def forget(self) -> None:
        """Never look again at what is in memory now."""
        gc.freeze()
