"""Delivers the records of ready partitions from given offsets.

It gets past unreadable records.

A partition delivers from `deliver_from` until `stop_delivery` or `forget`, without a gap: after any error of
aiokafka, it continues after the last delivered record.
"""

from collections.abc import Collection
from typing import Protocol

from service.clock import Clock
from service.core.job.request_record import Record
from service.errors import ClusterError, ConfigError, NotPermitted, OffsetsMissing, UnreadableRecord
from service.kafka.client.clients import ConsumerRecord, KafkaConsumer, TopicPartition
from service.kafka.client.consumer_records import damaged_record, to_record
from service.kafka.client.error_translation import translated

POLL_MS = 200
"""How long a poll may wait for records: commits and proofs of membership are made between two polls."""
RECORDS_PER_POLL = 100
"""They are decoded and accepted in one turn of the event loop."""
RETRY_SECONDS = 1.0
"""The wait after an error of the client, which has retried by itself."""


class RecordReceiver(Protocol):
    """Takes the delivered records."""

    def deliver(self, partition: int, records: list[Record]) -> None:
        """Records of a partition that delivers, in order."""
        ...

    def cursor_invalid(self, partition: int) -> None:
        """The next record of the partition no longer exists: its cursor must be checked again.

        The partition delivers nothing until the next `deliver_from`.
        """
        ...

    def has_room(self, partition: int) -> bool:
        """Whether the partition may deliver more."""
        ...


class RecordFetcher:
    """Delivers one topic's records from a consumer, whose `auto_offset_reset` must be "none"."""

    def __init__(self, consumer: KafkaConsumer, topic: str, receiver: RecordReceiver, clock: Clock) -> None:
        self._consumer = consumer
        self._topic = topic
        self._receiver = receiver
        self._clock = clock
        self._next: dict[int, int] = {}
        """The offset that each partition delivers next."""
        self._full: set[int] = set()

    def begin(self, assigned: list[TopicPartition]) -> None:
        """Forget the old partitions and pause the newly assigned ones; does not await."""
        with translated():
            self._consumer.pause(*assigned)
            self.forget()
            for each in assigned:
                # Any position keeps aiokafka from looking one up; `deliver_from` sets the right one.
                self._consumer.seek(each, 0)

    def forget(self) -> None:
        """Stop delivering from all partitions."""
        self._next.clear()
        self._full.clear()

    def deliver_from(self, partition: int, offset: int) -> None:
        """Let the partition deliver from `offset` on; ignored if it is no longer assigned."""
        topic_partition = TopicPartition(self._topic, partition)
        with translated():
            if topic_partition in self._consumer.assignment():
                self._next[partition] = offset
                self._full.discard(partition)
                self._consumer.seek(topic_partition, offset)
                self._consumer.resume(topic_partition)

    def stop_delivery(self, partition: int) -> None:
        """Stop the partition's delivery until the next `deliver_from`."""
        self._next.pop(partition, None)
        topic_partition = TopicPartition(self._topic, partition)
        with translated():
            if topic_partition in self._consumer.assignment():
                self._consumer.pause(topic_partition)

    async def read_to(self, partition: int) -> int | None:
        """The offset up to which a partition that delivers was read, markers included; None for others.

        Every record before it was delivered: what follows the last one are the markers of transactions.
        """
        topic_partition = TopicPartition(self._topic, partition)
        with translated():
            if partition not in self._next or topic_partition not in self._consumer.assignment():
                return None
            position: int = await self._consumer.position(topic_partition)
        return position

    async def poll(self) -> None:
        """Deliver fetched records.

        Pause partitions without room and resume those that have it again.

        aiokafka does not yield between taking and returning records, so no rebalance can come between a
        record and its delivery. Raises `ConfigError` if joining the group is not permitted: otherwise no
        partition would come, silently. Raises `ClusterError` if the client's state is inconsistent.
        """
        try:
            with translated():
                batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL)
        except OffsetsMissing as error:
            self._rewind()
            self._report_invalid_cursors(error.partitions)
        except UnreadableRecord:
            self._rewind()
            await self._poll_one_by_one()
        except NotPermitted as error:
            raise ConfigError(str(error)) from error
        except ClusterError:
            self._rewind()
            await self._clock.sleep(RETRY_SECONDS)
            await self._poll_one_by_one()
        else:
            for topic_partition, records in batches.items():
                self._deliver(topic_partition.partition, records)
        self._balance()

    async def _poll_one_by_one(self) -> None:
        """Fetch one record of each partition, so that an unreadable one does not stop the others.

        aiokafka cannot read a record with a header name that is not UTF-8; brokers accept such records.
        """
        for partition in list(self._next):
            topic_partition = TopicPartition(self._topic, partition)
            try:
                with translated():
                    batches = await self._consumer.getmany(topic_partition, timeout_ms=POLL_MS, max_records=1)
            except UnreadableRecord:
                self._deliver_damaged(partition)
                return
            except ClusterError:
                self._rewind()
                continue
            self._deliver(partition, batches.get(topic_partition, []))

    def _deliver(self, partition: int, records: list[ConsumerRecord]) -> None:
        """Deliver while there is room, which each record may use up.

        The rest is fetched again.
        """
        for record in records:
            if partition not in self._next:
                return
            if not self._receiver.has_room(partition):
                self._seek(partition, self._next[partition])
                return
            self._next[partition] = record.offset + 1
            self._receiver.deliver(partition, [to_record(record)])

    def _deliver_damaged(self, partition: int) -> None:
        """Deliver a placeholder for a record that aiokafka cannot read, and continue after it."""
        offset = self._next.get(partition)
        if offset is None:
            return
        self._next[partition] = offset + 1
        self._rewind()
        self._receiver.deliver(partition, [damaged_record(self._topic, partition, offset)])

    def _rewind(self) -> None:
        """Seek back to the last delivered records: a failed poll drops records of other partitions."""
        for partition, offset in self._next.items():
            self._seek(partition, offset)

    def _seek(self, partition: int, offset: int) -> None:
        with translated():
            self._consumer.seek(TopicPartition(self._topic, partition), offset)

    def _report_invalid_cursors(self, partitions: Collection[int]) -> None:
        for partition in self._next.keys() & partitions:
            self.stop_delivery(partition)
            self._receiver.cursor_invalid(partition)

    def _balance(self) -> None:
        full = {partition for partition in self._next if not self._receiver.has_room(partition)}
        with translated():
            for partition in full - self._full:
                self._consumer.pause(TopicPartition(self._topic, partition))
            for partition in (self._full - full) & self._next.keys():
                self._consumer.resume(TopicPartition(self._topic, partition))
        self._full = full
