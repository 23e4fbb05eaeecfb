"""aiokafka's records as ours.

Rules this module guarantees:

1. A timestamp is one that the calendar and a deadline can hold, or None: brokers pass on whatever 64 bits a
   producer wrote, and -1 for none.
"""

from aiokafka import ConsumerRecord

from service.core.job.identity import Position
from service.core.job.request_record import Record

EARLIEST_MS = 946_684_800_000
"""2000-01-01: no record is older. A time in seconds, or of a clock that was never set, lies before."""
LATEST_MS = 32_503_680_000_000
"""3000-01-01: a time in microseconds or nanoseconds lies behind."""
LOG_APPEND_TIME = 1
"""Kafka's number for timestamps that the broker made."""


def to_record(record: ConsumerRecord) -> Record:
    """The same record in the core's words."""
    position = Position(record.topic, record.partition, record.offset, usable_ms(record.timestamp))
    return Record(position, record.key, record.value, tuple(record.headers))


def usable_ms(timestamp: int | None) -> int | None:
    """The timestamp, None where it says nothing of when the record was made; never bent into bounds."""
    if timestamp is None or not EARLIEST_MS <= timestamp < LATEST_MS:
        return None
    return timestamp


def is_brokers_time(record: ConsumerRecord) -> bool:
    """Whether the broker stamped the record, and not its producer."""
    return bool(record.timestamp_type == LOG_APPEND_TIME)


def damaged_record(topic: str, partition: int, offset: int) -> Record:
    """What can be said of a record that aiokafka cannot read, a header's name not being UTF-8.

    Its bytes and its timestamp cannot be had, nor its offset for sure: behind a gap it is a later one.
    """
    position = Position(topic, partition, offset, None)
    return Record(position, None, None, damage="the name of a header is not UTF-8")
