"""One reading of the account's list of tasks, page by page: what it showed, and whether it showed all.

Rules this module guarantees:

1. A reading that may have missed a task is not complete: a page failed, a row could not be read, its order
   shows that rows moved between two pages, it holds fewer rows than it says, it shows tasks of the future,
   or it does not show a task of ours that must be there, at the time at which it was made.
2. A reading that is not complete is still worth what it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.core.task import ListedTask, TaskPage

Span = tuple[float, float]
"""The first and the last millisecond of the vendor's clock."""
MAX_FOUND = 50_000
"""Tasks kept of one reading: beyond, it counts as incomplete."""


def is_within(created_ms: float, spans: Sequence[Span]) -> bool:
    """Whether the moment lies in one of the spans."""
    return any(first <= created_ms <= last for first, last in spans)


@dataclass(slots=True)
class Reading:
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

    @property
    def is_complete(self) -> bool:
        """Whether nothing can have been missed."""
        is_whole = self._total is None or self._rows >= self._total
        return self.is_over and is_whole and not self._is_broken and self._seen >= self.witnesses.keys()

    def add(self, page: TaskPage, latest_ms: float) -> None:
        """Take the next page; `latest_ms` is what the vendor's clock says by now, at the most."""
        self._is_broken |= page.unreadable > 0
        if not page.tasks:
            self.is_over = True
            return
        repeated = self._repeated(page)
        has_shrunk = None not in (page.total, self._total) and (page.total or 0) < (self._total or 0)
        # Rows that left from before this page have pulled others over the border, unread.
        self._is_broken |= has_shrunk and not repeated
        for task in page.tasks[repeated:]:
            self._take(task, latest_ms)
        self._rows += len(page.tasks)
        self._total = page.total
        self._page = frozenset(task.task_id for task in page.tasks)

    def fail(self) -> None:
        """A page could not be read: nothing comes after it."""
        self._is_broken = True

    def _repeated(self, page: TaskPage) -> int:
        """How many rows at the page's beginning the last one had: new tasks have pushed them over."""
        rows = (number for number, task in enumerate(page.tasks) if task.task_id not in self._page)
        return next(rows, len(page.tasks))

    def _take(self, task: ListedTask, latest_ms: float) -> None:
        self._is_broken |= task.task_id in self._page or task.created_ms > latest_ms
        self._follow_order(task.created_ms)
        witness = self.witnesses.get(task.task_id)
        if witness is not None and is_within(task.created_ms, (witness,)):
            self._seen.add(task.task_id)
        if is_within(task.created_ms, self.spans):
            self._keep(task)

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
