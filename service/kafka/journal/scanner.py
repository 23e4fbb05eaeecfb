"""Reads the whole journal, other members' partitions too, for what it says of tasks; it writes nothing.

Each partition is read from where the last pass ended, and one that cannot be read keeps no other from it.
"""

from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.core.job.transition_context import Rules
from service.core.reconciliation.journal_scan import PartitionScan
from service.errors import ServiceError
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.consumer_records import is_brokers_time
from service.kafka.client.error_translation import translated
from service.kafka.client.reader import ReconnectingReader
from service.kafka.client.span_reader import Span, read
from service.kafka.journal.tail import stamp_of

KEPT_MS = 3_600_000
"""What was made so much earlier is kept as well: the next pass may ask for it, and need not begin anew."""
Report = Callable[[int, str], None]
"""Told of each record, and of each pass, that could not be read: the partition, and why in words."""


class JournalScanner:
    """Access to the whole journal topic.

    `watermarks` sees uncommitted records too: it tells where a partition really ends.
    """

    def __init__(
        self,
        cluster: ClusterConfig,
        topic: str,
        watermarks: ReconnectingReader,
        fetch_max_wait_ms: int,
        rules: Rules,
        report: Report,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._watermarks = watermarks
        self._fetch_max_wait_ms = fetch_max_wait_ms
        self._rules = rules
        self._report = report
        self._scans: dict[int, PartitionScan] = {}

    async def scan(self, since_ms: float, now_ms: float) -> Sequence[PartitionScan]:
        """What each partition says of tasks that were made at or after `since_ms`, by the vendor's clock.

        `now_ms` is what that clock says now, at the least.
        One that cannot be read to its end says so. Raises `ClusterError` when none can be read. One caller at
        a time; what it gets goes on with the next call.
        """
        numbers = await self._watermarks.partitions_of(self._topic)
        # What is not committed is no intent: nobody has posted for it.
        async with reader(self._cluster, self._fetch_max_wait_ms, "read_committed") as consumer:
            partitions = [TopicPartition(self._topic, number) for number in numbers]
            with translated():
                consumer.assign(partitions)
                consumer.pause(*partitions)
            for partition in partitions:
                await self._catch_up(consumer, partition, since_ms - KEPT_MS, now_ms)
        return [self._scans[number] for number in numbers]

    async def _catch_up(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, since_ms: float, now_ms: float
    ) -> None:
        number = partition.partition
        scan = self._scans.setdefault(number, PartitionScan(number, self._rules, since_ms))
        scan.is_behind = True
        try:
            begin = await self._watermarks.begin_offset(partition)
            end = await self._watermarks.end_offset(partition)
            scan = self._scans[number] = self._resumed(scan, begin, end, since_ms)
            await self._fold(consumer, partition, end, scan)
            scan.complete(now_ms)
        except ServiceError as error:
            self._report(number, str(error))

    def _resumed(self, scan: PartitionScan, begin: int, end: int, since_ms: float) -> PartitionScan:
        """The survey as far as it came; from the beginning where that does not hold, or tells too little.

        What was there before the position may be gone, with the tombstones that would say so; and a journal
        that ends before it has been made anew.
        """
        if since_ms < scan.since_ms or not begin <= scan.position <= end:
            return PartitionScan(scan.partition, self._rules, since_ms, begin)
        scan.forget_before(since_ms)
        return scan

    async def _fold(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, end: int, scan: PartitionScan
    ) -> None:
        def take(record: ConsumerRecord) -> None:
            # Half a character in a key is no key of ours.
            key = (record.key or b"").decode(errors="replace")
            timestamp_ms = record.timestamp if record.timestamp > 0 else None
            is_readable = scan.add(
                record.offset,
                key,
                record.value,
                stamp_of(record),
                timestamp_ms,
                is_brokers_time=is_brokers_time(record),
            )
            if not is_readable:
                self._report(partition.partition, f"the record at offset {record.offset} cannot be read")

        with translated():
            consumer.resume(partition)
        try:
            while scan.position < end:
                unreadable = await read(consumer, Span(partition, scan.position, end), take)
                if unreadable is None:
                    # Behind the last record there may be a transaction's marker.
                    scan.position = end
                else:
                    scan.skip(unreadable)
                    self._report(partition.partition, f"the record at offset {unreadable} is damaged")
        finally:
            with translated():
                consumer.pause(partition)
