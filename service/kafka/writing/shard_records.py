"""One shard's journal records and outcomes, with topic, partition and stamp."""

from collections.abc import Iterable, Sequence

from service.core.journal.entries import OwnerEntry, encode_cursor, encode_owner
from service.core.journal.stamp import STAMP_HEADER, Stamp, cursor_key, owner_key
from service.core.outcome.build import Outcome
from service.core.shard.batches import Batch, JournalRecord
from service.frozen import dataclass
from service.kafka.admin.topics import Topics
from service.kafka.writing.producer_record import ProducerRecord

RELEASE = 2**31
"""The batch number of a claim marked as released: its owner makes no calls. No batch gets there."""


@dataclass(frozen=True, slots=True)
class ShardRecords:
    """The records of one owner of one shard."""

    topics: Topics
    partition: int
    epoch: int
    member: str

    def outcome(self, outcome: Outcome) -> ProducerRecord:
        """A result or a failure; its key decides the partition."""
        topic = self.topics.results if outcome.is_result else self.topics.failures
        return ProducerRecord(topic, outcome.key.encode(), outcome.value, None, outcome.headers)

    def announcing(self, batch: Batch) -> list[ProducerRecord]:
        """The records that announce the batch's outcomes."""
        return self._stamped(batch.announcing, batch)

    def records(self, batch: Batch) -> list[ProducerRecord]:
        """The batch's journal records, in their order, then the day's spending."""
        spend = () if batch.spend is None else (batch.spend,)
        return self._stamped((*batch.records, *spend), batch)

    def retracting(self, batch: Batch) -> list[ProducerRecord]:
        """The records that remove announcements, written after the others."""
        return self._stamped(batch.retracting, batch)

    def cursor(self, batch: Batch) -> Sequence[ProducerRecord]:
        """The cursor, if the batch moves it."""
        if batch.cursor is None:
            return ()
        return self._stamped((JournalRecord(cursor_key(self.epoch), encode_cursor(batch.cursor)),), batch)

    def claim(self, number: int = 0) -> ProducerRecord:
        """The claim; writing it again proves ownership.

        With number `RELEASE` it is marked as released.
        """
        owner = encode_owner(OwnerEntry(self.epoch, self.member, released=number == RELEASE))
        stamp = Stamp(self.epoch, number)
        return journal_record(self.topics.journal, self.partition, owner_key(self.epoch), owner, stamp)

    def _stamped(self, records: Iterable[JournalRecord], batch: Batch) -> list[ProducerRecord]:
        stamp = Stamp(self.epoch, batch.number)
        journal, partition = self.topics.journal, self.partition
        return [journal_record(journal, partition, each.key, each.value, stamp) for each in records]


def journal_record(topic: str, partition: int, key: str, value: bytes | None, stamp: Stamp) -> ProducerRecord:
    """One journal record, addressed to the shard's own partition."""
    return ProducerRecord(topic, key.encode(), value, partition, ((STAMP_HEADER, stamp.encode()),))
