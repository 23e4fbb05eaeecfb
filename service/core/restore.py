"""What a journal partition says: entries in, in the order of their offsets, the shard's state out.

Rules this module guarantees:

1. The last entry of a key counts; a null value forgets the key.
2. An entry of a lower epoch behind a higher claim is a stranger's and is ignored (N6); its key is reported,
   so that the owner can write its own state again before compaction drops it.
3. What cannot be read is an error, never skipped: it may be a job that somebody paid for.
"""

from dataclasses import dataclass, field

from service.core.entry import CURSOR_KEY, FORMAT, Entry, Marker, Stamp, decode
from service.core.job import Job, Spec
from service.core.record import Cursor
from service.errors import RestoreError


@dataclass(slots=True)
class Restore:
    """The fold over one journal partition."""

    topic: str
    partition: int
    epoch: int = 0
    """The highest epoch seen so far."""
    entries: dict[str, Job | Marker] = field(default_factory=dict)
    cursor: Cursor | None = None
    overwritten: set[str] = field(default_factory=set)
    """Keys whose last record is a stranger's."""
    _specs: dict[tuple[str, int], Spec] = field(default_factory=dict)

    def add(self, offset: int, key: str, value: bytes | None, stamp: bytes | None) -> None:
        """Take the next record; raises `RestoreError` for one that is not ours."""
        try:
            epoch = Stamp.decode(stamp or b"").epoch
            entry = None if value is None else decode(key, value)
        except (ValueError, KeyError, TypeError) as error:
            raise RestoreError(self._complaint(offset, stamp, error)) from error
        if epoch < self.epoch:
            self.overwritten.add(key)
            return
        self.epoch = epoch
        self.overwritten.discard(key)
        self._keep(key, entry)

    def jobs(self) -> list[Job]:
        """The open jobs."""
        return [entry for entry in self.entries.values() if isinstance(entry, Job)]

    def markers(self) -> list[Marker]:
        """The finished jobs, the oldest first."""
        found = [entry for entry in self.entries.values() if isinstance(entry, Marker)]
        return sorted(found, key=lambda marker: marker.finished_ms)

    def release(self) -> None:
        """Forget all entries, one at a time: a hundred thousand freed at once hold up every other thread."""
        while self.entries:
            self.entries.popitem()

    def _keep(self, key: str, entry: Entry | None) -> None:
        if key == CURSOR_KEY:
            self.cursor = entry if isinstance(entry, Cursor) else None
        elif isinstance(entry, Job):
            self.entries[key] = self._share_spec(entry)
        elif isinstance(entry, Marker):
            self.entries[key] = entry
        elif entry is None:
            self.entries.pop(key, None)

    def _share_spec(self, job: Job) -> Job:
        """Let the jobs of a request share one spec: a hundred files would hold it a hundred times."""
        if job.spec.job_count == 1:
            return job
        spec = self._specs.setdefault(job.key.request, job.spec)
        return job if spec is job.spec or spec != job.spec else job.with_spec(spec)

    def _complaint(self, offset: int, stamp: bytes | None, error: Exception) -> str:
        """A sentence without the error's own words: they may repeat what the record holds."""
        where = f"{self.topic}, partition {self.partition}, offset {offset}"
        version = (stamp or b"").partition(b".")[0][:9]
        if version.isdigit() and int(version) != FORMAT:
            return f"the journal record at {where} cannot be read: its format is {int(version)}, not {FORMAT}"
        return f"the journal record at {where} cannot be read ({type(error).__name__})"
