"""Reads the whole journal for an operator: it claims nothing, writes nothing and joins no group.

What a partition's owner has not written yet is not in it. A partition that cannot be read does not stop the
others.
"""

from functools import partial

from service.core.journal.replay import Restore
from service.errors import RestoreError, ServiceError
from service.frozen import dataclass
from service.kafka.client.clients import TopicPartition
from service.kafka.client.span_reader import OffsetRange
from service.kafka.client.topic_reader import TopicReader
from service.kafka.journal.replaying import replay_record


@dataclass(frozen=True, slots=True)
class JournalPartition:
    """What one partition says; `error` says why it could not be read to its end."""

    number: int
    restored: Restore
    not_accepted: OffsetRange
    """The request records behind the cursor."""
    error: str = ""


async def view_journal(topics: TopicReader, requests: str, journal: str) -> list[JournalPartition]:
    """Every partition of the journal, which `topics` can read, as can it the requests."""
    return [await _view(topics, requests, each) for each in topics.of(journal)]


async def _view(topics: TopicReader, requests: str, partition: TopicPartition) -> JournalPartition:
    number, restored = partition.partition, Restore(partition.topic, partition.partition)
    asked = TopicPartition(requests, number)
    not_accepted, error = OffsetRange(asked, 0, 0), ""
    try:
        await _replay(topics, partition, restored)
        if asked in topics.partitions:
            extent, cursor = await topics.extent(asked), restored.cursor
            begin = extent.begin if cursor is None else max(extent.begin, cursor.next_offset)
            not_accepted = OffsetRange(asked, begin, max(begin, extent.end))
    except ServiceError as refusal:
        error = str(refusal)
    return JournalPartition(number, restored, not_accepted, error)


async def _replay(topics: TopicReader, partition: TopicPartition, restored: Restore) -> None:
    unreadable = await topics.read(await topics.extent(partition), partial(replay_record, restored))
    if unreadable is not None:
        where = f"{partition.topic}, partition {partition.partition}, offset {unreadable}"
        raise RestoreError(f"the journal record at {where} cannot be read")
