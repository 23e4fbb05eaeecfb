"""Submit: take jobs that are due, write the intent down, then post, in that order (N2).

An intent is worth little time: the POST goes out only while it is fresh by two clocks, after the journal was
read back past it without a higher claim, on a shard that is still open. What comes too late is not sent.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.clock import Clock
from service.core.events import Event, Intended, SubmitLost, SubmitNotSent, SubmitRefused, Submitted
from service.core.job import Job, JobKey, State
from service.core.task import Accepted, Lost, NotSent, Refused, SubmitAnswer, Trouble
from service.pipeline.budgets import Budgets
from service.pipeline.due import Due
from service.pipeline.hold import Hold
from service.pipeline.publish import OwnedShard, Receipt
from service.provider.api import Provider

TOO_MANY_REQUESTS = 429
INTENT_SECONDS = 2.0
"""How long an intent is worth a POST, counted from the sealing of its batch."""


class Fence(Protocol):
    """Proof that nobody has claimed the shard before our intent."""

    async def proves(self, partition: int, offset: int) -> bool:
        """Wait until the journal is read back past `offset`; False when a higher claim came first."""
        ...


class Spawn(Protocol):
    """Start a task whose crash ends the process."""

    def __call__(self, coroutine: Coroutine[None, None, None], *, name: str) -> "asyncio.Task[None]":
        """The task; `name` tells it from others in a log."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What a submit needs: who takes it, who proves that it may go, and how many may be out."""

    provider: Provider
    fence: Fence
    spawn: Spawn
    in_flight: int


@dataclass(frozen=True, slots=True)
class Errand:
    """Jobs of one request that share a submit."""

    shard: OwnedShard
    keys: tuple[JobKey, ...]


class SubmitStage:
    """Submits what is due, within the budget of each model."""

    def __init__(self, desk: Desk, clock: Clock, hold: Hold, budgets: Budgets) -> None:
        self._desk = desk
        self._clock = clock
        self._hold = hold
        self._budgets = budgets
        self._out: set[asyncio.Task[None]] = set()
        self._due: Due[tuple[OwnedShard, JobKey]] = Due(clock)

    def queue(self, shard: OwnedShard, key: JobKey, due_ms: int) -> None:
        """Submit the job when it is due."""
        self._due.push(due_ms, (shard, key))

    def start_now(self, shard: OwnedShard, jobs: Sequence[Job]) -> None:
        """Submit freshly accepted jobs at once where nothing stands in the way.

        Their intents then share a batch with their accept. What finds no budget stays queued.
        """
        for group in sorted({job.group for job in jobs}):
            keys = tuple(job.key for job in jobs if job.group == group)
            if self._has_place() and not self._hold.is_active and self._take_budget(jobs[0].spec.model):
                self._send(Errand(shard, keys))

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Submit until cancelled."""
        while True:
            on_turn()
            item = await self._due.take()
            errand = due_together(*item, self._clock.now_ms()) if item else None
            if errand is not None:
                await self._send_when_allowed(errand, on_turn)

    async def _send_when_allowed(self, errand: Errand, on_turn: Callable[[], None]) -> None:
        """Wait for a place, the hold's probe and the budget."""
        model = errand.shard.state.jobs[errand.keys[0]].spec.model
        while not self._has_place():
            on_turn()
            await asyncio.wait(self._out, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        await self._hold.wait(on_turn)
        while not self._take_budget(model):
            on_turn()
            wait_seconds = self._budgets.submit(model).wait_seconds(self._clock.boot_seconds())
            await self._clock.sleep(min(1.0, wait_seconds))
        sent = self._send(errand)
        if self._hold.is_active:
            # A probe: its answer decides whether the next one may go.
            await asyncio.wait({sent})

    def _has_place(self) -> bool:
        return len(self._out) < self._desk.in_flight

    def _take_budget(self, model: str) -> bool:
        return self._budgets.submit(model).try_take(self._clock.boot_seconds())

    def _send(self, errand: Errand) -> "asyncio.Task[None]":
        """Intend at once, so that accept and intent can share a batch; the rest follows in a task."""
        for key in errand.keys:
            errand.shard.apply(key, Intended(self._clock.now_ms()))
        # Taken before anything can be sealed: this is the batch that holds the intents.
        receipt = errand.shard.durable()
        task = self._desk.spawn(self._submit(errand, receipt), name=f"submit {errand.keys[0]}")
        for tasks in (self._out, errand.shard.calls):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    async def _submit(self, errand: Errand, sealed: "asyncio.Future[Receipt]") -> None:
        shard = errand.shard
        jobs = [job for key in errand.keys if (job := shard.state.jobs.get(key))]
        intended = [job for job in jobs if job.state is State.SUBMITTING]
        receipt = await _durable(sealed) if intended else None
        if receipt is None:
            return
        answer = await self._post(shard, receipt, intended)
        self._judge(answer, intended[0].spec.model)
        for job in intended:
            shard.apply(job.key, _event(answer, len(intended)))

    def _judge(self, answer: SubmitAnswer, model: str) -> None:
        self._hold.judge(answer)
        if isinstance(answer, Refused) and answer.trouble.http_status == TOO_MANY_REQUESTS:
            self._budgets.submit(model).penalise(self._clock.boot_seconds())

    async def _post(self, shard: OwnedShard, receipt: Receipt, jobs: list[Job]) -> SubmitAnswer:
        if not await self._is_proven(shard, receipt) or not self._is_fresh(receipt) or not shard.is_open:
            return NotSent(Trouble("intent_too_old", "the intent was not proven in time"))
        spec = jobs[0].spec
        return await self._desk.provider.submit(spec.model, [job.file_url for job in jobs], spec.options)

    async def _is_proven(self, shard: OwnedShard, receipt: Receipt) -> bool:
        try:
            async with asyncio.timeout(INTENT_SECONDS):
                return await self._desk.fence.proves(shard.partition, receipt.journal_offset)
        except TimeoutError:
            return False

    def _is_fresh(self, receipt: Receipt) -> bool:
        """By the boot clock, which runs while a machine is suspended, and by the wall clock."""
        boot_age_seconds = self._clock.boot_seconds() - receipt.sealed_boot_seconds
        wall_age_seconds = (self._clock.now_ms() - receipt.sealed_ms) / 1000
        return boot_age_seconds <= INTENT_SECONDS and wall_age_seconds <= INTENT_SECONDS


def due_together(shard: OwnedShard, key: JobKey, now_ms: int) -> Errand | None:
    """The job and those of its request that may share its submit and are due too; None when it is not due."""
    job = shard.state.jobs.get(key)
    if job is None or not shard.takes_work or not shard.is_open or not _is_unsent(job):
        return None
    siblings = (shard.state.jobs.get(JobKey(*key.request, index)) for index in range(job.spec.file_count))
    due = [each for each in siblings if each and each.group == job.group and _is_unsent(each)]
    return Errand(shard, tuple(each.key for each in due if each.due_ms <= now_ms or each.key == key))


def _is_unsent(job: Job) -> bool:
    return job.state in (State.ACCEPTED, State.WAITING)


async def _durable(receipt: "asyncio.Future[Receipt]") -> Receipt | None:
    """The receipt of the batch with the intent; None when the shard closed first."""
    await asyncio.wait({receipt})
    return None if receipt.cancelled() else receipt.result()


def _event(answer: SubmitAnswer, task_files: int) -> Event:
    match answer:
        case Accepted(task_id):
            return Submitted(task_id, task_files)
        case Refused(trouble):
            return SubmitRefused(trouble)
        case Lost(trouble):
            return SubmitLost(trouble)
        case NotSent(trouble):
            return SubmitNotSent(trouble)
