"""Items in flight in a stage; the audit looks one up without searching the queues."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from service.core.job.identity import JobRef, SubmissionKey
from service.pipeline.shard.shard_runner import ShardRunner

T = TypeVar("T")


class StageItems(Protocol):
    """A stage, as the audit sees it."""

    def holds(self, runner: ShardRunner, key: JobRef | SubmissionKey) -> bool:
        """Whether the stage has a timer, a call or a place in a queue for it."""
        ...


@dataclass(slots=True)
class InFlightItems(Generic[T]):
    """Items with counts: an item may be held several times."""

    _counts: Counter[T] = field(default_factory=Counter)

    def __contains__(self, item: object) -> bool:
        return item in self._counts

    def add(self, item: T) -> None:
        """Count the item once more."""
        self._counts[item] += 1

    def remove(self, item: T) -> None:
        """Count the item once less."""
        self._counts[item] -= 1
        if self._counts[item] <= 0:
            del self._counts[item]
