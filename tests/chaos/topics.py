"""The topics of a run that are not as the service would create them, on real Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from service.kafka.admin.topics import Creation, Topics, configs
from tests.brokers import create_topics

ANY_TIME: Final = {"message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1"}
"""The broker lets every time of a record pass, and keeps it."""
SMALLEST_SEGMENT_BYTES = 1024 * 1024
"""Kafka 4 takes none that are smaller."""


@dataclass(frozen=True)
class Compaction:
    """A journal that is compacted while it is written: its segments roll with time."""

    lag_ms: int
    """What is younger is left alone. What a stranger wrote over, an owner mends within it or never."""
    segment_ms: int = 500

    def settings(self) -> Mapping[str, str]:
        """Of the topic."""
        return {
            "segment.bytes": str(SMALLEST_SEGMENT_BYTES),
            "segment.ms": str(self.segment_ms),
            "min.cleanable.dirty.ratio": "0.01",
            "min.compaction.lag.ms": str(self.lag_ms),
            "max.compaction.lag.ms": str(max(self.lag_ms, 1)),
            "delete.retention.ms": "0",
        }


async def create(bootstrap: str, topics: Topics, creation: Creation, compaction: Compaction | None) -> None:
    """Create the request topic for records of any time, and a journal that is compacted as it is said."""
    wanted = configs(topics, creation)
    changes: dict[str, Mapping[str, str]] = {topics.requests: ANY_TIME}
    if compaction is not None:
        changes[topics.journal] = compaction.settings()
    for topic, settings in changes.items():
        extents = {topic: creation.partitions}
        await create_topics(bootstrap, extents, {**wanted[topic], **settings}, creation.replication)
