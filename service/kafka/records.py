"""aiokafka's records as ours."""

from aiokafka import ConsumerRecord

from service.core.identity import Position
from service.core.record import Record


def to_record(record: ConsumerRecord) -> Record:
    """The same record in the core's words."""
    position = Position(record.topic, record.partition, record.offset, record.timestamp)
    return Record(position, record.key, record.value, tuple(record.headers))


def damaged_record(topic: str, partition: int, offset: int, now_ms: int) -> Record:
    """What can be said of a record that aiokafka cannot read, a header's name not being UTF-8.

    Its bytes and its timestamp cannot be had, nor its offset for sure: behind a gap it is a later one.
    """
    position = Position(topic, partition, offset, now_ms)
    return Record(position, None, None, damage="the name of a header is not UTF-8")
