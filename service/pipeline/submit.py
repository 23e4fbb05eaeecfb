"""Submit: take jobs that are due, write the intent down, then post, in that order (N2).

An intent is worth little time: the POST goes out only while it is fresh by two clocks, after the journal was
read back past it without a higher claim, on a shard that is still ours. What comes too late is not sent.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.clock import Clock
from service.core.events import Event, Intended, SubmitLost, SubmitNotSent, SubmitRefused, Submitted
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.task import Accepted, Lost, NotSent, Refused, SubmitAnswer, Trouble
from service.pipeline.budgets import Budgets
from service.pipeline.due import LONGEST_WAIT_SECONDS, Due
from service.pipeline.hold import Hold
from service.pipeline.publish import OwnedShard, Receipt
from service.provider.api import Provider

TOO_MANY_REQUESTS = 429
INTENT_SECONDS = 2.0
"""How long an intent is worth a POST, counted from the sealing of its batch."""
RECEIPT_SECONDS = 10.0
"""A shard whose batch hangs gives its places back after this: other shards have work too."""
BEHIND_MS = 1_000
"""How long a job waits that belongs to a shard which cannot write at the moment."""
TOO_LATE = NotSent(Trouble("intent_too_old", "the submit could not go out while its intent was worth it"))


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
    model: str
    keys: tuple[JobKey, ...]


Queued = tuple[OwnedShard, JobKey]


class SubmitStage:
    """Submits what is due, within the budget of each model; a model that must wait holds up no other."""

    def __init__(self, desk: Desk, clock: Clock, hold: Hold, budgets: Budgets) -> None:
        self._desk = desk
        self._clock = clock
        self._hold = hold
        self._budgets = budgets
        self._out: set[asyncio.Task[None]] = set()
        self._due: Due[Queued] = Due(clock)
        self._ready: OrderedDict[str, OrderedDict[Queued, None]] = OrderedDict()
        """What is due and waits for budget, a place or the hold's end, by model; each job once."""

    def queue(self, shard: OwnedShard, key: JobKey, due_ms: int) -> None:
        """Submit the job when it is due."""
        self._due.push(due_ms, (shard, key))

    def start_now(self, shard: OwnedShard, jobs: Sequence[Job]) -> None:
        """Submit freshly accepted jobs at once where nothing stands in the way, no older job either.

        Their intents then share a batch with their accept. What finds no budget stays queued.
        """
        for group in sorted({job.group for job in jobs}):
            keys = tuple(job.key for job in jobs if job.group == group)
            model = jobs[0].spec.model
            is_free = not shard.is_behind and model not in self._ready
            if is_free and not self._wait_seconds(model):
                self._send(Errand(shard, model, keys))

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Submit until cancelled."""
        wait_seconds = LONGEST_WAIT_SECONDS
        while True:
            on_turn()
            queued = await self._due.take(wait_seconds)
            if queued is None:
                self._forget_closed()
            else:
                self._make_ready(queued)
            wait_seconds = self._send_ready()

    def _make_ready(self, queued: Queued) -> None:
        shard, key = queued
        job = shard.state.jobs.get(key)
        if job is not None:
            self._ready.setdefault(job.spec.model, OrderedDict())[queued] = None

    def _forget_closed(self) -> None:
        """A hold may last for days: what waits for its end must not keep shards that went meanwhile."""
        for lane in self._ready.values():
            for queued in [queued for queued in lane if not queued[0].is_open]:
                del lane[queued]

    def _send_ready(self) -> float:
        """Send what may go of every model; returns how long until more may."""
        wait_seconds = LONGEST_WAIT_SECONDS
        for model in list(self._ready):
            wait_seconds = min(wait_seconds, self._send_lane(model))
            if not self._ready[model]:
                del self._ready[model]
        return wait_seconds

    def _send_lane(self, model: str) -> float:
        lane = self._ready[model]
        while lane:
            wait_seconds = self._wait_seconds(model)
            if wait_seconds > 0:
                return wait_seconds
            (shard, key), _ = lane.popitem(last=False)
            errand = due_together(shard, key, self._clock.now_ms())
            if errand is not None and shard.is_behind:
                self._due.push(self._clock.now_ms() + BEHIND_MS, (shard, key))
            elif errand is not None:
                self._send(errand)
                # The next place is another model's, where places are short.
                self._ready.move_to_end(model)
        return LONGEST_WAIT_SECONDS

    def _wait_seconds(self, model: str) -> float:
        """How long until a submit of the model may go; who gives a place back wakes the loop."""
        if len(self._out) >= self._desk.in_flight:
            return LONGEST_WAIT_SECONDS
        budget_seconds = self._budgets.submit(model).wait_seconds(self._clock.boot_seconds())
        return max(budget_seconds, self._hold.wait_seconds())

    def _send(self, errand: Errand) -> None:
        """Intend at once, so that accept and intent can share a batch; the rest follows in a task."""
        self._budgets.submit(errand.model).try_take(self._clock.boot_seconds())
        is_probe = self._hold.is_active
        self._hold.probe()
        for key in errand.keys:
            errand.shard.apply(key, Intended(self._clock.now_ms()))
        # Taken before anything can be sealed: this is the batch that holds the intents.
        sealed = errand.shard.durable()
        task = self._desk.spawn(self._submit(errand, sealed, is_probe), name=f"submit {errand.keys[0]}")
        for tasks in (self._out, errand.shard.calls):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _task: self._due.wake())

    async def _submit(self, errand: Errand, sealed: "asyncio.Future[Receipt]", is_probe: bool) -> None:
        shard = errand.shard
        receipt = await _durable(sealed)
        is_proven = receipt is not None and await self._is_proven(shard, receipt) and self._is_fresh(receipt)
        # From here on nothing is waited for until the POST: what is true now is true when it goes out.
        jobs = [job for key in errand.keys if (job := shard.state.jobs.get(key)) and _is_intended(job)]
        wanted = [job for job in jobs if not job.cancelled]
        is_stopped = not (shard.is_open and shard.takes_work) or (self._hold.is_active and not is_probe)
        answer = await self._post(wanted) if wanted and is_proven and not is_stopped else TOO_LATE
        self._judge(answer, errand.model)
        for job in jobs:
            shard.apply(job.key, _event(TOO_LATE if job.cancelled else answer, len(wanted)))

    async def _post(self, jobs: Sequence[Job]) -> SubmitAnswer:
        spec = jobs[0].spec
        return await self._desk.provider.submit(spec.model, [job.file_url for job in jobs], spec.options)

    def _judge(self, answer: SubmitAnswer, model: str) -> None:
        self._hold.judge(answer)
        if isinstance(answer, Refused) and answer.trouble.http_status == TOO_MANY_REQUESTS:
            self._budgets.submit(model).penalise(self._clock.boot_seconds())

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
    """The job and those of its request that may share its submit and are due too; None when it may not go."""
    job = shard.state.jobs.get(key)
    if job is None or not shard.is_open or not _is_unsent(job):
        return None
    siblings = (shard.state.jobs.get(JobKey(*key.request, index)) for index in range(job.spec.file_count))
    due = [each for each in siblings if each and each.group == job.group and _is_unsent(each)]
    keys = tuple(each.key for each in due if each.due_ms <= now_ms or each.key == key)
    return Errand(shard, job.spec.model, keys)


def _is_unsent(job: Job) -> bool:
    return job.state in (State.ACCEPTED, State.WAITING)


def _is_intended(job: Job) -> bool:
    return job.state is State.SUBMITTING


async def _durable(sealed: "asyncio.Future[Receipt]") -> Receipt | None:
    """The receipt of the batch with the intent; None when the shard closed first, or it takes too long."""
    await asyncio.wait({sealed}, timeout=RECEIPT_SECONDS)
    return sealed.result() if sealed.done() and not sealed.cancelled() else None


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
