"""A journal partition of the simulation, and what its whole history means.

What counts is decided here a second time, by an engine's `Reader` and nothing else of it, so that the two can
be compared.
"""

from dataclasses import dataclass, field

from tests.unit.core.simulation.port import Lies, Reader, Said, Word, Written

LAG_MS = 5_000
"""Stands for min.compaction.lag.ms: what counts is that it is longer than an intent is worth a POST. Else
a claim could be compacted away between an intent and the look at what lies before it."""
IntentName = tuple[str, int, str]
"""A job, the epoch of the record's writer, and the name of the intent."""


@dataclass(slots=True)
class JournalModel:
    """A compacted partition, and what its whole history means."""

    reader: Reader
    tasks: set[str]
    """Provider tasks that a record that counts names, in whichever partition."""
    log: list[Lies] = field(default_factory=list)
    history: list[Lies] = field(default_factory=list)
    """The same without compaction."""
    end: int = 0
    claims: list[Lies] = field(default_factory=list)
    highest: int = 0
    words: dict[str, Word] = field(default_factory=dict)
    """What the last record that counts says of each job."""
    intents: dict[IntentName, tuple[int, int]] = field(default_factory=dict)
    """Offset and time of the first record of each intent."""
    sealed: dict[str, int] = field(default_factory=dict)
    """When the last intent of a job was written."""
    announced: dict[tuple[str, int], bool] = field(default_factory=dict)
    """Job and epoch of each announcement, and whether it counts."""
    announced_at: dict[str, int] = field(default_factory=dict)
    """When a job's ending was announced first, by a record that counts."""
    done: dict[str, tuple[int, object]] = field(default_factory=dict)
    """Epoch and batch of the first marker that counts of each finished job."""
    let_go: list[tuple[str, int]] = field(default_factory=list)
    """(job, time) of each uncertain job that is to be submitted again."""

    def append(self, record: Written, now_ms: int) -> int:
        """Take a record; returns its offset."""
        epoch = self.reader.epoch(record)
        entry = Lies(self.end, record.key.decode(), record.value, record.headers, now_ms, epoch)
        self.log.append(entry)
        self.history.append(entry)
        self.end += 1
        counts = epoch >= self.highest
        if counts:
            self.highest = epoch
            self.tasks |= self.reader.tasks(record)
            if self.reader.is_claim(record):
                self.claims.append(entry)
        batch = self.reader.batch(record)
        for said in self.reader.said(record):
            self._note(said, entry, counts)
            if counts:
                self._take(said, entry, batch)
        return entry.offset

    def _take(self, said: Said, entry: Lies, batch: object) -> None:
        before = self.words.get(said.job)
        self.words[said.job] = said.word
        if said.word is Word.FORGOTTEN:
            self.done.pop(said.job, None)
            self.announced_at.pop(said.job, None)
        elif said.word is Word.DONE:
            self.done.setdefault(said.job, (entry.epoch, batch))
            return
        if before is Word.UNCERTAIN and said.word is Word.AGAIN:
            self.let_go.append((said.job, entry.at_ms))
        if said.job in self.done and self.done[said.job][1] == batch:
            # The same batch once more, because nobody acknowledged it: its outcome goes out again too.
            del self.done[said.job]

    def _note(self, said: Said, entry: Lies, counts: bool) -> None:
        if said.word is Word.INTENT:
            self.intents.setdefault((said.job, entry.epoch, said.intent), (entry.offset, entry.at_ms))
            if counts:
                self.sealed[said.job] = entry.at_ms
        elif said.word is Word.ANNOUNCED:
            announced = (said.job, entry.epoch)
            self.announced[announced] = self.announced.get(announced, False) or counts
            if counts:
                self.announced_at.setdefault(said.job, entry.at_ms)

    def has_intent(self, job: str, epoch: int, intent: str) -> bool:
        """Whether the intent is durable and lies before every higher claim."""
        offset, _ = self.intents.get((job, epoch, intent), (None, 0))
        return offset is not None and not any(
            claim.epoch > epoch and claim.offset < offset for claim in self.claims
        )

    def intents_of(self, job: str) -> int:
        """How many times it was about to be submitted."""
        return sum(of == job for of, _, _ in self.intents)

    def is_forgotten(self, job: str) -> bool:
        """Whether the job has left the window for good."""
        return self.words.get(job) is Word.FORGOTTEN

    def may_compact_to(self, now_ms: int) -> int:
        """The first offset that the lag keeps from compaction."""
        return next((entry.offset for entry in self.log if entry.at_ms > now_ms - LAG_MS), self.end)

    def compact(self, boundary: int, *, only: str = "", drop_tombstones: bool) -> None:
        """Compact keys that begin so, up to an offset; tombstones in there may go altogether."""
        last = {entry.key: entry.offset for entry in self.log if entry.offset < boundary}
        self.log = [
            entry
            for entry in self.log
            if entry.offset >= boundary
            or not entry.key.startswith(only)
            or (last[entry.key] == entry.offset and not (entry.value is None and drop_tombstones))
        ]
