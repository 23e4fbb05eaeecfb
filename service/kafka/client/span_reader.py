"""Reads a span of a partition from start to end, in slices that let the event loop run."""

import asyncio
from collections.abc import Callable

from service.errors import RestoreError, UnreadableRecord
from service.frozen import dataclass
from service.kafka.client.clients import ConsumerRecord, KafkaConsumer, TopicPartition
from service.kafka.client.error_translation import translated

READ_BOUND_SECONDS = 30.0
"""How long a read may go without a new record before it gives up."""
POLL_MS = 10
"""After a transaction marker, which is not a record, a poll waits this long in vain."""
SLICE_RECORDS = 50
"""Records handled in one turn of the event loop: three milliseconds, or ten if the table of all entries has
to grow meanwhile."""


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The offsets [begin, end) of a partition."""

    partition: TopicPartition
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.partition.topic}, partition {self.partition.partition}"


async def read(
    reader: KafkaConsumer, span: OffsetRange, take: Callable[[ConsumerRecord], None]
) -> int | None:
    """Pass every record of the span to `take`, in order.

    The partition must be assigned and not paused.

    Returns None at the end of the span. Stops before a record that aiokafka cannot read (a header name that
    is not UTF-8) and returns the lowest offset it can have. Raises `RestoreError` if nothing new arrives in
    time, and `ClusterError`.
    """
    with translated():
        reader.seek(span.partition, span.begin)
    at_once = SLICE_RECORDS
    while True:
        try:
            records = await _next(reader, span, at_once)
        except UnreadableRecord:
            if at_once == 1:
                return await _position(reader, span.partition)
            # Read the failed slice again, one record at a time, up to the record that fails.
            at_once = 1
            continue
        if not records:
            return None
        for record in records:
            if record.offset < span.end:
                take(record)
        await asyncio.sleep(0)


async def _next(reader: KafkaConsumer, span: OffsetRange, at_once: int) -> list[ConsumerRecord]:
    """The next records, within the bound; empty once the position has passed the end."""
    try:
        async with asyncio.timeout(READ_BOUND_SECONDS):
            records: list[ConsumerRecord] = []
            while not records and await _position(reader, span.partition) < span.end:
                records = await _fetched(reader, span.partition, at_once)
            return records
    except TimeoutError:
        raise RestoreError(
            f"{span} delivers nothing before offset {span.end}; if another application has a transaction "
            "open there, "
            "`kafka-transactions.sh find-hanging` names it"
        ) from None


async def _position(reader: KafkaConsumer, partition: TopicPartition) -> int:
    with translated():
        return int(await reader.position(partition))


async def _fetched(reader: KafkaConsumer, partition: TopicPartition, at_once: int) -> list[ConsumerRecord]:
    with translated():
        batches = await reader.getmany(partition, timeout_ms=POLL_MS, max_records=at_once)
    found: list[ConsumerRecord] = batches.get(partition, [])
    return found
