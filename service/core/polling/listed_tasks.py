"""Which of our tasks have left the account's list of running tasks: they have ended.

Rules this module guarantees:

1. A page is a snapshot. A running task of ours that was listed before the page was asked for, was created
   within the span of the page, and is not in it, has ended. Rows that move to another page between two calls
   lie outside the span.
2. A page that does not keep to the order of creation, or has a row that cannot be read, proves nothing.
3. It is a hint, never more: the task's own query decides.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from service.core.polling.list_trust import PageSource
from service.core.provider.answers import TaskPage, TaskStatus

MAX_LISTED = 200_000
"""Tasks remembered; those beyond are polled by their own schedule."""
FIRST_MS, LAST_MS = -(2**63), 2**63 - 1


class Place(NamedTuple):
    """Where a page lies in the list.

    `is_newest_first` is None while the list's order is not known.
    """

    is_first: bool
    is_last: bool
    is_newest_first: bool | None


class ReadPage(NamedTuple):
    """A page of the tasks with one status, or of all, and between which boot times it was made."""

    page: TaskPage
    status: TaskStatus | None
    is_first: bool
    is_last: bool
    asked_ms: int
    answered_ms: int
    source: PageSource = PageSource.OWN


class Span(NamedTuple):
    """Creation times by the vendor's clock; both ends are outside."""

    after_ms: int
    before_ms: int


def order_of(page: TaskPage) -> bool | None:
    """Whether the page shows the newest task first; None if its rows do not say."""
    if len(page.tasks) < 2 or page.tasks[0].created_ms == page.tasks[-1].created_ms:
        return None
    return page.tasks[0].created_ms > page.tasks[-1].created_ms


def span_of(page: TaskPage, place: Place) -> Span | None:
    """The span that the page shows completely; None if it proves nothing."""
    if page.unreadable or not _is_in_order(page, place.is_newest_first):
        return None
    if place.is_first and place.is_last:
        return Span(FIRST_MS, LAST_MS)
    if not page.tasks:
        return None
    times = sorted((page.tasks[0].created_ms, page.tasks[-1].created_ms))
    if place.is_newest_first is None:
        return Span(*times)
    has_newest, has_oldest = place.is_first, place.is_last
    if not place.is_newest_first:
        has_newest, has_oldest = has_oldest, has_newest
    return Span(FIRST_MS if has_oldest else times[0], LAST_MS if has_newest else times[1])


def _is_in_order(page: TaskPage, is_newest_first: bool | None) -> bool:
    own = order_of(page)
    if own is not None and is_newest_first is not None and own is not is_newest_first:
        return False
    times = [task.created_ms for task in page.tasks]
    return times in (sorted(times), sorted(times, reverse=True))


@dataclass(slots=True)
class ListedTasks:
    """Our tasks that the list has shown as running, in the order of their creation."""

    _created_ms: "array[int]" = field(default_factory=lambda: array("q"))
    _task_ids: list[str] = field(default_factory=list)
    _listed_ms: "array[int]" = field(default_factory=lambda: array("q"))
    """When the page was answered that first showed each task, by the boot clock."""

    def __len__(self) -> int:
        return len(self._task_ids)

    def add(self, task_id: str, created_ms: int, listed_ms: int) -> None:
        """Remember a task that the list shows as running, in a page that was answered at `listed_ms`."""
        first = bisect_left(self._created_ms, created_ms)
        last = bisect_right(self._created_ms, created_ms, first)
        if task_id not in self._task_ids[first:last] and len(self) < MAX_LISTED:
            self._created_ms.insert(last, created_ms)
            self._task_ids.insert(last, task_id)
            self._listed_ms.insert(last, listed_ms)

    def take_missing(self, span: Span, shown: Iterable[str], asked_ms: int) -> list[str]:
        """The tasks created within the span that a page asked for at `asked_ms` lacks; they are forgotten."""
        first = bisect_right(self._created_ms, span.after_ms)
        last = bisect_left(self._created_ms, span.before_ms, first)
        shown = frozenset(shown)
        listed = list(
            zip(
                self._created_ms[first:last],
                self._task_ids[first:last],
                self._listed_ms[first:last],
                strict=True,
            )
        )
        kept = [each for each in listed if each[1] in shown or each[2] > asked_ms]
        if len(kept) == len(listed):
            return []
        self._created_ms[first:last] = array("q", (created_ms for created_ms, _, _ in kept))
        self._task_ids[first:last] = [task_id for _, task_id, _ in kept]
        self._listed_ms[first:last] = array("q", (listed_ms for _, _, listed_ms in kept))
        return [task_id for _, task_id, listed_ms in listed if task_id not in shown and listed_ms <= asked_ms]

    def clear(self) -> None:
        """Forget all."""
        del self._created_ms[:], self._task_ids[:], self._listed_ms[:]
