"""Order of tasks when not all can be handled: the task whose result may expire first goes first.

The vendor keeps a finished task and the URL of its result for 24 h. The service does not learn in time when a
task finished, but it cannot have finished before its submit or before the last poll that found it unfinished.
The retention end counts from there, so it is never later than the real one.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from service.core.job.submission import Submission

T = TypeVar("T")
RETENTION_MS = 24 * 3_600_000
"""How long the vendor keeps a finished task and its result (docs/provider.md, section 2)."""
URGENT_MS = RETENTION_MS // 4
"""A task whose retention ends within this time goes first: that leaves time even for a queue of hours."""
NEAR, PAST, CAN_WAIT = range(3)


class Priority(NamedTuple):
    """Lower goes first; equal priorities go in the order of their arrival."""

    group: int
    order: int = 0


_LAST = Priority(CAN_WAIT)


def retention_end_ms(submission: Submission) -> int:
    """Until when the task's results are certainly readable, if the task has finished."""
    submitted_ms, unfinished_ms = submission.submitted_ms, submission.unfinished_ms
    at_work_ms = submitted_ms or 0 if unfinished_ms is None else unfinished_ms
    return at_work_ms + RETENTION_MS


def priority(end_ms: int, now_ms: int) -> Priority:
    """Before the retention end the oldest goes first, after it the youngest: it most likely still exists."""
    if end_ms - now_ms > URGENT_MS:
        return _LAST
    return Priority(NEAR, end_ms) if end_ms > now_ms else Priority(PAST, -end_ms)


@dataclass(slots=True)
class PriorityQueue(Generic[T]):
    """Due items that wait for a slot or for budget, by priority.

    It has no bound of its own: like `DueQueue`, it holds at most one item per open job. Nearly all items can
    wait, in the order of their arrival: they need no place in the heap, which would take 170 bytes each.
    """

    _heap: list[tuple[Priority, int, T]] = field(default_factory=list)
    _can_wait: deque[T] = field(default_factory=deque)
    _arrivals: int = 0

    def __len__(self) -> int:
        return len(self._heap) + len(self._can_wait)

    def push(self, priority: Priority, item: T) -> None:
        """Add an item."""
        if priority == _LAST:
            self._can_wait.append(item)
            return
        self._arrivals += 1
        heapq.heappush(self._heap, (priority, self._arrivals, item))

    @property
    def first(self) -> tuple[Priority, T]:
        """The next item and its priority; the queue must not be empty."""
        if not self._heap:
            return _LAST, self._can_wait[0]
        priority, _, item = self._heap[0]
        return priority, item

    def prefer(self, most: int, rank: Callable[[T], tuple[float, ...]]) -> list[T]:
        """Of the first `most` items that can wait, put the highest first and the others last.

        Returns the others.
        """
        first = [self._can_wait.popleft() for _ in range(min(most, len(self._can_wait)))]
        best = max(first, key=rank) if len(first) > 1 else first[0]
        others = [item for item in first if item is not best]
        self._can_wait.appendleft(best)
        self._can_wait.extend(others)
        return others

    def pop(self) -> T:
        """Remove and return the next item; the queue must not be empty."""
        return heapq.heappop(self._heap)[2] if self._heap else self._can_wait.popleft()
