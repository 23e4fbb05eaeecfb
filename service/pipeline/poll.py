"""Poll: look at provider tasks when they are due, within the account's query budget.

One look serves all jobs of a task. A look that fails costs nothing but a later look.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from urllib.parse import unquote

from service.clock import Clock
from service.core.events import Event, Looked, LookFailed
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.task import FileView, TaskView, Trouble
from service.pipeline.budgets import Budgets
from service.pipeline.due import SHORTEST_WAIT_SECONDS, Due
from service.pipeline.publish import OwnedShard
from service.pipeline.submit import BEHIND_MS, TOO_MANY_REQUESTS, Spawn
from service.provider.api import Provider


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

    def __init__(
        self, provider: Provider, clock: Clock, budgets: Budgets, spawn: Spawn, in_flight: int
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._budget = budgets.query
        self._cancels = budgets.cancel
        self._spawn = spawn
        self._in_flight = in_flight
        self._out: set[asyncio.Task[None]] = set()
        self._due: Due[str] = Due(clock)
        self._watched: dict[str, Watched] = {}

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
        if len(self._out) < self._in_flight and self._cancels.try_take(self._clock.boot_seconds()):
            self._start(self._drop(task_id), name=f"cancel {task_id}")

    async def _drop(self, task_id: str) -> None:
        await self._provider.cancel(task_id)

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Look until cancelled."""
        while True:
            on_turn()
            task_id = await self._due.take()
            if task_id is not None:
                await self._look_when_allowed(task_id, on_turn)

    async def _look_when_allowed(self, task_id: str, on_turn: Callable[[], None]) -> None:
        """Wait for a place and the budget; who else asks for the task meanwhile shares the look."""
        while len(self._out) >= self._in_flight:
            on_turn()
            await asyncio.wait(self._out, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        while wait_seconds := self._budget.wait_seconds(self._clock.boot_seconds()):
            on_turn()
            await self._clock.sleep(min(1.0, max(SHORTEST_WAIT_SECONDS, wait_seconds)))
        if self._watched[task_id].is_suspended:
            self._due.push(self._clock.now_ms() + BEHIND_MS, task_id)
            return
        watched = self._watched.pop(task_id)
        if watched.is_wanted(task_id) and self._budget.try_take(self._clock.boot_seconds()):
            self._start(self._look(task_id, watched), name=f"look {task_id}")

    def _start(self, call: Coroutine[None, None, None], *, name: str) -> None:
        task = self._spawn(call, name=name)
        self._out.add(task)
        task.add_done_callback(self._out.discard)

    async def _look(self, task_id: str, watched: Watched) -> None:
        answer = await self._provider.query(task_id)
        if isinstance(answer, Trouble) and answer.http_status == TOO_MANY_REQUESTS:
            self._budget.penalise(self._clock.boot_seconds())
        for job in watched.waiting(task_id):
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
