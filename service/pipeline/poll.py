"""Poll: look at provider tasks when they are due, within the account's query budget.

One look serves all jobs of a task. A look that fails costs nothing but a later look. Where the budget does
not reach for all that is due, what may be gone first is looked at first.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote

from service.clock import Clock
from service.core.events import Event, Looked, LookFailed
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.outage import TOO_MANY_REQUESTS
from service.core.task import FileView, TaskView, Trouble
from service.core.urgency import Line, edge_ms, rank
from service.pipeline.budgets import Budgets
from service.pipeline.due import LONGEST_WAIT_SECONDS, Due
from service.pipeline.hold import Hold
from service.pipeline.publish import OwnedShard
from service.pipeline.submit import BEHIND_MS, Spawn
from service.provider.api import Provider

CANCELS_WAITING = 1_000
"""A minute's worth of the account's whole quota: later than that a task has hardly stayed pending."""


@dataclass(frozen=True, slots=True)
class Lookout:
    """What a look needs: who is asked, what bounds it, and who is told of a cancel that found no place."""

    provider: Provider
    budgets: Budgets
    hold: Hold
    spawn: Spawn
    in_flight: int
    on_cancel_dropped: Callable[[], None]


@dataclass(slots=True)
class Watched:
    """A task that somebody waits for."""

    shard: OwnedShard
    keys: set[JobKey] = field(default_factory=set)

    def waiting(self, task_id: str) -> list[Job]:
        """Its jobs that still wait for the task."""
        found = (self.shard.state.jobs.get(key) for key in sorted(self.keys))
        return [job for job in found if job is not None and job.task_id == task_id]

    @property
    def is_suspended(self) -> bool:
        """Whether another member may be about to look."""
        return self.shard.is_open and self.shard.is_suspended

    def is_wanted(self, task_id: str) -> bool:
        """Whether a look is worth a call."""
        return self.shard.is_open and any(job.state is State.RUNNING for job in self.waiting(task_id))


class PollStage:
    """Looks at tasks."""

    def __init__(self, lookout: Lookout, clock: Clock) -> None:
        self._lookout = lookout
        self._clock = clock
        self._budget = lookout.budgets.query
        self._out: set[asyncio.Task[None]] = set()
        self._due: Due[str] = Due(clock)
        self._line: Line[str] = Line()
        """What is due and waits for a place or for budget."""
        self._watched: dict[str, Watched] = {}
        self._cancels: deque[str] = deque()
        self._trouble: Trouble | None = None
        """What the last look met, None where it was answered."""

    def reason(self) -> str:
        """Why looks come to nothing at the moment; empty where they do not."""
        return "" if self._trouble is None else f"the last look at a task failed: {self._trouble.message}"

    def watch(self, shard: OwnedShard, key: JobKey, task_id: str, due_ms: int) -> None:
        """Look at the task when it is due; the first time asked for counts for all its jobs."""
        if task_id not in self._watched:
            self._watched[task_id] = Watched(shard)
            self._due.push(due_ms, task_id)
        watched = self._watched[task_id]
        # After a take-over inside one process the task belongs to the new owner.
        watched.shard = shard
        watched.keys.add(key)

    def cancel(self, task_id: str) -> None:
        """Ask the provider to drop a pending task; the job is over whatever the answer."""
        if len(self._cancels) >= CANCELS_WAITING:
            self._lookout.on_cancel_dropped()
            return
        self._cancels.append(task_id)
        self._cancel_ready()
        # What found no place or budget must not wait until something else ends the loop's wait.
        self._due.wake()

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Look, and cancel, until cancelled."""
        wait_seconds = LONGEST_WAIT_SECONDS
        while True:
            on_turn()
            task_id = await self._due.take(wait_seconds)
            if task_id is not None:
                watched, again = (
                    self._watched[task_id],
                    partial(self._due.push, self._clock.now_ms(), task_id),
                )
                with watched.shard.border.around(min(watched.keys), again):
                    self._line_up(task_id)
            wait_seconds = min(self._cancel_ready(), self._look_ready())

    def _line_up(self, task_id: str) -> None:
        now_ms = self._clock.now_ms()
        if self._watched[task_id].is_suspended:
            self._due.push(now_ms + BEHIND_MS, task_id)
            return
        edges = [edge_ms(job) for job in self._watched[task_id].waiting(task_id)]
        self._line.push(rank(min(edges, default=now_ms), now_ms), task_id)

    def _look_ready(self) -> float:
        """Look at what may be looked at; returns how long until more may.

        Who asks for a task while it waits shares its look.
        """
        while self._line:
            _, task_id = self._line.first
            if self._watched[task_id].is_suspended:
                self._due.push(self._clock.now_ms() + BEHIND_MS, self._line.pop())
                continue
            is_wanted = self._watched[task_id].is_wanted(task_id)
            wait_seconds = self._wait_seconds() if is_wanted else 0.0
            if wait_seconds > 0:
                return wait_seconds
            watched = self._watched.pop(self._line.pop())
            if is_wanted:
                self._budget.try_take(self._clock.boot_seconds())
                self._lookout.hold.look()
                self._start(self._look(task_id, watched), name=f"look {task_id}")
        return LONGEST_WAIT_SECONDS

    def _wait_seconds(self) -> float:
        """How long until a look may go; who gives a place back wakes the loop."""
        if self._is_full:
            return LONGEST_WAIT_SECONDS
        budget_seconds = self._budget.wait_seconds(self._clock.boot_seconds())
        return max(budget_seconds, self._lookout.hold.look_wait_seconds())

    @property
    def _is_full(self) -> bool:
        return len(self._out) >= self._lookout.in_flight

    def _cancel_ready(self) -> float:
        """Send the cancels that may go; returns how long until more may."""
        budget = self._lookout.budgets.cancel
        while self._cancels and not self._is_full:
            if not budget.try_take(self._clock.boot_seconds()):
                return budget.wait_seconds(self._clock.boot_seconds())
            task_id = self._cancels.popleft()
            self._start(self._drop(task_id), name=f"cancel {task_id}")
        return LONGEST_WAIT_SECONDS

    async def _drop(self, task_id: str) -> None:
        await self._lookout.provider.cancel(task_id)

    def _start(self, call: Coroutine[None, None, None], *, name: str) -> None:
        task = self._lookout.spawn(call, name=name)
        self._out.add(task)
        task.add_done_callback(self._out.discard)
        task.add_done_callback(lambda _task: self._due.wake())

    async def _look(self, task_id: str, watched: Watched) -> None:
        answer = await self._lookout.provider.query(task_id)
        self._lookout.hold.judge_look(answer)
        self._trouble = answer if isinstance(answer, Trouble) else None
        if isinstance(answer, Trouble) and answer.http_status == TOO_MANY_REQUESTS:
            self._budget.penalise(self._clock.boot_seconds())
        for job in watched.waiting(task_id):
            again = partial(self.watch, watched.shard, job.key, task_id, self._clock.now_ms())
            with watched.shard.border.around(job.key, again):
                watched.shard.apply(job.key, _event(answer, job))


def _event(answer: TaskView | Trouble, job: Job) -> Event:
    if isinstance(answer, Trouble):
        return LookFailed(answer)
    return Looked(answer, file_of(answer, job))


def file_of(task: TaskView, job: Job) -> FileView | None:
    """The job's part of the task: by its URL, never by its place.

    The vendor may echo the URL with other percent escapes; a task of one file needs no match at all.
    """
    exact = [file for file in task.files if file.file_url == job.file_url]
    if exact:
        return exact[0]
    alike = [file for file in task.files if unquote(file.file_url) == unquote(job.file_url)]
    if len(alike) == 1:
        return alike[0]
    return task.files[0] if len(task.files) == 1 and job.task_files == 1 else None
