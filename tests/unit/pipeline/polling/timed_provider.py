"""A provider whose tasks end after a time, and whose list can be wrong in every way that a list can."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from service.core.provider.answers import ListedTask, ProviderError, TaskPage, TaskStatus, TaskView
from service.provider.api import NO_SLOT, Permit, at_once
from tests.fakes.provider import FakeProvider, FakeTask
from tests.unit.pipeline.world import World

Rows = Sequence[ListedTask]


def _truth(rows: Rows) -> Rows:
    return rows


@dataclass
class TimedProvider(FakeProvider):
    """Tasks run for `run_seconds`, by their number from 1; `ended_at` and `seen_at` tell when each has ended,
    and when a query showed so, `asked_at` when it was queried.

    `rewrite` makes of the list's true rows what the list says; with `heeds_status` cleared it shows all tasks
    whatever is asked for. An entry of `list_seconds` is how long each list call takes.
    """

    run_seconds: Callable[[int], float] = lambda number: 60.0
    rewrite: Callable[[Rows], Rows] = _truth
    heeds_status: bool = True
    pending_seconds: float = 0.0
    states_total: bool = True
    list_seconds: float = 0.05
    lists_error: ProviderError | None = None
    refuses_status: bool = False
    ended_at: dict[str, float] = field(default_factory=dict)
    seen_at: dict[str, float] = field(default_factory=dict)
    asked_at: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sleep: Callable[[float], Any] = field(kw_only=True)

    @property
    def now(self) -> float:
        """Seconds of the clock."""
        return self.now_ms() / 1000

    def late(self) -> list[float]:
        """How long after its end each task was seen, in seconds; those that were not are missing."""
        return [self.seen_at[each] - ended for each, ended in self.ended_at.items() if each in self.seen_at]

    def _make(self, model: str, file_urls: tuple[str, ...], options: dict[str, Any]) -> FakeTask:
        task = super()._make(model, file_urls, options)
        self.ended_at[task.task_id] = self.now + self.run_seconds(len(self.submits))
        return task

    def _state(self, task: FakeTask, now: float) -> TaskStatus:
        ended = self.ended_at.get(task.task_id)
        if ended is None:
            return task.statuses[-1]
        if ended <= now:
            return TaskStatus.SUCCEEDED
        is_pending = now < task.created_ms / 1000 + self.pending_seconds
        return TaskStatus.PENDING if is_pending else TaskStatus.RUNNING

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """The task's true state."""
        if not await permit():
            return NO_SLOT
        self.calls.append(("query", task_id))
        self.asked_at[task_id].append(self.now)
        task = self.task(task_id)
        assert task is not None
        view = self._view(task, self._state(task, self.now))
        if view.status is TaskStatus.SUCCEEDED:
            self.seen_at.setdefault(task_id, self.now)
            begun = datetime.fromtimestamp(task.created_ms / 1000, UTC).replace(tzinfo=None)
            ended = begun + timedelta(seconds=self.ended_at[task_id] - task.created_ms / 1000)
            view = replace(view, submit_time=str(begun), end_time=str(ended))
        return view

    async def list_tasks(
        self, page_no: int, permit: Permit = at_once, status: TaskStatus | None = None
    ) -> TaskPage | ProviderError:
        """A page of what the list says, newest first."""
        if not await permit():
            return NO_SLOT
        self.calls.append(("list", f"{status or 'all'} {page_no}"))
        rows = self._rows(status if self.heeds_status else None)
        await self.sleep(self.list_seconds)
        if self.lists_error is not None:
            return self.lists_error
        if self.refuses_status and status is not None:
            return ProviderError("InvalidParameter", "status is invalid", 400)
        page = tuple(rows[(page_no - 1) * self.page_size : page_no * self.page_size])
        return TaskPage(page, len(rows) if self.states_total else None)

    def _rows(self, status: TaskStatus | None) -> Rows:
        """The list's rows of that status; of all, for None."""
        now = self.now
        tasks = sorted((*self.submits, *self.strangers), key=attrgetter("created_ms"), reverse=True)
        states = [(each, self._state(each, now)) for each in tasks]
        if self.rewrite is _truth:
            states = [(each, state) for each, state in states if status in (None, state)]
        rows = self.rewrite([ListedTask(each.task_id, state, each.created_ms) for each, state in states])
        return [row for row in rows if status in (None, row.status)]


def provider_of(world: World) -> TimedProvider:
    """The world's provider."""
    assert isinstance(world.provider, TimedProvider)
    return world.provider
