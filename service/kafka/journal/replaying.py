"""Adds a journal's Kafka records to what is replayed of it; one rule for owners and for operators."""

from service.core.journal.replay import Restore
from service.kafka.client.clients import ConsumerRecord
from service.kafka.client.consumer_records import is_brokers_time, usable_ms
from service.kafka.journal.tail import stamp_of


def replay_record(restore: Restore, record: ConsumerRecord) -> None:
    """Add the next record; raises `RestoreError` for a foreign one."""
    # A key that is not UTF-8 is not ours, and `add` rejects it.
    key = (record.key or b"").decode(errors="replace")
    restore.add(record.offset, key, record.value, stamp_of(record))
    restore.note_time(usable_ms(record.timestamp) or 0, is_brokers=is_brokers_time(record))
