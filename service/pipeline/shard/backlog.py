"""The backlog: bytes that wait for the broker, in one shard and in the whole process.

Whoever produces asks for room first (accept, fetch, expiry, cancel, restore, tombstones). Answers of calls do
not: they are bounded by the calls that are out.
"""

from dataclasses import dataclass

SHARD_BYTES = 4 * 1024**2
PROCESS_BYTES = 16 * 1024**2
BEHIND_MS = 1_000
"""How long something waits that belongs to a shard which cannot write at the moment."""
SLICE = 200
"""Jobs or groups of a mass event between two turns of the event loop."""


@dataclass(slots=True)
class Backlog:
    """What waits in all shards of the process."""

    limit_bytes: int = PROCESS_BYTES
    shard_bytes: int = SHARD_BYTES
    size_bytes: int = 0

    def fill(self, shard_bytes: int) -> float:
        """Which part is taken of a shard's bound with so many bytes, or of the process's; 1.0 is full."""
        return max(shard_bytes / self.shard_bytes, self.size_bytes / self.limit_bytes)

    def add(self, size_bytes: int) -> None:
        """So much more waits."""
        self.size_bytes += size_bytes

    def remove(self, size_bytes: int) -> None:
        """So much is durable, or nobody's any more."""
        self.size_bytes -= size_bytes
