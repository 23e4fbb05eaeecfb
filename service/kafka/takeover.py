"""Taking over a shard: claim its journal partition, read it to the claim, and judge what it says.

The claim is the fence: from its offset on, entries of lower epochs count no more. What the journal says is
checked against the request topic, since a cursor that does not fit means a topic that was made anew.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.core.entry import CURSOR_KEY, OWNER_KEY, Owner, Stamp, encode_cursor, encode_owner
from service.core.record import Cursor, Record
from service.core.restore import Restore
from service.errors import PublishError, RestoreError
from service.kafka.producer import Producer
from service.kafka.records import to_record
from service.kafka.tail import stamp_of
from service.kafka.topics import Topics
from service.kafka.writer import journal_record

READ_BOUND_SECONDS = 30.0
"""How long a restore may go without reading anything new before it gives up."""
SLICE_RECORDS = 200
"""Records folded between two turns of the event loop: a few milliseconds."""

OnMismatch = Literal["refuse", "start_over"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A shard that was taken over: what its journal says, our epoch, and where our claim lies.

    `lost_requests` counts requests that the topic's retention removed before anybody read them.
    """

    restore: Restore
    epoch: int
    claim_offset: int
    cursor: Cursor
    lost_requests: int


@dataclass(frozen=True, slots=True)
class Takeover:
    """How shards are taken over by this member."""

    topics: Topics
    producer: Producer
    member: str
    on_mismatch: OnMismatch

    async def take(self, reader: AIOKafkaConsumer, partition: int, group_offset: int | None) -> Taken:
        """Claim the partition and read it back.

        `reader` is assigned to nothing else. Raises `RestoreError` when the journal does not fit the request
        topic, and `PublishError` when the broker does not take the claim.
        """
        journal = TopicPartition(self.topics.journal, partition)
        requests = TopicPartition(self.topics.requests, partition)
        reader.assign([journal, requests])
        reader.pause(requests)
        restore = Restore(self.topics.journal, partition)
        await self._read(reader, journal, restore)
        claim_offset = await self._claim(reader, journal, restore)
        cursor, lost = await self._judge(reader, requests, restore, group_offset)
        if restore.cursor is None:
            await self._append(partition, CURSOR_KEY, encode_cursor(cursor), restore.epoch)
        return Taken(restore, restore.epoch, claim_offset, cursor, lost)

    async def _read(self, reader: AIOKafkaConsumer, journal: TopicPartition, restore: Restore) -> int:
        """Read to the high watermark; returns it."""
        end: int = (await reader.end_offsets([journal]))[journal]
        begin = (await reader.beginning_offsets([journal]))[journal]
        await read_to(reader, journal, begin, end, lambda record: _fold(restore, record))
        return end

    async def _claim(self, reader: AIOKafkaConsumer, journal: TopicPartition, restore: Restore) -> int:
        """Append claims until one is the highest at its own offset: another member may claim meanwhile."""
        while True:
            start = await reader.position(journal)
            epoch = restore.epoch + 1
            owner = encode_owner(Owner(epoch, self.member))
            offset = await self._append(journal.partition, OWNER_KEY, owner, epoch)
            rivals = Restore(restore.topic, restore.partition, epoch=restore.epoch)

            def fold(record: ConsumerRecord, offset: int = offset, rivals: Restore = rivals) -> None:
                if record.offset < offset:
                    _fold(rivals, record)
                _fold(restore, record)

            await read_to(reader, journal, start, offset + 1, fold)
            if rivals.epoch < epoch:
                return offset

    async def _append(self, partition: int, key: str, value: bytes, epoch: int) -> int:
        record = journal_record(self.topics.journal, partition, key, value, Stamp(epoch, 0).encode())
        [answer] = await self.producer.send([record])
        if isinstance(answer, PublishError):
            raise answer
        return answer

    async def _judge(
        self, reader: AIOKafkaConsumer, requests: TopicPartition, restore: Restore, group_offset: int | None
    ) -> tuple[Cursor, int]:
        """Where to go on reading requests, and how many are gone unread."""
        begin = (await reader.beginning_offsets([requests]))[requests]
        end = (await reader.end_offsets([requests]))[requests]
        complaint = await self._complaint(reader, requests, restore.cursor, group_offset, begin, end)
        if complaint and self.on_mismatch == "refuse":
            raise RestoreError(
                f"{complaint}; set SCRIBE_KAFKA__ON_JOURNAL_MISMATCH=start_over to read {requests.topic} from its beginning"
            )
        if complaint or restore.cursor is None:
            return Cursor(begin), 0
        lost = max(0, begin - restore.cursor.next_offset)
        return (Cursor(begin), lost) if lost else (restore.cursor, 0)

    async def _complaint(
        self,
        reader: AIOKafkaConsumer,
        requests: TopicPartition,
        cursor: Cursor | None,
        group_offset: int | None,
        begin: int,
        end: int,
    ) -> str | None:
        where = f"{requests.topic}, partition {requests.partition}"
        if cursor is None:
            if group_offset is None or group_offset <= begin:
                return None
            return f"{self.topics.journal} has no cursor for {where}, but the group has read {group_offset} records of it"
        if cursor.next_offset > end:
            return f"the journal has read {where} up to {cursor.next_offset}, but it ends at {end}: it was made anew"
        if cursor.crc is None or cursor.next_offset <= begin:
            return None
        last = await _record_at(reader, requests, cursor.next_offset - 1)
        if last is None or last.crc == cursor.crc:
            return None
        return f"the record before offset {cursor.next_offset} of {where} is not the one the journal has read"


async def _record_at(reader: AIOKafkaConsumer, requests: TopicPartition, offset: int) -> Record | None:
    found: list[Record] = []
    reader.resume(requests)
    try:
        await read_to(reader, requests, offset, offset + 1, lambda record: found.append(to_record(record)))
    finally:
        reader.pause(requests)
    return next((record for record in found if record.position.offset == offset), None)


async def read_to(
    reader: AIOKafkaConsumer,
    partition: TopicPartition,
    start: int,
    end: int,
    take: Callable[[ConsumerRecord], None],
) -> None:
    """Hand every record of [start, end) to `take`, in slices that leave the event loop its turn.

    Raises `RestoreError` when nothing new arrives within the bound.
    """
    reader.seek(partition, start)
    while await reader.position(partition) < end:
        records = await _next(reader, partition, end)
        for count, record in enumerate(records, start=1):
            take(record)
            if count % SLICE_RECORDS == 0:
                await asyncio.sleep(0)


async def _next(reader: AIOKafkaConsumer, partition: TopicPartition, end: int) -> list[ConsumerRecord]:
    """The next records; none when the position passed `end` without any, as behind transaction markers."""
    try:
        async with asyncio.timeout(READ_BOUND_SECONDS):
            while await reader.position(partition) < end:
                batches = await reader.getmany(partition, timeout_ms=1000)
                records: list[ConsumerRecord] = batches.get(partition, [])
                if records:
                    return records
    except TimeoutError:
        message = f"{partition.topic}, partition {partition.partition} does not deliver up to offset {end}"
        raise RestoreError(message) from None
    return []


def _fold(restore: Restore, record: ConsumerRecord) -> None:
    restore.add(record.offset, (record.key or b"").decode(), record.value, stamp_of(record))
