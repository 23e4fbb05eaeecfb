"""Read the account's list of tasks page by page.

It says which tasks are listed, and whether the listing is complete.

Rules this module guarantees:

1. A listing that may have missed a task is incomplete: a page failed, the order shows that rows moved
   between pages, there are fewer rows than the stated total, a task is from the future, or a known task of
   ours is missing or has the wrong creation time.
2. An unreadable row may be any task created between its neighbours; it affects nothing else.
3. The tasks of an incomplete listing still count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.core.provider.answers import ListedTask, TaskPage, UnreadableRow

TimeSpan = tuple[float, float]
"""The first and the last millisecond of a span, by the vendor's clock."""
EVER: TimeSpan = (float("-inf"), float("inf"))
MAX_FOUND = 50_000
"""Tasks kept of one listing; with more it is incomplete."""
MAX_UNREADABLE = 1_000
"""Unreadable rows kept of one listing; with more it is incomplete."""


def is_within(moment_ms: float, spans: Sequence[TimeSpan]) -> bool:
    """Whether `moment_ms` lies in one of the spans."""
    return any(first <= moment_ms <= last for first, last in spans)


def meets(one: TimeSpan, other: TimeSpan) -> bool:
    """Whether the two spans overlap."""
    return one[0] <= other[1] and other[0] <= one[1]


def merged(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """Merge overlapping spans; returns them in order."""
    found: list[TimeSpan] = []
    for span in sorted(spans):
        if found and span[0] <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], span[1]))
        else:
            found.append(span)
    return found


class UnknownTask(NamedTuple):
    """An unreadable row: the task's id, if the row has it, and when the task was created."""

    task_id: str | None
    created: TimeSpan


class _Between(NamedTuple):
    """A row without a creation time; the times of its neighbours bound it."""

    task_id: str | None
    before_ms: int | None
    after_ms: int | None = None


@dataclass(slots=True)
class TaskListing:
    """The pages of one listing; it keeps the tasks created within `spans`.

    `witnesses` are tasks known to exist, each with the span in which it was created.
    """

    spans: Sequence[TimeSpan]
    witnesses: Mapping[str, TimeSpan]
    found: dict[str, ListedTask] = field(default_factory=dict)
    """The tasks created within `spans`, by id."""
    is_over: bool = False
    """Whether the last page was read."""
    _rows: int = 0
    """Rows so far, unreadable ones included."""
    _total: int | None = None
    """The number of rows, as the last page states it."""
    _page: frozenset[str] = frozenset()
    """The ids of the last page."""
    _last_ms: int | None = None
    """When the task of the last row with a time was created."""
    _direction: int = 0
    """1 if the rows are the oldest first, -1 if the newest; 0 while that is unknown."""
    _seen: set[str] = field(default_factory=set)
    """The witnesses that were listed."""
    _is_broken: bool = False
    """The pages contradict each other, or too much was unreadable: a task may be missing."""
    _timed: list[UnknownTask] = field(default_factory=list)
    """Unreadable rows with a creation time."""
    _between: list[_Between] = field(default_factory=list)
    """Unreadable rows without one, whose neighbours were read."""
    _open: list[_Between] = field(default_factory=list)
    """Rows without a time whose next neighbour is not read yet."""

    @property
    def is_complete(self) -> bool:
        """Whether the listing cannot have missed a task."""
        is_whole = self._total is None or self._rows >= self._total
        return self.is_over and is_whole and not self._is_broken and self._seen >= self.witnesses.keys()

    @property
    def unknown(self) -> list[UnknownTask]:
        """The unreadable rows whose task may have been created within `spans`."""
        rows = [UnknownTask(row.task_id, self._span(row)) for row in (*self._between, *self._open)]
        return [row for row in (*self._timed, *rows) if any(meets(row.created, span) for span in self.spans)]

    def add(self, page: TaskPage, latest_ms: float) -> None:
        """Add the next page.

        `latest_ms` is the latest possible time of the vendor's clock now.
        """
        if not page.tasks and not page.unreadable:
            self.is_over = True
            return
        repeated = self._repeated(page)
        has_shrunk = None not in (page.total, self._total) and (page.total or 0) < (self._total or 0)
        # Rows removed before this page have moved others to an earlier page, unread.
        self._is_broken |= has_shrunk and not repeated
        self._take_rows(page, repeated, latest_ms)
        self._rows += len(page.tasks) + len(page.unreadable)
        self._total = page.total
        self._page = frozenset(task.task_id for task in page.tasks)

    def fail(self) -> None:
        """Note that a page could not be read: no page follows."""
        self._is_broken = True

    def _repeated(self, page: TaskPage) -> int:
        """How many first rows repeat the last page: new tasks have moved them on."""
        rows = (number for number, task in enumerate(page.tasks) if task.task_id not in self._page)
        return next(rows, len(page.tasks))

    def _take_rows(self, page: TaskPage, repeated: int, latest_ms: float) -> None:
        unread = [row for row in page.unreadable if row.place >= repeated]
        for number, task in enumerate(page.tasks[repeated:], repeated):
            self._take_unread([row for row in unread if row.place == number])
            self._take(task, latest_ms)
        self._take_unread([row for row in unread if row.place >= len(page.tasks)])

    def _take(self, task: ListedTask, latest_ms: float) -> None:
        self._is_broken |= task.task_id in self._page or task.created_ms > latest_ms
        self._follow_order(task.created_ms)
        self._between += [row._replace(after_ms=task.created_ms) for row in self._open]
        self._open.clear()
        witness = self.witnesses.get(task.task_id)
        if witness is not None and is_within(task.created_ms, (witness,)):
            self._seen.add(task.task_id)
        if is_within(task.created_ms, self.spans):
            self._keep(task)

    def _take_unread(self, rows: Sequence[UnreadableRow]) -> None:
        for row in rows:
            if len(self._timed) + len(self._between) + len(self._open) >= MAX_UNREADABLE:
                self._is_broken = True
            elif row.created_ms is not None:
                self._timed.append(UnknownTask(row.task_id, (row.created_ms, row.created_ms)))
            else:
                self._open.append(_Between(row.task_id, self._last_ms))

    def _span(self, row: _Between) -> TimeSpan:
        """When the row's task was created; with one neighbour only, the list's order gives the direction."""
        if row.before_ms is not None and row.after_ms is not None:
            return (min(row.before_ms, row.after_ms), max(row.before_ms, row.after_ms))
        neighbour_ms = row.after_ms if row.before_ms is None else row.before_ms
        if neighbour_ms is None or not self._direction:
            return EVER
        is_newer = (row.before_ms is None) == (self._direction < 0)
        return (neighbour_ms, EVER[1]) if is_newer else (EVER[0], neighbour_ms)

    def _follow_order(self, created_ms: int) -> None:
        """Check that rows are ordered, newest or oldest first.

        Otherwise moved rows would go unnoticed.
        """
        step = 0 if self._last_ms is None else (created_ms > self._last_ms) - (created_ms < self._last_ms)
        self._is_broken |= step * self._direction < 0
        self._direction = self._direction or step
        self._last_ms = created_ms

    def _keep(self, task: ListedTask) -> None:
        if len(self.found) < MAX_FOUND:
            self.found[task.task_id] = task
        else:
            self._is_broken = True
