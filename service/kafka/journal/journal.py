"""The journal as the pipeline uses it, in both delivery modes: take a shard over, write, follow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from service.core.journal.stamp import Stamp
from service.errors import ClusterUnavailable, Fenced, RestoreError
from service.frozen import dataclass
from service.kafka.admin.topics import Topics
from service.kafka.client.clients import ConsumerRecord, TopicPartition
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.error_translation import translated
from service.kafka.client.reader import ReconnectingReader
from service.kafka.client.span_reader import OffsetRange, read
from service.kafka.journal.tail import Tail, stamp_of
from service.kafka.journal.takeover import (
    BeforeReading,
    Claimant,
    OnMismatch,
    RestoredShard,
    Takeover,
    at_once,
)
from service.kafka.writing.at_least_once import AtLeastOnceWriter
from service.kafka.writing.exactly_once import ExactlyOnceWriter
from service.kafka.writing.producer import Producer
from service.kafka.writing.shard_records import ShardRecords
from service.kafka.writing.transactional_producer import Transactions
from service.kafka.writing.writer_port import Writer

TAKEOVERS_AT_ONCE = 4
"""Each takeover opens a consumer of its own; a hundred at once would flood the brokers with connections."""


@dataclass(frozen=True, slots=True)
class Journal:
    """One process's access to the journal topic; without a `producer` each shard has a transactional one.

    `limits` are the outcome topics' `max.message.bytes`, if the broker reports them. `watermarks` sees
    uncommitted records, so it knows the real end of a partition.
    """

    cluster: ClusterConfig
    topics: Topics
    producer: Producer | None
    watermarks: ReconnectingReader
    tail: Tail
    member: str
    on_mismatch: OnMismatch
    limits: Mapping[str, int]
    fetch_max_wait_ms: int
    takeover_slots: asyncio.Semaphore

    async def take_over(
        self, partition: int, group_offset: int | None, before_reading: BeforeReading = at_once
    ) -> RestoredShard:
        """Claim a partition and read it back; raises `RestoreError` or `ClusterError`."""
        async with AsyncExitStack() as slot:
            await slot.enter_async_context(self.takeover_slots)
            before = partial(self._wait_without_slot, slot, before_reading)
            async with (
                # Outside the reader: if cancelled while the reader closes, nothing has been taken over.
                self._sender(partition) as sender,
                reader(self.cluster, self.fetch_max_wait_ms) as consumer,
            ):
                takeover = Takeover(
                    self.topics, sender, consumer, self.watermarks, self.member, self.on_mismatch
                )
                return await takeover.take_over(partition, group_offset, before)

    async def _wait_without_slot(
        self, slot: AsyncExitStack, before_reading: BeforeReading, records: int
    ) -> None:
        """Wait without the slot in `slot`, which smaller journals can use meanwhile."""
        await slot.aclose()
        await before_reading(records)
        await slot.enter_async_context(self.takeover_slots)

    def writer(self, partition: int, taken: RestoredShard, is_owner: Callable[[], Awaitable[bool]]) -> Writer:
        """The writer of a shard that was taken over; `is_owner` asks the group."""
        shard_records = ShardRecords(self.topics, partition, taken.epoch, self.member)
        if not isinstance(taken.sender, Transactions):

            async def proves(offset: int) -> bool:
                return await self.tail.proves(partition, offset)

            return AtLeastOnceWriter(taken.sender, shard_records, proves)

        async def look_up(start: int, mine: Stamp) -> int | None:
            return await self._look_up(partition, start, mine)

        return ExactlyOnceWriter(
            taken.sender, shard_records, look_up, is_owner, self.limits, taken.claim_offset
        )

    @asynccontextmanager
    async def _sender(self, partition: int) -> AsyncIterator[Claimant]:
        """The sender of a takeover; discarded if the takeover fails."""
        if self.producer is not None:
            yield self.producer
            return
        # Named after the journal, not the group: a renamed group still fences the old one.
        sender = Transactions(self.cluster, f"{self.topics.journal}.{partition}", self.topics)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(sender.close)
            await sender.open()
            yield sender
            undo.pop_all()

    async def _look_up(self, partition: int, start: int, mine: Stamp) -> int | None:
        """The last offset, from `start` on, of a record with this stamp.

        None if there is none.

        Raises `Fenced` if it meets a higher epoch.
        """
        journal = TopicPartition(self.topics.journal, partition)
        found: list[int] = []

        def take(record: ConsumerRecord) -> None:
            stamp = _stamp(record)
            if stamp.epoch > mine.epoch:
                raise Fenced(partition, stamp.epoch)
            if stamp == mine:
                found.append(record.offset)

        async with reader(self.cluster, self.fetch_max_wait_ms) as consumer:
            end = await self.watermarks.end_offset(journal)
            with translated():
                consumer.assign([journal])
            try:
                unreadable = await read(consumer, OffsetRange(journal, start, end), take)
            except RestoreError as error:
                raise ClusterUnavailable(str(error)) from error
        if unreadable is not None:
            raise ClusterUnavailable(f"{journal.topic}, partition {partition} cannot be read to its end")
        return max(found, default=None)


def _stamp(record: ConsumerRecord) -> Stamp:
    """The record's stamp.

    A foreign record without one gets epoch -1, and the next restore rejects it.
    """
    try:
        return Stamp.decode(stamp_of(record) or b"")
    except ValueError:
        return Stamp(-1, -1)
