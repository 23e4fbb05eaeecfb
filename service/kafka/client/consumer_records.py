"""Convert aiokafka's records to ours.

Rules this module guarantees:

1. A timestamp is None unless the calendar and a deadline can hold it: brokers pass on any 64 bits that a
   producer wrote, and -1 for none.
"""

from service.core.job.identity import Position
from service.core.job.request_record import Record
from service.kafka.client.clients import ConsumerRecord

EARLIEST_MS = 946_684_800_000
"""2000-01-01: no record is older. Times in seconds, or of a clock that was never set, are earlier."""
LATEST_MS = 32_503_680_000_000
"""3000-01-01: times in microseconds or nanoseconds are later."""
LOG_APPEND_TIME = 1
"""Kafka's number for timestamps set by the broker."""


def to_record(record: ConsumerRecord) -> Record:
    """The record as the core's `Record`."""
    position = Position(record.topic, record.partition, record.offset, usable_ms(record.timestamp))
    return Record(position, record.key, record.value, tuple(record.headers))


def usable_ms(timestamp: int | None) -> int | None:
    """The timestamp.

    None if it cannot be the record's time. It is never clamped into bounds.
    """
    if timestamp is None or not EARLIEST_MS <= timestamp < LATEST_MS:
        return None
    return timestamp


def is_brokers_time(record: ConsumerRecord) -> bool:
    """Whether the broker, not the producer, set the timestamp."""
    return bool(record.timestamp_type == LOG_APPEND_TIME)


def damaged_record(topic: str, partition: int, offset: int) -> Record:
    """A placeholder for a record that aiokafka cannot read because a header name is not UTF-8.

    Its bytes and timestamp are unknown, and its real offset is later if there is a gap at `offset`.
    """
    position = Position(topic, partition, offset, None)
    return Record(position, None, None, damage="the name of a header is not UTF-8")
