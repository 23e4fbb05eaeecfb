"""The group consumer's ports: the owner of partitions and records, and the user of its membership."""

from collections.abc import Collection, Mapping
from typing import Protocol

from service.kafka.group.record_fetcher import RecordReceiver


class PartitionOwner(RecordReceiver, Protocol):
    """Takes assigned partitions and their records."""

    def assigned(self, partitions: Collection[int]) -> None:
        """These partitions are ours now.

        `deliver_from` each when its shard is restored. Must not block.
        """
        ...

    async def revoked(self, partitions: Collection[int]) -> None:
        """These partitions are about to go to others; bounded in time."""
        ...

    def durable_offsets(self) -> Mapping[int, int]:
        """The next request offset of each shard according to its journal."""
        ...

    def duplicate_member(self, sentence: str) -> None:
        """A process that started after us uses our name in the group.

        `sentence` says what to change.
        """
        ...

    def lost(self, sentence: str) -> None:
        """Our client stopped, or a new one cannot start, for this reason.

        `assigned` ends that state.
        """
        ...


class Membership(Protocol):
    """Receives what the group reports about this member."""

    def proved(self, sent_at: float) -> None:
        """The group accepted a commit that was sent at this boot time, so we are a member."""
        ...

    def partitioned(self, count: int) -> None:
        """The next assignment covers `count` partitions."""
        ...
