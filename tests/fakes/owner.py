"""An owner of partitions that writes down what it is told, and has room as it is told to."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from service.core.job.request_record import Record


@dataclass
class FakeOwner:
    """Writes down what it is told; has room as it is told to."""

    partitions: set[int] = field(default_factory=set)
    assignments: list[set[int]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    delivered: list[Record] = field(default_factory=list)
    full: set[int] = field(default_factory=set)
    places: int | None = None
    """So many records fill each partition."""
    durable: dict[int, int] = field(default_factory=dict)
    displacements: list[int] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    proofs: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    revoking: asyncio.Event = field(default_factory=asyncio.Event)
    may_leave: asyncio.Event = field(default_factory=asyncio.Event)
    bug: Exception | None = None

    def __post_init__(self) -> None:
        self.may_leave.set()

    def proved(self, sent_at: float) -> None:
        self.proofs.append(sent_at)

    def partitioned(self, count: int) -> None:
        self.counts.append(count)

    def assigned(self, partitions: Collection[int]) -> None:
        self.partitions = set(partitions)
        self.assignments.append(set(partitions))
        self.events.append("assigned")
        if self.bug is not None:
            raise self.bug

    async def revoked(self, partitions: Collection[int]) -> None:
        if partitions:
            self.revoking.set()
            self.events.append("revoking")
            await self.may_leave.wait()
            self.events.append("revoked")
        self.partitions -= set(partitions)

    def deliver(self, partition: int, records: list[Record]) -> None:
        assert partition in self.partitions
        self.events.append(f"delivered {partition}")
        self.delivered += records

    def cursor_invalid(self, partition: int) -> None:
        self.displacements.append(partition)

    def has_room(self, partition: int) -> bool:
        is_full = self.places is not None and len(self.offsets(partition)) >= self.places
        return partition not in self.full and not is_full

    def durable_offsets(self) -> Mapping[int, int]:
        return self.durable

    def duplicate_member(self, sentence: str) -> None:
        self.duplicates.append(sentence)

    def lost(self, sentence: str) -> None:
        self.losses.append(sentence)

    def offsets(self, partition: int) -> list[int]:
        """The offsets that were delivered of the partition, in their order."""
        return [r.position.offset for r in self.delivered if r.position.partition == partition]
