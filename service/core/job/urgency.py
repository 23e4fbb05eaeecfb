"""Which task goes first where not all can: the one whose result may be gone first.

The vendor keeps a finished task, and the URL of its result, for 24 h. When it finished nobody tells us in
time, but it was not before the last poll that found it at work, nor before its submit: the edge counts from
there, so it is never later than the real one.
"""

import heapq
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from service.core.job.submission import Submission

T = TypeVar("T")
RETENTION_MS = 24 * 3_600_000
"""How long the vendor keeps a finished task and its result (provider API, query a task)."""
URGENT_MS = RETENTION_MS // 4
"""A task whose edge is nearer than this goes first: even a queue of hours then leaves it time."""
NEAR, PAST, CAN_WAIT = range(3)


class Priority(NamedTuple):
    """Lower goes first; equal ranks go in the order of their arrival."""

    group: int
    order: int = 0


def retention_end_ms(submission: Submission) -> int:
    """Until when the results of its task can surely be read, if the task has finished."""
    submitted_ms, unfinished_ms = submission.submitted_ms, submission.unfinished_ms
    at_work_ms = submitted_ms or 0 if unfinished_ms is None else unfinished_ms
    return at_work_ms + RETENTION_MS


def priority(edge: int, now_ms: int) -> Priority:
    """Near the edge the oldest goes first; behind it the youngest, the likeliest to be there still."""
    if edge - now_ms > URGENT_MS:
        return Priority(CAN_WAIT)
    return Priority(NEAR, edge) if edge > now_ms else Priority(PAST, -edge)


@dataclass(slots=True)
class PriorityQueue(Generic[T]):
    """What is due and waits for a place or for budget, by rank.

    Not bounded by itself: as `DueQueue`, it holds at most one item per open job.
    """

    _heap: list[tuple[Priority, int, T]] = field(default_factory=list)
    _arrivals: int = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, priority: Priority, item: T) -> None:
        """Add an item."""
        self._arrivals += 1
        heapq.heappush(self._heap, (priority, self._arrivals, item))

    @property
    def first(self) -> tuple[Priority, T]:
        """The item that goes next, and its rank; there must be one."""
        priority, _, item = self._heap[0]
        return priority, item

    def pop(self) -> T:
        """Take the item that goes next; there must be one."""
        return heapq.heappop(self._heap)[2]
