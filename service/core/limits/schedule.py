"""A queue ordered by due time, and the schedule for polling a task."""

import heapq
from collections.abc import Iterator
from dataclasses import field
from typing import Generic, TypeVar

from service.frozen import dataclass

T = TypeVar("T")
SHARED_TIMES = 16
"""How many of the latest times are shared."""


@dataclass(slots=True)
class DueQueue(Generic[T]):
    """Items ordered by the time they are due; equal times keep the order of arrival.

    It has no bound of its own: it holds at most one item per open job and kind of step, and open jobs are
    bounded. Items of one time share a list: after a restore, all tasks of a shard are due at once.
    """

    _times: list[int] = field(default_factory=list)
    """A heap of the times in `_items`."""
    _items: dict[int, list[T]] = field(default_factory=dict)
    """The items of each time, in the order of arrival."""
    _taken: int = 0
    """How many items of the first time are taken; they are removed with the last of them."""
    _len: int = 0

    def __len__(self) -> int:
        return self._len

    def push(self, due_ms: int, item: T) -> None:
        """Add an item; it may be due already."""
        self._len += 1
        if due_ms in self._items:
            self._items[due_ms].append(item)
            return
        if self._taken and due_ms < self._times[0]:
            del self._items[self._times[0]][: self._taken]
            self._taken = 0
        self._items[due_ms] = [item]
        heapq.heappush(self._times, due_ms)

    def pop_due(self, now_ms: int) -> T | None:
        """The item that has been due for longest, or None when nothing is due."""
        if not self._times or self._times[0] > now_ms:
            return None
        items = self._items[self._times[0]]
        item = items[self._taken]
        self._taken += 1
        self._len -= 1
        if self._taken == len(items):
            del self._items[heapq.heappop(self._times)]
            self._taken = 0
        return item

    def next_due_ms(self) -> int | None:
        """When the first item is due; None if the queue is empty."""
        return self._times[0] if self._times else None

    def __iter__(self) -> Iterator[T]:
        for time_ms, items in self._items.items():
            yield from items[self._taken if time_ms == self._times[0] else 0 :]


@dataclass(slots=True)
class SharedTimes:
    """One object for equal times: a restore makes thousands of items for one moment, at 32 bytes a number."""

    _latest: dict[int, int] = field(default_factory=dict)

    def once(self, time_ms: int) -> int:
        """The time, as the object that was given for it lately, if any."""
        if len(self._latest) > SHARED_TIMES:
            self._latest.clear()
        return self._latest.setdefault(time_ms, time_ms)


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """When a task is polled.

    Soon after the submit, then at intervals that grow with the task's age.

    A task of age a is polled again after `growth * a`, within the two bounds, so the delay that polling adds
    is a fixed part of the time that the job takes anyway.
    """

    first_seconds: float
    longest_seconds: float
    growth: float = 0.25

    def next_poll_ms(self, submitted_ms: int, now_ms: int) -> int:
        """When to poll a task again that was not finished at `now_ms`."""
        age_seconds = max(0, now_ms - submitted_ms) / 1000
        wait_seconds = min(self.longest_seconds, max(self.first_seconds, self.growth * age_seconds))
        return now_ms + round(1000 * wait_seconds)
