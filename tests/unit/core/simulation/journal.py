"""The journal partition and the outcome topics of the simulation, with rules of their own.

Nothing here uses `core.restore` or `core.entry`: what counts is decided a second time, so that the two can
be compared.
"""

from dataclasses import dataclass, field

from service.kafka.outgoing import Outgoing
from tests.unit.core.simulation.records import OWNER, Word, said, tasks_in

STAMP = "scribe-stamp"
LAG_MS = 5_000
"""Stands for min.compaction.lag.ms: what counts is that it is longer than an intent is worth a POST. Else
a claim could be compacted away between an intent and the look at what lies before it."""


class Violation(AssertionError):
    """A rule that must hold did not; the message begins with its number or name."""


def check(holds: bool, rule: str) -> None:
    """Raise `Violation` unless `holds`."""
    if not holds:
        raise Violation(rule)


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record as it lies in the partition."""

    offset: int
    key: str
    value: bytes | None
    stamp: bytes
    at_ms: int

    @property
    def epoch(self) -> int:
        """The epoch of its writer."""
        return int(self.stamp.split(b".")[1])


@dataclass(slots=True)
class JournalModel:
    """A compacted partition, and what its whole history means."""

    log: list[JournalRecord] = field(default_factory=list)
    end: int = 0
    claims: list[JournalRecord] = field(default_factory=list)
    effective: dict[str, bytes] = field(default_factory=dict)
    """The last entry of each key that is no stranger's."""
    ever: set[str] = field(default_factory=set)
    """Keys that once had an entry that counts."""
    intents: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """(key, epoch, attempt) of each SUBMITTING entry and its offset."""
    intended_ms: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """The same, and when it was written."""
    announced: dict[tuple[str, int], bool] = field(default_factory=dict)
    """(key, epoch) of each FINISHING entry, and whether it counts."""
    done: dict[str, JournalRecord] = field(default_factory=dict)
    """The first marker that counts of each finished job."""
    tasks: set[str] = field(default_factory=set)
    """Provider tasks that a record that counts names."""
    highest: int = 0
    let_go: list[tuple[str, int]] = field(default_factory=list)
    """(key, time) of each uncertain job that is to be submitted again."""

    def append(self, record: Outgoing, now_ms: int) -> int:
        """Take a record; returns its offset."""
        stamp = dict(record.headers)[STAMP]
        entry = JournalRecord(self.end, record.key.decode(), record.value, stamp, now_ms)
        self.log.append(entry)
        self.end += 1
        counts = entry.epoch >= self.highest
        if counts:
            self._take(entry)
        self._note(entry, counts)
        return entry.offset

    def _take(self, entry: JournalRecord) -> None:
        self.highest = entry.epoch
        self.ever.add(entry.key)
        if entry.key == OWNER:
            self.claims.append(entry)
        if entry.value is None:
            self.effective.pop(entry.key, None)
            self.done.pop(entry.key, None)
        else:
            before = self.effective.get(entry.key)
            doubted = {each.job for each in said(entry.key, before) if each.word is Word.UNCERTAIN}
            again = {each.job for each in said(entry.key, entry.value) if each.word is Word.AGAIN}
            self.let_go += [(job, entry.at_ms) for job in sorted(doubted & again)]
            self.effective[entry.key] = entry.value
            self.tasks |= tasks_in(entry.value)
            self._note_done(entry)

    def _note_done(self, entry: JournalRecord) -> None:
        for each in said(entry.key, entry.value):
            if each.word is Word.DONE:
                self.done.setdefault(each.job, entry)
            elif each.job in self.done and self.done[each.job].stamp == entry.stamp:
                # The same batch once more, because nobody acknowledged it: its outcome goes out again too.
                del self.done[each.job]

    def _note(self, entry: JournalRecord, counts: bool) -> None:
        for each in said(entry.key, entry.value):
            if each.word is Word.INTENT:
                attempt = (each.job, entry.epoch, each.attempt)
                self.intents.setdefault(attempt, entry.offset)
                self.intended_ms.setdefault(attempt, entry.at_ms)
            elif each.word is Word.ANNOUNCED:
                announced = (each.job, entry.epoch)
                self.announced[announced] = self.announced.get(announced, False) or counts

    def has_intent(self, key: str, epoch: int, attempt: int) -> bool:
        """Whether the intent is durable and lies before every higher claim."""
        offset = self.intents.get((key, epoch, attempt))
        return offset is not None and not any(
            claim.epoch > epoch and claim.offset < offset for claim in self.claims
        )

    def may_compact_to(self, now_ms: int) -> int:
        """The first offset that the lag keeps from compaction."""
        return next((entry.offset for entry in self.log if entry.at_ms > now_ms - LAG_MS), self.end)

    def compact(self, border: int, *, drop_tombstones: bool) -> None:
        """Compact up to an offset; tombstones in there may go altogether."""
        last = {entry.key: entry.offset for entry in self.log if entry.offset < border}
        self.log = [
            entry
            for entry in self.log
            if entry.offset >= border
            or (last[entry.key] == entry.offset and not (entry.value is None and drop_tombstones))
        ]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One outcome record as a consumer sees it. `fenced` is false for one that only a stale owner decided."""

    id: str
    is_result: bool
    body: dict[str, object]
    fenced: bool
    at_ms: int

    @property
    def kind(self) -> str:
        """What it says: a result, or why there is none."""
        return self.code or "result"

    @property
    def summary(self) -> dict[str, int] | None:
        """Its `request_summary`."""
        found = self.body["request_summary"]
        return found if isinstance(found, dict) else None

    @property
    def code(self) -> str | None:
        """A failure's code."""
        return None if self.is_result else str(self.body["code"])

    @property
    def billed_seconds(self) -> int:
        """What a result says that its file cost; failures do not say."""
        usage = self.body.get("usage")
        return int(usage["billed_seconds"] or 0) if isinstance(usage, dict) else 0
