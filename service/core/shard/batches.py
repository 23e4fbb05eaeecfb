"""The result of a decision: groups of records for the journal, and the batches that carry them to the broker.

Rules this module guarantees:

1. A group is written whole or not at all; batches are cut and divided only between groups, in order.
2. A batch is bounded in bytes and in records; a group that exceeds the bounds is a batch of its own.
3. A batch takes its cursor from the last group that has one, and likewise the day's spending.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import field, replace
from functools import cached_property

from service.core.job.events import Step
from service.core.job.identity import JobRef
from service.core.job.request_record import Cursor
from service.core.job.uncertainty import UncertainOutcome
from service.core.outcome.build import Outcome
from service.core.outcome.shrink import shrink
from service.frozen import dataclass

MAX_BATCH_BYTES = 1024 * 1024
MAX_BATCH_RECORDS = 1_000
"""Bounds of a batch: what waits behind it waits for its commit, and building it occupies the event loop."""
MIN_BATCH_BYTES = 64 * 1024
"""A batch whose fate is unknown is halved down to this size."""
RECORD_OVERHEAD_BYTES = 80
"""Bytes that the stamp, the key's length and the frame add to a record."""


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One encoded journal record; the value None is a tombstone."""

    key: str
    value: bytes | None

    @property
    def size_bytes(self) -> int:
        """Approximate size in a batch."""
        return len(self.key) + len(self.value or b"") + RECORD_OVERHEAD_BYTES


@dataclass(frozen=True)
class Group:
    """Records that are written together, and what follows once they are durable."""

    records: tuple[JournalRecord, ...] = ()
    """Journal records, tombstones included."""
    announcing: tuple[JournalRecord, ...] = ()
    """Records of endings that a writer without transactions writes before the outcomes."""
    outcomes: tuple[Outcome, ...] = ()
    """Results and failures to publish."""
    steps: tuple[Step, ...] = ()
    """What the stages carry out once the group is durable."""
    ended: tuple[JobRef, ...] = ()
    """The jobs whose outcomes the group holds."""
    cursor: Cursor | None = None
    """The cursor that may be written with the group."""
    spend: JournalRecord | None = None
    """The day's spending as of the group."""

    @property
    def retracting(self) -> tuple[JournalRecord, ...]:
        """Tombstones for the announcing records of jobs that no other record of the group replaces."""
        replaced = {record.key for record in self.records}
        left = (each.key for each in self.announcing if each.key not in replaced)
        return tuple(JournalRecord(key, None) for key in left if key.startswith("j/"))

    @cached_property
    def size_bytes(self) -> int:
        """Approximate size in a batch, outcomes included."""
        journal = sum(record.size_bytes for record in (*self.records, *self.announcing))
        return journal + sum(len(outcome.value) + RECORD_OVERHEAD_BYTES for outcome in self.outcomes)

    @property
    def record_count(self) -> int:
        """Number of records in a batch."""
        return len(self.records) + len(self.announcing) + len(self.outcomes)


@dataclass(frozen=True, slots=True)
class Change:
    """The result of an event: groups for the next batches, steps for now, counts of uncertain outcomes."""

    groups: tuple[Group, ...] = ()
    steps: tuple[Step, ...] = ()
    uncertain_outcomes: tuple[UncertainOutcome, ...] = ()


def together(changes: Iterable[Change]) -> Change:
    """Concatenate the changes in order; keeps none of them, since a restore makes one for each submission."""
    groups: list[Group] = []
    steps: list[Step] = []
    uncertain_outcomes: list[UncertainOutcome] = []
    for change in changes:
        groups += change.groups
        steps += change.steps
        uncertain_outcomes += change.uncertain_outcomes
    return Change(tuple(groups), tuple(steps), tuple(uncertain_outcomes))


@dataclass(frozen=True)
class Batch:
    """Groups in order, sent to the broker as one unit."""

    number: int
    groups: tuple[Group, ...]

    @property
    def records(self) -> tuple[JournalRecord, ...]:
        """The journal records, without the announcing ones, the cursor and the spending."""
        return tuple(record for group in self.groups for record in group.records)

    @property
    def announcing(self) -> tuple[JournalRecord, ...]:
        """The records that announce the outcomes."""
        return tuple(record for group in self.groups for record in group.announcing)

    @property
    def retracting(self) -> tuple[JournalRecord, ...]:
        """Tombstones that a writer of `announcing` writes after `records`, for what nothing else replaces."""
        return tuple(record for group in self.groups for record in group.retracting)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes."""
        return tuple(outcome for group in self.groups for outcome in group.outcomes)

    @property
    def cursor(self) -> Cursor | None:
        """The cursor that becomes durable with the batch; None if it does not move."""
        return next((group.cursor for group in reversed(self.groups) if group.cursor is not None), None)

    @property
    def spend(self) -> JournalRecord | None:
        """The day's spending as of the last group that changes it; None if no group does."""
        return next((group.spend for group in reversed(self.groups) if group.spend is not None), None)

    @cached_property
    def size_bytes(self) -> int:
        """Approximate size."""
        return sum(group.size_bytes for group in self.groups)


def halves(batch: Batch, least_bytes: int = 0) -> tuple[Batch, Batch] | None:
    """Cut the batch in two between groups.

    None if it is one group or no larger than `least_bytes`.
    """
    if len(batch.groups) < 2 or batch.size_bytes <= least_bytes:
        return None
    middle = len(batch.groups) // 2
    return Batch(batch.number, batch.groups[:middle]), Batch(batch.number, batch.groups[middle:])


def shrink_batch(batch: Batch) -> Batch | None:
    """A batch of one group with a smaller form of its outcome.

    None if there is no smaller form.
    """
    [group] = batch.groups
    form = next((shrink(outcome) for outcome in group.outcomes), None)
    return Batch(batch.number, (replace(group, outcomes=(form,)),)) if form else None


@dataclass(slots=True)
class Pending:
    """Groups that wait for a batch, in order, with their total size."""

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
        """Remove the next batch, within the bounds; it holds at least one group if any waits."""
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
    """The whole batch is durable.

    `journal_offset` is that of its last journal record (-1: it has none).
    """

    journal_offset: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """The batch may be durable.

    Appending it again writes it once, or again with the same ids.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class BatchRefused:
    """Another owner has the shard: this one can write no more.

    Nothing of the batch is durable.
    """

    reason: str


Appended = Committed | Unknown | BatchRefused
