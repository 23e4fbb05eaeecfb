"""Who the group consumer talks to: the owner of partitions and records, and who hears of the membership."""

from collections.abc import Collection, Mapping
from typing import Protocol

from service.kafka.group.record_fetcher import RecordReceiver


class PartitionOwner(RecordReceiver, Protocol):
    """Who is told about partitions and gets their records."""

    def assigned(self, partitions: Collection[int]) -> None:
        """These partitions are ours now; `release` each when its shard is restored. Must not wait."""
        ...

    async def revoked(self, partitions: Collection[int]) -> None:
        """These partitions are about to be others'; bounded in time."""
        ...

    def durable_offsets(self) -> Mapping[int, int]:
        """The next offset of each shard, as far as it is in the journal."""
        ...

    def duplicate_member(self, sentence: str) -> None:
        """A process that began after us has our name in the group; the sentence says what to change."""
        ...

    def lost(self, sentence: str) -> None:
        """Our client has stopped, or a new one cannot be started, for this reason; ends with `assigned`."""
        ...


class Membership(Protocol):
    """Who is told what the group says of this member."""

    def proved(self, sent_at: float) -> None:
        """The group has accepted a commit that was sent then, by the boot clock: it counts us in."""
        ...

    def partitioned(self, count: int) -> None:
        """The assignment that follows counts so many partitions."""
        ...
