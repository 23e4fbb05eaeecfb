"""One shard's records, addressed and stamped: its journal's entries and its outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.batch import Batch
from service.core.entry import CURSOR_KEY, OWNER_KEY, STAMP_HEADER, Owner, Stamp, encode_cursor, encode_owner
from service.core.outcomes import Outcome
from service.kafka.outgoing import Outgoing
from service.kafka.topics import Topics


@dataclass(frozen=True, slots=True)
class Addressed:
    """The records of one owner of one shard."""

    topics: Topics
    partition: int
    epoch: int
    member: str

    def outcome(self, outcome: Outcome) -> Outgoing:
        """A result or a failure; its key decides the partition."""
        topic = self.topics.results if outcome.is_result else self.topics.failures
        return Outgoing(topic, outcome.key.encode(), outcome.value, None, outcome.headers)

    def finishing(self, batch: Batch) -> list[Outgoing]:
        """The entries that announce the batch's outcomes."""
        moves = batch.moves
        return [self._entry(each.key, each.finishing, batch) for each in moves if each.key and each.finishing]

    def entries(self, batch: Batch) -> list[Outgoing]:
        """The jobs' entries, in the order of the moves."""
        return [self._entry(move.key, move.entry, batch) for move in batch.moves if move.key]

    def cursor(self, batch: Batch) -> Sequence[Outgoing]:
        """The cursor, if the batch moves it."""
        return [self._entry(CURSOR_KEY, encode_cursor(batch.cursor), batch)] if batch.cursor else []

    def claim(self, number: int = 0) -> Outgoing:
        """The claim itself; written again, it is a sign of life."""
        owner = encode_owner(Owner(self.epoch, self.member))
        return journal_record(
            self.topics.journal, self.partition, OWNER_KEY, owner, Stamp(self.epoch, number)
        )

    def _entry(self, key: str, value: bytes | None, batch: Batch) -> Outgoing:
        stamp = Stamp(self.epoch, batch.number)
        return journal_record(self.topics.journal, self.partition, key, value, stamp)


def journal_record(topic: str, partition: int, key: str, value: bytes | None, stamp: Stamp) -> Outgoing:
    """One journal record, addressed to the shard's own partition."""
    return Outgoing(topic, key.encode(), value, partition, ((STAMP_HEADER, stamp.encode()),))
