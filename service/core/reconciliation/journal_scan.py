"""Scan any shard's journal partition for known task ids and for submissions whose answer is missing.

A scan continues from pass to pass, with the epoch rule of `core.journal.replay`. It keeps only the tasks that
belong to some submission, and the submissions that may have created one of the other tasks.

Rules this module guarantees:

1. Only submission records are decoded, and none that the broker received too early to matter; of all other
   records only the epoch is read.
2. A record of a lower epoch after a higher one was written by a stale owner and is ignored (N6).
3. An unreadable record is a gap: it may concern any submission of its partition and time, until a readable
   record with its key replaces it.
4. Tasks created before `since_ms` may be dropped: no submission looks for them.
"""

import math
from array import array
from collections.abc import Set
from dataclasses import dataclass, field

from service.core.job.submission import UNANSWERED, Intent, Submission
from service.core.job.transition_context import Rules
from service.core.job.urgency import RETENTION_MS
from service.core.journal.entries import decode
from service.core.journal.stamp import epoch_of
from service.core.reconciliation.task_listing import EVER, TimeSpan
from service.core.reconciliation.unanswered import Files, Gap, made_seconds, window_of

SUBMISSION_PREFIX = "s/"
HOUR_MS = 3_600_000
NEVER = 2**62
"""The hour of a task with an unknown time: it is never dropped."""
MAX_GAPS = 100
"""Gaps kept apart in one partition; more are merged into one."""
_MANY = ""
"""The key of the merged gap; no record has it."""


@dataclass(slots=True)
class PartitionScan:
    """The scan of one journal partition; `position` is the next offset to read.

    It covers tasks created at or after `since_ms`, by the vendor's clock. It knows every task in the
    partition that was created until `whole_until_ms`, by the same clock. `is_behind`: the partition was not
    read to its end, so there may be more.
    """

    partition: int
    rules: Rules
    since_ms: float
    position: int = 0
    whole_until_ms: float = EVER[0]
    is_behind: bool = True
    _epoch: int = 0
    _tasks: dict[int, "array[int]"] = field(default_factory=dict)
    """Hashes of task ids, eight bytes each, by the hour in which the task was created at the latest."""
    _unanswered: dict[str, Submission] = field(default_factory=dict)
    _gaps: dict[str, Gap] = field(default_factory=dict)
    _undated: list[str] = field(default_factory=list)
    """Gaps that take their time from the next record."""

    def add(
        self,
        offset: int,
        key: str,
        value: bytes | None,
        stamp: bytes | None,
        timestamp_ms: int | None,
        *,
        is_brokers_time: bool = False,
    ) -> bool:
        """Add the next record; False for a submission record that cannot be read.

        `is_brokers_time`: the broker set the timestamp, not one of our machines.
        """
        self.position = offset + 1
        self._date_gaps(timestamp_ms)
        is_said_before = is_brokers_time and self._around(timestamp_ms)[1] < self.since_ms
        says_nothing = is_said_before or not key.startswith(SUBMISSION_PREFIX)
        try:
            epoch = epoch_of(stamp or b"")
        except ValueError:
            return says_nothing or self._leave_gap(key, timestamp_ms)
        if epoch < self._epoch:
            return True
        self._epoch = epoch
        return says_nothing or self._take(key, value, timestamp_ms)

    def skip(self, offset: int) -> None:
        """Skip a record whose key cannot be read either, and keep a gap for it."""
        self.position = offset + 1
        key = f"@{offset}"
        self._leave_gap(key, None)
        self._undated.append(key)

    def complete(self, as_of_ms: float) -> None:
        """Note that the partition was read to its end by a pass that began at `as_of_ms`."""
        self.is_behind, self.whole_until_ms = False, as_of_ms

    def forget_before(self, since_ms: float) -> None:
        """Drop what concerns only tasks created before `since_ms`."""
        self.since_ms = max(self.since_ms, since_ms)
        for hour in [hour for hour in self._tasks if HOUR_MS * (hour + 1) <= since_ms]:
            del self._tasks[hour]
        gone = [key for key, each in self._unanswered.items() if self._window(each.intent)[1] < since_ms]
        for key in gone:
            del self._unanswered[key]
        self._gaps = {key: gap for key, gap in self._gaps.items() if gap.window[1] >= since_ms}

    def known(self, wanted: Set[str]) -> set[str]:
        """The wanted task ids that belong to some submission."""
        by_hash = {hash(task_id): task_id for task_id in wanted}
        hashes = set(by_hash)
        found = set[int]().union(*(hashes.intersection(ids) for ids in self._tasks.values()))
        return {by_hash[each] for each in found}

    def unanswered(self) -> list[Submission]:
        """Submissions that may have created a task which no journal names."""
        return list(self._unanswered.values())

    def gaps(self) -> list[Gap]:
        """The gaps, including the part that is not read yet."""
        behind = [Gap(self.partition, (self.whole_until_ms, EVER[1]))] if self.is_behind else []
        return [*self._gaps.values(), *behind]

    def _take(self, key: str, value: bytes | None, timestamp_ms: int | None) -> bool:
        try:
            submission = None if value is None else decode(key, value)
        except ValueError:
            return self._leave_gap(key, timestamp_ms)
        self._gaps.pop(key, None)
        self._unanswered.pop(key, None)
        if isinstance(submission, Submission):
            self._keep(key, submission)
        return True

    def _keep(self, key: str, submission: Submission) -> None:
        until_ms = self._window(submission.intent)[1]
        if until_ms < self.since_ms:
            return
        if submission.task_id is not None:
            hour = int(until_ms // HOUR_MS) if math.isfinite(until_ms) else NEVER
            self._tasks.setdefault(hour, array("q")).append(hash(submission.task_id))
        elif submission.state in UNANSWERED and not submission.is_synchronous:
            self._unanswered[key] = submission

    def _window(self, intent: Intent | None) -> TimeSpan:
        return EVER if intent is None else window_of(intent, None, self.rules)

    def _leave_gap(self, key: str, timestamp_ms: int | None) -> bool:
        """Keep a gap: about the submission's former record, if there is one, else about any submission."""
        former = self._unanswered.get(key)
        if former is not None and former.intent is not None:
            files = Files(former.intent.files, former.intent.files_digest)
            gap = Gap(self.partition, self._window(former.intent), files)
        else:
            gap = Gap(self.partition, self._around(timestamp_ms))
        if key in self._gaps or len(self._gaps) < MAX_GAPS:
            self._gaps[key] = gap
        else:
            windows = [each.window for each in (*self._gaps.values(), gap)]
            begin_ms, end_ms = min(first for first, _ in windows), max(last for _, last in windows)
            self._gaps = {_MANY: Gap(self.partition, (begin_ms, end_ms))}
        return False

    def _around(self, timestamp_ms: int | None) -> TimeSpan:
        """When a task that a record of this time names, or that is still being created for it, was created.

        The provider no longer lists older tasks.
        """
        if timestamp_ms is None:
            return EVER
        slack_ms = 1000 * (made_seconds(self.rules) + self.rules.unknown_skew_seconds)
        return (timestamp_ms - RETENTION_MS - slack_ms, timestamp_ms + slack_ms)

    def _date_gaps(self, timestamp_ms: int | None) -> None:
        for key in self._undated if timestamp_ms is not None else ():
            if key in self._gaps:
                self._gaps[key] = Gap(self.partition, self._around(timestamp_ms))
        if timestamp_ms is not None:
            self._undated.clear()
