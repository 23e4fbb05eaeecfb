"""aiokafka's records as ours."""

from aiokafka import ConsumerRecord

from service.core.job import Position
from service.core.record import Record


def to_record(record: ConsumerRecord) -> Record:
    """The same record in the core's words."""
    position = Position(record.topic, record.partition, record.offset, record.timestamp)
    return Record(position, record.key, record.value, tuple(record.headers))
