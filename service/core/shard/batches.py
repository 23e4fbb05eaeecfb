"""What a decision comes to: groups of records for the journal, and the batches that carry them to the broker.

Rules this module guarantees:

1. A group stands or falls together; batches are cut and divided between groups only, and keep their order.
2. A batch is bounded in bytes and in records; one group that is larger by itself is a batch of its own.
3. The cursor of a batch is that of its last group that has one, and so is the day's spending.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from service.core.job.events import Step
from service.core.job.identity import JobRef
from service.core.job.request_record import Cursor
from service.core.job.uncertainty import UncertainOutcome
from service.core.outcome.build import Outcome
from service.core.outcome.shrink import shrink

MAX_BATCH_BYTES = 1024 * 1024
MAX_BATCH_RECORDS = 1_000
MIN_BATCH_BYTES = 64 * 1024
"""A batch whose end is unknown is halved down to this."""
RECORD_OVERHEAD_BYTES = 80
"""What the stamp, the key's length and the frame add to a record."""


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record of the journal, encoded; None is a tombstone."""

    key: str
    value: bytes | None

    @property
    def size_bytes(self) -> int:
        """About what it takes in a batch."""
        return len(self.key) + len(self.value or b"") + RECORD_OVERHEAD_BYTES


@dataclass(frozen=True)
class Group:
    """Records that stand or fall together, and what follows once they are durable.

    `announcing` are the records of endings that a writer without transactions writes before the outcomes.
    `ended` are jobs whose outcome is in here. `cursor` is what this group's durability permits; `spend` is
    the day's spending as of this group.
    """

    records: tuple[JournalRecord, ...] = ()
    announcing: tuple[JournalRecord, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    steps: tuple[Step, ...] = ()
    ended: tuple[JobRef, ...] = ()
    cursor: Cursor | None = None
    spend: JournalRecord | None = None

    @property
    def retracting(self) -> tuple[JournalRecord, ...]:
        """Tombstones for the jobs' announcing records that no record of the group replaces."""
        replaced = {record.key for record in self.records}
        left = (each.key for each in self.announcing if each.key not in replaced)
        return tuple(JournalRecord(key, None) for key in left if key.startswith("j/"))

    @cached_property
    def size_bytes(self) -> int:
        """About what it takes in a batch, outcomes included."""
        journal = sum(record.size_bytes for record in (*self.records, *self.announcing))
        return journal + sum(len(outcome.value) + RECORD_OVERHEAD_BYTES for outcome in self.outcomes)

    @property
    def record_count(self) -> int:
        """How many records it takes in a batch."""
        return len(self.records) + len(self.announcing) + len(self.outcomes)


@dataclass(frozen=True, slots=True)
class Change:
    """What an event came to: groups for the next batches, steps for now, words on uncertain submissions."""

    groups: tuple[Group, ...] = ()
    steps: tuple[Step, ...] = ()
    uncertain_outcomes: tuple[UncertainOutcome, ...] = ()


def together(changes: Iterable[Change]) -> Change:
    """All of them, in their order."""
    every = tuple(changes)
    return Change(
        tuple(group for change in every for group in change.groups),
        tuple(step for change in every for step in change.steps),
        tuple(uncertain_outcome for change in every for uncertain_outcome in change.uncertain_outcomes),
    )


@dataclass(frozen=True)
class Batch:
    """Groups in their order: what goes to the broker in one piece."""

    number: int
    groups: tuple[Group, ...]

    @property
    def records(self) -> tuple[JournalRecord, ...]:
        """The journal's records, but for those that announce, the cursor and the spending."""
        return tuple(record for group in self.groups for record in group.records)

    @property
    def announcing(self) -> tuple[JournalRecord, ...]:
        """The records that announce the outcomes."""
        return tuple(record for group in self.groups for record in group.announcing)

    @property
    def retracting(self) -> tuple[JournalRecord, ...]:
        """What a writer that wrote `announcing` writes behind `records`: those nothing else replaces go."""
        return tuple(record for group in self.groups for record in group.retracting)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes."""
        return tuple(outcome for group in self.groups for outcome in group.outcomes)

    @property
    def cursor(self) -> Cursor | None:
        """The cursor that is durable with the batch, where it moves."""
        return next((group.cursor for group in reversed(self.groups) if group.cursor is not None), None)

    @property
    def spend(self) -> JournalRecord | None:
        """The day's spending as of its last group that changes it."""
        return next((group.spend for group in reversed(self.groups) if group.spend is not None), None)

    @cached_property
    def size_bytes(self) -> int:
        """About what it takes."""
        return sum(group.size_bytes for group in self.groups)


def halves(batch: Batch, least_bytes: int = 0) -> tuple[Batch, Batch] | None:
    """The batch in two pieces, cut between groups; None where it is one group, or no larger than that."""
    if len(batch.groups) < 2 or batch.size_bytes <= least_bytes:
        return None
    middle = len(batch.groups) // 2
    return Batch(batch.number, batch.groups[:middle]), Batch(batch.number, batch.groups[middle:])


def shrink_batch(batch: Batch) -> Batch | None:
    """A batch of one group with a smaller form of its outcome; None where there is none."""
    [group] = batch.groups
    form = next((shrink(outcome) for outcome in group.outcomes), None)
    return Batch(batch.number, (replace(group, outcomes=(form,)),)) if form else None


@dataclass(slots=True)
class Pending:
    """Groups that wait for a batch, in their order; their bytes are counted."""

    groups: deque[Group] = field(default_factory=deque)
    size_bytes: int = 0

    def __len__(self) -> int:
        return len(self.groups)

    def add(self, groups: Iterable[Group]) -> None:
        """Queue groups."""
        for group in groups:
            self.groups.append(group)
            self.size_bytes += group.size_bytes

    def take(self, number: int) -> Batch:
        """The next batch, within its bounds; at least one group, where there is one."""
        taken: list[Group] = []
        room_bytes, room = MAX_BATCH_BYTES, MAX_BATCH_RECORDS
        while self.groups:
            group = self.groups[0]
            if taken and (group.size_bytes > room_bytes or group.record_count > room):
                break
            taken.append(self.groups.popleft())
            self.size_bytes -= group.size_bytes
            room_bytes -= group.size_bytes
            room -= group.record_count
        return Batch(number, tuple(taken))


@dataclass(frozen=True, slots=True)
class Committed:
    """All of it is durable. `journal_offset` is its last journal record's (-1: there was none)."""

    journal_offset: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say yet. The same batch, appended again, is written once, or again with the same ids."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The shard is another's: nothing of it is durable, and nothing of this owner will be any more."""

    reason: str


Appended = Committed | Unknown | Refused
