"""What a journal partition, anybody's, says of tasks and of submissions that nobody knows the end of.

A fold that goes on from pass to pass, with the rule of `core.journal.replay` about epochs. It keeps next to
nothing: which tasks are some submission's, and the submissions that may have made one of the others.

Rules this module guarantees:

1. Only a submission's record is decoded, and none that the broker took before any time that matters; of any
   other its epoch is read.
2. A record of a lower epoch behind a higher one is a stranger's, and says nothing (N6).
3. A record that cannot be read is a gap: it may be about any submission of its partition and its time, until
   one that can be read takes its place.
4. What was made before `since_ms` may be forgotten: it can be no task that is looked for.
"""

import math
from array import array
from collections.abc import Set
from dataclasses import dataclass, field

from service.core.job.submission import Intent, Submission
from service.core.job.transition_context import Rules
from service.core.job.urgency import RETENTION_MS
from service.core.journal.entries import decode
from service.core.journal.stamp import epoch_of
from service.core.reconciliation.task_list import EVER, Span
from service.core.reconciliation.unanswered import UNANSWERED, Files, Gap, made_seconds, window_of

SUBMISSION_PREFIX = "s/"
HOUR_MS = 3_600_000
NEVER = 2**62
"""The hour of a task whose time nobody knows: it is not forgotten."""
MAX_GAPS = 100
"""Records of a partition that cannot be read and are told apart; more of them count as one."""
_MANY = ""
"""Where that one is kept: no record's key."""


@dataclass(slots=True)
class PartitionScan:
    """The fold over one journal partition; `position` is the offset that it reads next.

    It holds all that is said of tasks which were made at or after `since_ms`, by the vendor's clock.
    `whole_until_ms`: whatever was made until then it knows of, by the same clock. `is_behind`: the partition
    could not be read to its end, so that there may be more.
    """

    partition: int
    rules: Rules
    since_ms: float
    position: int = 0
    whole_until_ms: float = EVER[0]
    is_behind: bool = True
    _epoch: int = 0
    _tasks: dict[int, "array[int]"] = field(default_factory=dict)
    """The hashes of tasks' ids, by the hour until which the task can have been made: eight bytes for each."""
    _unanswered: dict[str, Submission] = field(default_factory=dict)
    _gaps: dict[str, Gap] = field(default_factory=dict)
    _undated: list[str] = field(default_factory=list)
    """Gaps whose time the next record tells."""

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
        """Take the next record; False for one of a submission that cannot be read.

        `is_brokers_time`: the timestamp is when the broker took it, not what a machine of ours said then.
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
        """Pass over a record whose key cannot be read either."""
        self.position = offset + 1
        key = f"@{offset}"
        self._leave_gap(key, None)
        self._undated.append(key)

    def complete(self, as_of_ms: float) -> None:
        """It was read to its end, and that reading began at `as_of_ms`."""
        self.is_behind, self.whole_until_ms = False, as_of_ms

    def forget_before(self, since_ms: float) -> None:
        """Nobody looks any more for tasks that were made before that."""
        self.since_ms = max(self.since_ms, since_ms)
        for hour in [hour for hour in self._tasks if HOUR_MS * (hour + 1) <= since_ms]:
            del self._tasks[hour]
        gone = [key for key, each in self._unanswered.items() if self._window(each.intent)[1] < since_ms]
        for key in gone:
            del self._unanswered[key]
        self._gaps = {key: gap for key, gap in self._gaps.items() if gap.window[1] >= since_ms}

    def known(self, wanted: Set[str]) -> set[str]:
        """Those of the tasks that are some submission's."""
        by_hash = {hash(task_id): task_id for task_id in wanted}
        hashes = set(by_hash)
        found = set[int]().union(*(hashes.intersection(ids) for ids in self._tasks.values()))
        return {by_hash[each] for each in found}

    def unanswered(self) -> list[Submission]:
        """Submissions that may have made a task which nobody has written down."""
        return list(self._unanswered.values())

    def gaps(self) -> list[Gap]:
        """What cannot be read, be it for now."""
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

    def _window(self, intent: Intent | None) -> Span:
        return EVER if intent is None else window_of(intent, None, self.rules)

    def _leave_gap(self, key: str, timestamp_ms: int | None) -> bool:
        """What the record before it said of the same submission is what it is about, else anything."""
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

    def _around(self, timestamp_ms: int | None) -> Span:
        """When the task was made that a record of this time may name, or that is made for it yet.

        Older ones the provider does not list any more.
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
