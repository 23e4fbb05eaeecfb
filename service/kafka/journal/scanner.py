"""Scans all journal partitions, other members' too, for the task ids in them; it writes nothing.

Each partition is read from where the last pass ended. One that cannot be read does not stop the others.
"""

from collections.abc import Callable, Sequence

from service.core.job.transition_context import Rules
from service.core.reconciliation.journal_scan import PartitionScan
from service.errors import ServiceError
from service.kafka.client.clients import ConsumerRecord, KafkaConsumer, TopicPartition
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.consumer_records import is_brokers_time
from service.kafka.client.error_translation import translated
from service.kafka.client.reader import ReconnectingReader
from service.kafka.client.span_reader import OffsetRange, read
from service.kafka.journal.tail import stamp_of

KEPT_MS = 3_600_000
"""Entries this much older are kept too: the next pass may need them and then does not start over."""
Report = Callable[[int, str], None]
"""Called for each record and each pass that could not be read, with the partition and the reason."""


class JournalScanner:
    """Read access to the whole journal topic.

    `watermarks` sees uncommitted records, so it knows the real end of a partition.
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
        """What each partition says of tasks made at or after `since_ms`, by the vendor's clock.

        `now_ms` is a lower bound of that clock. A partition that cannot be read to its end is marked as
        behind. Raises `ClusterError` if none can be read. One caller at a time; the next call continues the
        scans that this one returned.
        """
        numbers = await self._watermarks.partitions_of(self._topic)
        # An uncommitted intent has no POST, so committed records are enough.
        async with reader(self._cluster, self._fetch_max_wait_ms, "read_committed") as consumer:
            partitions = [TopicPartition(self._topic, number) for number in numbers]
            with translated():
                consumer.assign(partitions)
                consumer.pause(*partitions)
            for partition in partitions:
                await self._catch_up(consumer, partition, since_ms - KEPT_MS, now_ms)
        return [self._scans[number] for number in numbers]

    async def _catch_up(
        self, consumer: KafkaConsumer, partition: TopicPartition, since_ms: float, now_ms: float
    ) -> None:
        number = partition.partition
        scan = self._scans.setdefault(number, PartitionScan(number, self._rules, since_ms))
        scan.is_behind = True
        try:
            begin = await self._watermarks.begin_offset(partition)
            end = await self._watermarks.end_offset(partition)
            scan = self._scans[number] = self._resumed(scan, begin, end, since_ms)
            await self._scan_to_end(consumer, partition, end, scan)
            scan.complete(now_ms)
        except ServiceError as error:
            self._report(number, str(error))

    def _resumed(self, scan: PartitionScan, begin: int, end: int, since_ms: float) -> PartitionScan:
        """The scan so far; a new one if it does not fit the partition or starts too late.

        If the partition now begins after the position, tombstones of known entries may be missing. If it ends
        before the position, the journal was recreated.
        """
        if since_ms < scan.since_ms or not begin <= scan.position <= end:
            return PartitionScan(scan.partition, self._rules, since_ms, begin)
        scan.forget_before(since_ms)
        return scan

    async def _scan_to_end(
        self, consumer: KafkaConsumer, partition: TopicPartition, end: int, scan: PartitionScan
    ) -> None:
        def take(record: ConsumerRecord) -> None:
            # A key that is not UTF-8 is not ours.
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
                unreadable = await read(consumer, OffsetRange(partition, scan.position, end), take)
                if unreadable is None:
                    # A transaction marker may follow the last record.
                    scan.position = end
                else:
                    scan.skip(unreadable)
                    self._report(partition.partition, f"the record at offset {unreadable} is damaged")
        finally:
            with translated():
                consumer.pause(partition)
