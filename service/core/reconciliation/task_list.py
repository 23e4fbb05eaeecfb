"""One reading of the account's list of tasks, page by page: what it showed, and whether it showed all.

Rules this module guarantees:

1. A reading that may have missed a task is not complete: a page failed, its order shows that rows moved
   between two pages, it holds fewer rows than it says, it shows tasks of the future, or it does not show a
   task of ours that must be there, at the time at which it was made.
2. A row that cannot be read may be any task of the time that its neighbours leave it; it voids nothing else.
3. A reading that is not complete is still worth what it shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.core.provider.answers import ListedTask, TaskPage, UnreadableRow

Span = tuple[float, float]
"""The first and the last millisecond of the vendor's clock."""
EVER: Span = (float("-inf"), float("inf"))
MAX_FOUND = 50_000
"""Tasks kept of one reading: beyond, it counts as incomplete."""
MAX_UNREADABLE = 1_000
"""Rows kept of one reading that cannot be read; beyond, it counts as incomplete."""


def is_within(moment_ms: float, spans: Sequence[Span]) -> bool:
    """Whether the moment lies in one of the spans."""
    return any(first <= moment_ms <= last for first, last in spans)


def meets(one: Span, other: Span) -> bool:
    """Whether the two spans have a moment in common."""
    return one[0] <= other[1] and other[0] <= one[1]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as can be, the first one first."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span[0] <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], span[1]))
        else:
            found.append(span)
    return found


class UnknownTask(NamedTuple):
    """A row that cannot be read: its task's id, if it tells that, and when the task was made."""

    task_id: str | None
    created: Span


class _Between(NamedTuple):
    """A row that does not tell its time; its neighbours' bound it."""

    task_id: str | None
    before_ms: int | None
    after_ms: int | None = None


@dataclass(slots=True)
class TaskListing:
    """The fold over the pages of one reading; it keeps the tasks that were created within `spans`.

    `witnesses` are tasks that exist, and when each was made.
    """

    spans: Sequence[Span]
    witnesses: Mapping[str, Span]
    found: dict[str, ListedTask] = field(default_factory=dict)
    is_over: bool = False
    _rows: int = 0
    _total: int | None = None
    _page: frozenset[str] = frozenset()
    """The ids of the last page."""
    _last_ms: int | None = None
    _direction: int = 0
    _seen: set[str] = field(default_factory=set)
    _is_broken: bool = False
    _timed: list[UnknownTask] = field(default_factory=list)
    _between: list[_Between] = field(default_factory=list)
    _open: list[_Between] = field(default_factory=list)
    """Those whose next neighbour is not read yet."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing can have been missed."""
        is_whole = self._total is None or self._rows >= self._total
        return self.is_over and is_whole and not self._is_broken and self._seen >= self.witnesses.keys()

    @property
    def unknown(self) -> list[UnknownTask]:
        """The rows that could not be read, where they may be of a task that was created within `spans`."""
        rows = [UnknownTask(row.task_id, self._span(row)) for row in (*self._between, *self._open)]
        return [row for row in (*self._timed, *rows) if any(meets(row.created, span) for span in self.spans)]

    def add(self, page: TaskPage, latest_ms: float) -> None:
        """Take the next page; `latest_ms` is what the vendor's clock says by now, at the most."""
        if not page.tasks and not page.unreadable:
            self.is_over = True
            return
        repeated = self._repeated(page)
        has_shrunk = None not in (page.total, self._total) and (page.total or 0) < (self._total or 0)
        # Rows that left from before this page have pulled others over the border, unread.
        self._is_broken |= has_shrunk and not repeated
        self._take_rows(page, repeated, latest_ms)
        self._rows += len(page.tasks) + len(page.unreadable)
        self._total = page.total
        self._page = frozenset(task.task_id for task in page.tasks)

    def fail(self) -> None:
        """A page could not be read: nothing comes after it."""
        self._is_broken = True

    def _repeated(self, page: TaskPage) -> int:
        """How many rows at the page's beginning the last one had: new tasks have pushed them over."""
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

    def _span(self, row: _Between) -> Span:
        """When the row's task was made: where it has one neighbour alone, the list's order tells the rest."""
        if row.before_ms is not None and row.after_ms is not None:
            return (min(row.before_ms, row.after_ms), max(row.before_ms, row.after_ms))
        retention_end_ms = row.after_ms if row.before_ms is None else row.before_ms
        if retention_end_ms is None or not self._direction:
            return EVER
        is_newer = (row.before_ms is None) == (self._direction < 0)
        return (retention_end_ms, EVER[1]) if is_newer else (EVER[0], retention_end_ms)

    def _follow_order(self, created_ms: int) -> None:
        """Newest first or oldest first: without an order nobody sees rows move between pages."""
        step = 0 if self._last_ms is None else (created_ms > self._last_ms) - (created_ms < self._last_ms)
        self._is_broken |= step * self._direction < 0
        self._direction = self._direction or step
        self._last_ms = created_ms

    def _keep(self, task: ListedTask) -> None:
        if len(self.found) < MAX_FOUND:
            self.found[task.task_id] = task
        else:
            self._is_broken = True
