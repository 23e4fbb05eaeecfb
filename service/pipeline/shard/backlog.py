"""The backlog: bytes that wait for the broker, in one shard and in the whole process.

Accept, fetch, expiry, cancel, restore and tombstones check for room before they produce records. Answers to
calls do not: the calls in flight bound them.
"""

from dataclasses import dataclass

SHARD_BYTES = 4 * 1024**2
"""Four full batches: enough to keep one in flight, and an intent waits behind a few batches at most."""
PROCESS_BYTES = 16 * 1024**2
"""Four full shards. It bounds memory, whatever the number of partitions."""
BEHIND_MS = 1_000
"""How long work is postponed whose shard cannot write now."""
SLICE = 200
"""Jobs or groups handled in one turn of the event loop when many are due at once."""


@dataclass(slots=True)
class Backlog:
    """The bytes that wait in all shards of the process."""

    limit_bytes: int = PROCESS_BYTES
    shard_bytes: int = SHARD_BYTES
    size_bytes: int = 0

    def fill(self, shard_bytes: int) -> float:
        """The fuller of two: the shard's bound with `shard_bytes`, the process's bound.

        1.0 is full.
        """
        return max(shard_bytes / self.shard_bytes, self.size_bytes / self.limit_bytes)

    def add(self, size_bytes: int) -> None:
        """Count bytes that now wait."""
        self.size_bytes += size_bytes

    def remove(self, size_bytes: int) -> None:
        """Discount bytes that are durable or were dropped."""
        self.size_bytes -= size_bytes
