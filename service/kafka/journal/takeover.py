"""Take a shard over: claim its journal partition, read it up to the claim, and check its cursor.

The claim is the fence: after its offset, entries of lower epochs are ignored. The cursor is checked against
the request topic: a cursor that does not fit means that the topic was recreated.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Literal, Protocol

from service.core.job.request_record import Cursor, Record
from service.core.journal.entries import OwnerEntry, encode_cursor, encode_owner, encode_spend
from service.core.journal.replay import Restore
from service.core.journal.stamp import Stamp, cursor_key, owner_key, spend_key
from service.core.limits.slot_share import Predecessor
from service.core.limits.spend_limit import DaySpend
from service.errors import PublishError, RestoreError
from service.frozen import dataclass
from service.kafka.admin.topics import Topics
from service.kafka.client.clients import KafkaConsumer, TopicPartition
from service.kafka.client.consumer_records import to_record
from service.kafka.client.error_translation import translated
from service.kafka.client.reader import ReconnectingReader
from service.kafka.client.span_reader import OffsetRange, read
from service.kafka.journal.replaying import replay_record
from service.kafka.writing.producer_record import ProducerRecord, Sender
from service.kafka.writing.shard_records import journal_record

OnMismatch = Literal["refuse", "start_over"]
BeforeReading = Callable[[int], Awaitable[None]]
"""Called with the number of records that a takeover is about to read; it reads them when this returns."""


async def at_once(_records: int) -> None:
    """Read without waiting."""


class Claimant(Sender, Protocol):
    """A takeover's sender, which also knows a topic's partitions."""

    async def partitions(self, topic: str) -> frozenset[int]:
        """The partitions of a topic; raises `PublishError` if they are not known in time."""
        ...


@dataclass(frozen=True, slots=True)
class RestoredShard:
    """A shard that was taken over: its restored journal, our epoch, and our claim's offset.

    `sender` sent the claim. `cursor`, which is in the journal, is where reading requests continues.
    `lost_requests` counts requests that the topic's retention removed before they were read.
    """

    restore: Restore
    epoch: int
    claim_offset: int
    cursor: Cursor
    lost_requests: int
    sender: Sender
    predecessor: Predecessor = Predecessor.UNKNOWN
    """Whether the last owner released its claim: it makes no more calls."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """The takeover of one shard by one member.

    A transactional `sender` has already fenced earlier owners. `reader` reads committed records and has no
    other user. `watermarks` knows the real end of a partition: a `read_committed` end lies before the first
    open transaction, and records after it would be missed.
    """

    topics: Topics
    sender: Claimant
    reader: KafkaConsumer
    watermarks: ReconnectingReader
    member: str
    on_mismatch: OnMismatch

    async def take_over(
        self, partition: int, group_offset: int | None, before_reading: BeforeReading = at_once
    ) -> RestoredShard:
        """Claim the partition and read it back.

        Raises `RestoreError` if the journal is missing, cannot be read or does not fit the request topic, and
        `ClusterError` if the broker does not answer or does not accept the claim.
        """
        journal = TopicPartition(self.topics.journal, partition)
        requests = TopicPartition(self.topics.requests, partition)
        await self._find(journal)
        # Assign both at once: aiokafka takes a tenth of a second to learn of a topic assigned alone.
        with translated():
            self.reader.assign([journal, requests])
            self.reader.pause(requests)
        restore = Restore(self.topics.journal, partition)
        held = await self._held(journal)
        await before_reading(held.end - held.begin)
        await self._replay(held, restore)
        claim_offset, predecessor = await self._claim(held, restore)
        cursor, lost = await self._judge(await self._held(requests), restore, group_offset)
        await self._make_own(partition, restore, cursor)
        return RestoredShard(restore, restore.epoch, claim_offset, cursor, lost, self.sender, predecessor)

    async def _find(self, journal: TopicPartition) -> None:
        """Refuse a shard without a journal partition, as when only the request topic was grown."""
        partitions = await self.sender.partitions(journal.topic)
        if journal.partition not in partitions:
            raise RestoreError(
                f"{journal.topic} has no partition {journal.partition}; "
                f"give it as many partitions as {self.topics.requests} has"
            )

    async def _claim(self, held: OffsetRange, restore: Restore) -> tuple[int, Predecessor]:
        """Append claims until one is the highest at its own offset: another member may claim meanwhile.

        Returns the claim's offset, and whether the previous owner has stopped making calls. `restore` has
        then read up to the claim and has its epoch.
        """
        journal, start = held.partition, held.end
        while True:
            epoch = restore.epoch + 1
            owner = encode_owner(OwnerEntry(epoch, self.member))
            offset = await self._append(journal.partition, {owner_key(epoch): owner}, epoch)
            await self._replay(OffsetRange(journal, start, offset), restore)
            highest_before, predecessor = restore.epoch, restore.predecessor
            await self._replay(OffsetRange(journal, offset, offset + 1), restore)
            if highest_before < epoch:
                return offset, predecessor
            start = offset + 1

    async def _make_own(self, partition: int, restore: Restore, cursor: Cursor) -> None:
        """Write cursor and spending under keys of our epoch, then delete former owners' keys."""
        epoch, spend = restore.epoch, restore.spend
        own = {cursor_key(epoch): encode_cursor(cursor)}
        if spend != DaySpend():
            own[spend_key(epoch)] = encode_spend(spend)
        await self._append(partition, own, epoch)
        superseded = dict.fromkeys(restore.superseded())
        if superseded:
            # They count for nothing: if they stay, the next owner deletes them.
            await self.sender.send(self._records(partition, superseded, epoch))

    async def _append(self, partition: int, entries: Mapping[str, bytes | None], epoch: int) -> int:
        """Write the entries.

        Return the last offset. Raises `PublishError` if one is not acknowledged.
        """
        offset = -1
        for answer in await self.sender.send(self._records(partition, entries, epoch)):
            if isinstance(answer, PublishError):
                raise answer
            offset = max(offset, answer)
        return offset

    def _records(
        self, partition: int, entries: Mapping[str, bytes | None], epoch: int
    ) -> list[ProducerRecord]:
        stamp = Stamp(epoch, 0)
        return [journal_record(self.topics.journal, partition, *entry, stamp) for entry in entries.items()]

    async def _judge(
        self, requests: OffsetRange, restore: Restore, group_offset: int | None
    ) -> tuple[Cursor, int]:
        """Where reading requests continues, and how many were removed unread.

        A request topic that is started over gets a new generation, since its offsets name other requests.
        """
        cursor = restore.cursor
        if cursor is None:
            complaint = self._complaint_without_cursor(requests, group_offset)
        else:
            complaint = await self._complaint(requests, cursor)
        if complaint and self.on_mismatch == "refuse":
            raise RestoreError(
                f"{complaint}; SCRIBE_KAFKA__ON_JOURNAL_MISMATCH=start_over reads it from its beginning"
            )
        if complaint or cursor is None:
            latest = max(restore.generation, -1 if cursor is None else cursor.generation)
            return Cursor(requests.begin, generation=latest + 1), 0
        lost = max(0, requests.begin - cursor.next_offset)
        return (Cursor(requests.begin, generation=cursor.generation), lost) if lost else (cursor, 0)

    def _complaint_without_cursor(self, requests: OffsetRange, group_offset: int | None) -> str | None:
        if group_offset is None or group_offset <= requests.begin:
            return None
        journal = self.topics.journal
        return f"{journal} knows nothing of {requests}, which the group has read up to {group_offset}"

    async def _complaint(self, requests: OffsetRange, cursor: Cursor) -> str | None:
        """Why the request topic is not the one that the journal has read; None if it is."""
        if cursor.next_offset > requests.end:
            return (
                f"the journal has read {requests} up to {cursor.next_offset}, but it ends at {requests.end}"
            )
        if cursor.crc is None or cursor.next_offset <= requests.begin:
            return None
        last = await self._record_at(requests.partition, cursor.next_offset - 1)
        if last is None or last.crc == cursor.crc:
            return None
        where = f"offset {cursor.next_offset} of {requests}"
        return f"the record before {where} is not the one the journal has read"

    async def _record_at(self, requests: TopicPartition, offset: int) -> Record | None:
        """The record; None if it is gone or cannot be read."""
        found: list[Record] = []
        with translated():
            self.reader.resume(requests)
        span = OffsetRange(requests, offset, offset + 1)
        await read(self.reader, span, lambda record: found.append(to_record(record)))
        return next(iter(found), None)

    async def _held(self, partition: TopicPartition) -> OffsetRange:
        """The partition's extent: its first existing offset and its high watermark."""
        begin = await self.watermarks.begin_offset(partition)
        return OffsetRange(partition, begin, await self.watermarks.end_offset(partition))

    async def _replay(self, journal: OffsetRange, restore: Restore) -> None:
        """Add the span's records to `restore`; raises `RestoreError` for a foreign record."""
        unreadable = await read(self.reader, journal, partial(replay_record, restore))
        if unreadable is not None:
            raise RestoreError(f"the journal record at {journal}, offset {unreadable} cannot be read")
