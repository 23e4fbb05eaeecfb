"""The jobs and submissions of a shard, counted as they change.

Nothing that runs each second visits all of them.

Rule this module guarantees: whatever changes a table changes its counts and indexes with it.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import Generic, TypeVar, overload

from service.core.job.earliest import EarliestTime
from service.core.job.identity import SubmissionKey
from service.core.job.submission import UNANSWERED, Submission, SubmissionState
from service.core.job.urgency import retention_end_ms

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Table(MutableMapping[K, V], ABC, Generic[K, V]):
    """A mapping that tells its subclass of each change."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[K, V] = {}

    @abstractmethod
    def _changed(self, old: V | None, new: V | None) -> None:
        """Called after a value was added, replaced or removed."""

    def __setitem__(self, key: K, value: V) -> None:
        old = self._values.get(key)
        self._values[key] = value
        self._changed(old, value)

    def __delitem__(self, key: K) -> None:
        self._changed(self._values.pop(key), None)

    def __getitem__(self, key: K) -> V:
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    # The inherited ones do the same and are slower.

    @overload
    def get(self, key: K, /) -> V | None: ...

    @overload
    def get(self, key: K, default: V | T, /) -> V | T: ...

    def get(self, key: K, default: V | T | None = None, /) -> V | T | None:
        """The value, or the default if there is none."""
        return self._values.get(key, default)

    def values(self) -> ValuesView[V]:
        """The values, in the order in which their keys were added."""
        return self._values.values()

    def items(self) -> ItemsView[K, V]:
        """The keys with their values, in the same order."""
        return self._values.items()


class Submissions(Table[SubmissionKey, Submission]):
    """The submissions that are not over: their number by state, and what their jobs wait for."""

    __slots__ = ("_retention_ends", "_unanswered", "by_state", "uncertain_jobs")

    def __init__(self) -> None:
        super().__init__()
        self.by_state: Counter[SubmissionState] = Counter()
        self.uncertain_jobs: Counter[str] = Counter()
        """The jobs of UNCERTAIN submissions, by model; of one that is followed all jobs have ended."""
        self._unanswered: set[SubmissionKey] = set()
        self._retention_ends = EarliestTime()

    def unanswered(self) -> list[Submission]:
        """The submissions that may have a task which is not known, in the order of their keys."""
        return [self._values[key] for key in sorted(self._unanswered)]

    def retention_end_ms(self) -> int | None:
        """When the first result that a job waits for may be gone, to ten seconds; None without a task."""
        return self._retention_ends.earliest_ms()

    def _changed(self, old: Submission | None, new: Submission | None) -> None:
        ended, ends = _retention_end_ms(old), _retention_end_ms(new)
        if ended != ends:
            self._move_retention_end(ended, ends)
        if old is not None and new is not None and _counts_alike(old, new):
            return
        if old is not None:
            self.by_state[old.state] -= 1
            self._unanswered.discard(old.key)
            self._count_uncertain(old, -1)
        if new is not None:
            self.by_state[new.state] += 1
            if new.state in UNANSWERED:
                self._unanswered.add(new.key)
            self._count_uncertain(new, 1)

    def _move_retention_end(self, old_ms: int | None, new_ms: int | None) -> None:
        if old_ms is not None:
            self._retention_ends.change(old_ms, -1)
        if new_ms is not None:
            self._retention_ends.change(new_ms, 1)

    def _count_uncertain(self, submission: Submission, number: int) -> None:
        """Count the jobs of an uncertain submission.

        All that it was posted for, until the last of them ends.
        """
        if submission.state is SubmissionState.UNCERTAIN and not submission.is_followed:
            jobs = self.uncertain_jobs[submission.model] + number * len(submission.jobs)
            self.uncertain_jobs[submission.model] = jobs
            if not jobs:
                # Models are named by requests: their number has no bound.
                del self.uncertain_jobs[submission.model]


def _counts_alike(old: Submission, new: Submission) -> bool:
    is_same = old.state is new.state and old.is_followed is new.is_followed
    return is_same and old.jobs == new.jobs and old.model == new.model


def _retention_end_ms(submission: Submission | None) -> int | None:
    """When the results of a submission with a task may be gone; None if no job waits for them."""
    if submission is None or submission.state is not SubmissionState.RUNNING or submission.is_followed:
        return None
    return retention_end_ms(submission)
