"""A queue ordered by due time, and the schedule for polling a task."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class DueQueue(Generic[T]):
    """Items ordered by the time they are due; equal times keep the order of arrival.

    It has no bound of its own: it holds at most one item per open job and kind of step, and open jobs are
    bounded.
    """

    _heap: list[tuple[int, int, T]] = field(default_factory=list)
    _arrivals: int = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, due_ms: int, item: T) -> None:
        """Add an item; it may be due already."""
        self._arrivals += 1
        heapq.heappush(self._heap, (due_ms, self._arrivals, item))

    def pop_due(self, now_ms: int) -> T | None:
        """The item that has been due for longest, or None when nothing is due."""
        if not self._heap or self._heap[0][0] > now_ms:
            return None
        return heapq.heappop(self._heap)[2]

    def next_due_ms(self) -> int | None:
        """When the first item is due; None if the queue is empty."""
        return self._heap[0][0] if self._heap else None

    def __iter__(self) -> Iterator[T]:
        return (item for _, _, item in self._heap)


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """When a task is polled: soon after the submit, then at intervals that grow with the task's age.

    A task of age a is polled again after `growth * a`, within the two bounds, so the delay that polling adds
    is a fixed part of the time that the job takes anyway.
    """

    first_seconds: float = 2.0
    longest_seconds: float = 30.0
    growth: float = 0.25

    def next_poll_ms(self, submitted_ms: int, now_ms: int) -> int:
        """When to poll a task again that was not finished at `now_ms`."""
        age_seconds = max(0, now_ms - submitted_ms) / 1000
        wait_seconds = min(self.longest_seconds, max(self.first_seconds, self.growth * age_seconds))
        return now_ms + round(1000 * wait_seconds)
