"""Replay a journal partition.

Records are taken in the order of their offsets; the last of each key counts.

Rules this module guarantees:

1. The last record of a key counts; a null value removes the key.
2. A record of a lower epoch after a higher claim was written by a stale owner. It is ignored, whatever its
   format (N6), and its key is reported, so that the owner can rewrite its own state before compaction drops
   it.
3. A record that cannot be read is an error and is never skipped: it may stand for paid work.

`core.shard.loading` links the records to each other, since records of different keys may come in any order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.job.accepted_request import AcceptedRequest, FinishedRequest
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.request_record import Cursor
from service.core.job.submission import Submission
from service.core.journal.entries import Entry, JobEntry, OwnerEntry, decode
from service.core.journal.stamp import (
    CURSOR_PREFIX,
    FORMAT,
    OWN_PREFIXES,
    OWNER_PREFIX,
    SPEND_PREFIX,
    Stamp,
    epoch_of,
    epoch_of_key,
    format_of,
)
from service.core.limits.slot_share import Predecessor
from service.core.limits.spend_limit import DaySpend
from service.errors import RestoreError


@dataclass(slots=True)
class Restore:
    """The replayed state of one journal partition."""

    topic: str
    partition: int
    epoch: int = 0
    """The highest epoch seen so far."""
    entries: dict[str, Entry] = field(default_factory=dict)
    records: dict[Origin, bytes] = field(default_factory=dict)
    """The records of the open requests, as they were read."""
    overwritten: set[str] = field(default_factory=set)
    """Keys whose last record is a stale owner's; never keys of claims, which are separate for each epoch."""
    own_keys: set[str] = field(default_factory=set)
    """The shard's own keys of `entries` and `overwritten`, so that none is looked for among those of jobs."""
    _stamp: bytes = b""
    """The last stamp that counted: records of one batch share it."""
    generation: int = -1
    """The latest request topic generation of any request that was read; -1 if there was none."""
    latest_ms: int = 0
    """The latest record timestamp, whether set by the broker or by a producer."""
    broker_ms: int | None = None
    """The latest timestamp set by the broker, if any."""

    def note_time(self, time_ms: int, *, is_brokers: bool) -> None:
        """Note a record's timestamp; `is_brokers`: the broker set it."""
        self.latest_ms = max(self.latest_ms, time_ms)
        if is_brokers:
            self.broker_ms = max(self.broker_ms or 0, time_ms)

    def add(self, offset: int, key: str, value: bytes | None, stamp: bytes | None) -> None:
        """Add the next record; raises `RestoreError` if it cannot be read."""
        try:
            if not self._accept_stamp(stamp or b""):
                if not key.startswith(OWNER_PREFIX):
                    self._overwrite(key)
                return
            self._take(key, value)
        except ValueError as error:
            raise RestoreError(self._complaint(offset, key, stamp, error)) from error

    @property
    def cursor(self) -> Cursor | None:
        """The shard's cursor, if there is one."""
        return next((each for each in self._latest(CURSOR_PREFIX) if isinstance(each, Cursor)), None)

    @property
    def spend(self) -> DaySpend:
        """The spending of the last day that had any."""
        return next((each for each in self._latest(SPEND_PREFIX) if isinstance(each, DaySpend)), DaySpend())

    def _latest(self, prefix: str) -> Iterator[Entry]:
        """The owners' entries under a prefix, the last owner's first."""
        epochs = {epoch_of_key(key) or 0: key for key in self._own_entries() if key.startswith(prefix)}
        return (self.entries[epochs[epoch]] for epoch in sorted(epochs, reverse=True))

    def superseded(self) -> list[str]:
        """The keys of former owners: their claims, cursors and spending."""
        epochs = {key: epoch_of_key(key) for key in self.own_keys}
        return sorted(key for key, epoch in epochs.items() if epoch is not None and epoch < self.epoch)

    def claims(self) -> list[OwnerEntry]:
        """The remaining claims, the latest last."""
        found = [entry for entry in self._own_entries().values() if isinstance(entry, OwnerEntry)]
        return sorted(found, key=lambda owner: owner.epoch)

    @property
    def predecessor(self) -> Predecessor:
        """Whether there was an owner, and whether its claim says that it no longer calls the provider."""
        if not self.epoch:
            return Predecessor.NONE
        claims = self.claims()
        is_released = bool(claims) and claims[-1].epoch == self.epoch and claims[-1].released
        return Predecessor.RELEASED if is_released else Predecessor.UNKNOWN

    def requests(self) -> dict[Origin, AcceptedRequest]:
        """The requests that have no short form yet, in the order of the topic."""
        found = [entry for entry in self.entries.values() if isinstance(entry, AcceptedRequest)]
        return {request.origin: request for request in sorted(found, key=lambda each: each.origin)}

    def finished(self) -> list[FinishedRequest]:
        """The finished requests, the oldest first."""
        found = [entry for entry in self.entries.values() if isinstance(entry, FinishedRequest)]
        return sorted(found, key=lambda finished: (finished.finished_ms, finished.origin))

    def submissions(self) -> dict[SubmissionKey, Submission]:
        """All submissions, the latest last."""
        found = [entry for entry in self.entries.values() if isinstance(entry, Submission)]
        return {each.key: each for each in sorted(found, key=lambda each: each.key)}

    def jobs(self) -> dict[JobRef, JobEntry]:
        """The jobs' own records."""
        found = [entry for entry in self.entries.values() if isinstance(entry, JobEntry)]
        return {entry.ref: entry for entry in sorted(found, key=lambda each: each.ref)}

    def clear(self) -> None:
        """Drop all records one at a time.

        Freeing a hundred thousand at once blocks every other thread.
        """
        while self.entries:
            self.entries.popitem()

    def _accept_stamp(self, stamp: bytes) -> bool:
        """Note the highest epoch.

        Return whether a record with this stamp is of that owner.

        Raises `ValueError` for another format.
        """
        if stamp and stamp == self._stamp:
            return True
        epoch = epoch_of(stamp)
        if epoch < self.epoch:
            return False
        self.epoch, self._stamp = epoch, b""
        if Stamp.decode(stamp).format != FORMAT:
            raise ValueError("another format")
        self._stamp = stamp
        return True

    def _own_entries(self) -> dict[str, Entry]:
        return {key: self.entries[key] for key in self.own_keys if key in self.entries}

    def _overwrite(self, key: str) -> None:
        self.overwritten.add(key)
        if key.startswith(OWN_PREFIXES):
            self.own_keys.add(key)

    def _take(self, key: str, value: bytes | None) -> None:
        entry = None if value is None else decode(key, value)
        self.overwritten.discard(key)
        if key.startswith(OWN_PREFIXES):
            (self.own_keys.discard if entry is None else self.own_keys.add)(key)
        if entry is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry
        if isinstance(entry, (AcceptedRequest, FinishedRequest)):
            self.generation = max(self.generation, entry.origin.generation)
        if isinstance(entry, AcceptedRequest) and value is not None:
            self.records[entry.origin] = value

    def _complaint(self, offset: int, key: str, stamp: bytes | None, error: ValueError) -> str:
        """The message, without the error's own text, which may repeat the record's content."""
        where = f"{self.topic}, partition {self.partition}, offset {offset}"
        return f"the journal record at {where} cannot be read ({_reason(key, stamp or b'', error)})"


def _reason(key: str, stamp: bytes, error: ValueError) -> str:
    try:
        version = format_of(key, stamp)
    except ValueError:
        return "it carries no stamp of Scribe"
    if version != FORMAT:
        return f"its format is {version}, and this version of Scribe reads {FORMAT}"
    return type(error).__name__
