"""Taking over a shard: claim its journal partition, read it to the claim, and judge what it says.

The claim is the fence: from its offset on, entries of lower epochs count no more. What the journal says is
checked against the request topic, since a cursor that does not fit means a topic that was made anew.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.core.job.request_record import Cursor, Record
from service.core.journal.entries import OwnerEntry, encode_cursor, encode_owner, encode_spend
from service.core.journal.replay import Restore
from service.core.journal.stamp import Stamp, cursor_key, owner_key, spend_key
from service.core.limits.slot_share import Predecessor
from service.core.limits.spend_limit import DaySpend
from service.errors import PublishError, RestoreError
from service.kafka.admin.topics import Topics
from service.kafka.client.consumer_records import is_brokers_time, to_record, usable_ms
from service.kafka.client.error_translation import translated
from service.kafka.client.reader import ReconnectingReader
from service.kafka.client.span_reader import Span, read
from service.kafka.journal.tail import stamp_of
from service.kafka.writing.producer_record import Sender
from service.kafka.writing.shard_records import journal_record

OnMismatch = Literal["refuse", "start_over"]


class Claimant(Sender, Protocol):
    """What a take-over sends through, and asks for a topic's partitions."""

    async def partitions(self, topic: str) -> frozenset[int]:
        """The partitions a topic has; raises `PublishError` when that cannot be told in time."""
        ...


@dataclass(frozen=True, slots=True)
class RestoredShard:
    """A shard that was taken over: what its journal says, our epoch, and where our claim lies.

    `sender` is what the claim was sent through. `cursor` is where requests are read on; the journal says so.
    `lost_requests` counts requests that the topic's retention removed before anybody read them.
    """

    restore: Restore
    epoch: int
    claim_offset: int
    cursor: Cursor
    lost_requests: int
    sender: Sender
    predecessor: Predecessor = Predecessor.UNKNOWN
    """Whether the last owner has said that it makes no calls any more."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """One member takes one shard over.

    `sender` fences earlier owners where the broker can do that, and then it has done so. `reader` reads what
    is committed and serves nobody else. `watermarks` tells where a partition really ends: a `read_committed`
    end lies before the first open transaction, and what is behind it would be missed.
    """

    topics: Topics
    sender: Claimant
    reader: AIOKafkaConsumer
    watermarks: ReconnectingReader
    member: str
    on_mismatch: OnMismatch

    async def take(self, partition: int, group_offset: int | None) -> RestoredShard:
        """Claim the partition and read it back.

        Raises `RestoreError` when the journal is not there, cannot be read or does not fit the request topic,
        and `ClusterError` when the broker does not answer or take the claim.
        """
        journal = TopicPartition(self.topics.journal, partition)
        requests = TopicPartition(self.topics.requests, partition)
        await self._find(journal)
        # Both at once: aiokafka takes a tenth of a second to learn of a topic that it is asked about alone.
        with translated():
            self.reader.assign([journal, requests])
            self.reader.pause(requests)
        restore = Restore(self.topics.journal, partition)
        held = await self._held(journal)
        await self._fold(held, restore)
        claim_offset, predecessor = await self._claim(held, restore)
        cursor, lost = await self._judge(await self._held(requests), restore, group_offset)
        await self._make_own(partition, restore, cursor)
        return RestoredShard(restore, restore.epoch, claim_offset, cursor, lost, self.sender, predecessor)

    async def _find(self, journal: TopicPartition) -> None:
        """Refuse a shard without a journal, as where the request topic was grown alone."""
        partitions = await self.sender.partitions(journal.topic)
        if journal.partition not in partitions:
            raise RestoreError(
                f"{journal.topic} has no partition {journal.partition}; "
                f"give it as many partitions as {self.topics.requests} has"
            )

    async def _claim(self, held: Span, restore: Restore) -> tuple[int, Predecessor]:
        """Append claims until one is the highest at its own offset: another member may claim meanwhile.

        Returns the claim's offset, and whether the owner before it has stopped calling; `restore` has then
        read up to the claim, and is of its epoch.
        """
        journal, start = held.partition, held.end
        while True:
            epoch = restore.epoch + 1
            owner = encode_owner(OwnerEntry(epoch, self.member))
            offset = await self._append(journal.partition, owner_key(epoch), owner, epoch)
            await self._fold(Span(journal, start, offset), restore)
            highest_before, predecessor = restore.epoch, restore.predecessor
            await self._fold(Span(journal, offset, offset + 1), restore)
            if highest_before < epoch:
                return offset, predecessor
            start = offset + 1

    async def _make_own(self, partition: int, restore: Restore, cursor: Cursor) -> None:
        """Write cursor and spending under keys of our epoch; behind ours, former owners' say nothing."""
        epoch = restore.epoch
        await self._append(partition, cursor_key(epoch), encode_cursor(cursor), epoch)
        if restore.spend != DaySpend():
            await self._append(partition, spend_key(epoch), encode_spend(restore.spend), epoch)
        for key in restore.superseded():
            await self._append(partition, key, None, epoch)

    async def _append(self, partition: int, key: str, value: bytes | None, epoch: int) -> int:
        record = journal_record(self.topics.journal, partition, key, value, Stamp(epoch, 0))
        [answer] = await self.sender.send([record])
        if isinstance(answer, PublishError):
            raise answer
        return answer

    async def _judge(self, requests: Span, restore: Restore, group_offset: int | None) -> tuple[Cursor, int]:
        """Where to go on reading requests, and how many are gone unread.

        A request topic that is started over has a new generation: its offsets name other requests.
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

    def _complaint_without_cursor(self, requests: Span, group_offset: int | None) -> str | None:
        if group_offset is None or group_offset <= requests.begin:
            return None
        journal = self.topics.journal
        return f"{journal} knows nothing of {requests}, which the group has read up to {group_offset}"

    async def _complaint(self, requests: Span, cursor: Cursor) -> str | None:
        """Why the request topic is not the one that the journal has read, if it is not."""
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
        """The record, None where there is none any more, or none that can be read."""
        found: list[Record] = []
        with translated():
            self.reader.resume(requests)
        span = Span(requests, offset, offset + 1)
        await read(self.reader, span, lambda record: found.append(to_record(record)))
        return next(iter(found), None)

    async def _held(self, partition: TopicPartition) -> Span:
        """What the partition holds: its first offset that is still there, and its high watermark."""
        begin = await self.watermarks.begin_offset(partition)
        return Span(partition, begin, await self.watermarks.end_offset(partition))

    async def _fold(self, journal: Span, restore: Restore) -> None:
        """Let `restore` take what the journal holds there; raises `RestoreError` for what is not ours."""

        def take(record: ConsumerRecord) -> None:
            # Half a character in a key is no key of ours, and `add` says so.
            key = (record.key or b"").decode(errors="replace")
            restore.add(record.offset, key, record.value, stamp_of(record))
            restore.note_time(usable_ms(record.timestamp) or 0, is_brokers=is_brokers_time(record))

        unreadable = await read(self.reader, journal, take)
        if unreadable is not None:
            raise RestoreError(f"the journal record at {journal}, offset {unreadable} cannot be read")
