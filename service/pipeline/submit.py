"""Submit: take jobs that are due, write the intent down, then post, in that order (N2).

An intent is worth little time: the POST goes out only while it is fresh by two clocks, after the journal was
read back past it without a higher claim, on a shard that is still ours. What comes too late is not sent.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from service.clock import Clock
from service.core.events import Event, Intended, SubmitLost, SubmitNotSent, SubmitRefused, Submitted
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.moment import INTENT_SECONDS, RECEIPT_SECONDS
from service.core.task import Accepted, Answered, Lost, NotSent, Refused, SubmitAnswer, Trouble
from service.pipeline import transcripts
from service.pipeline.due import LONGEST_WAIT_SECONDS, Due
from service.pipeline.errand import Errand, due_together, errand_of, intended, is_synchronous, is_unsent
from service.pipeline.file_limits import FileLimits
from service.pipeline.gate import Gate, Lane, Leave
from service.pipeline.publish import OwnedShard, Receipt
from service.pipeline.vocabulary import VocabularyStage
from service.provider.api import Provider

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
    vocabularies: VocabularyStage
    in_flight: int
    """As many again of synchronous models, whose submits take as long as the work."""
    files: FileLimits = field(default_factory=FileLimits)


Queued = tuple[OwnedShard, JobKey]


class SubmitStage:
    """Submits what is due, as its gate allows; a lane that must wait holds up no other."""

    def __init__(self, desk: Desk, clock: Clock, gate: Gate) -> None:
        self._desk = desk
        self._clock = clock
        self._gate = gate
        self._out: set[asyncio.Task[None]] = set()
        self._calls_out: set[asyncio.Task[None]] = set()
        self._due: Due[Queued] = Due(clock)
        self._ready: OrderedDict[Lane, OrderedDict[Queued, None]] = OrderedDict()
        """What is due and waits for a place or at the gate; each job once."""

    def queue(self, shard: OwnedShard, key: JobKey, due_ms: int) -> None:
        """Submit the job when it is due."""
        self._due.push(due_ms, (shard, key))

    def start_now(self, shard: OwnedShard, jobs: Sequence[Job]) -> None:
        """Submit freshly accepted jobs at once where nothing stands in the way, no older job either.

        Their intents then share a batch with their accept. What finds no budget stays queued.
        """
        if jobs:
            # What is not started here is queued once it is durable.
            with shard.border.around(jobs[0].key, _nothing):
                self._start_now(shard, jobs)

    def _start_now(self, shard: OwnedShard, jobs: Sequence[Job]) -> None:
        if not self._has_list(jobs[0]):
            return
        lane = Lane(jobs[0].spec.model)
        for group in sorted({job.group for job in jobs}):
            keys = [job.key for job in jobs if job.group == group]
            most = self._desk.files.most(lane.model) or len(keys)
            for first in range(0, len(keys), most):
                errand = errand_of(shard, keys[first : first + most], of=len(keys))
                is_free = not shard.is_behind and lane not in self._ready
                if is_free and not self._wait_seconds(lane):
                    self._send(errand, lane)

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Submit until cancelled."""
        wait_seconds = LONGEST_WAIT_SECONDS
        while True:
            on_turn()
            self._gate.brake.wait_seconds()  # also with nothing to submit, operators see it begin and end
            queued = await self._due.take(wait_seconds)
            if queued is None:
                self._forget_closed()
            else:
                with self._border(queued):
                    self._make_ready(queued)
            wait_seconds = self._send_ready()

    def _border(self, queued: Queued) -> AbstractContextManager[None]:
        """A job that cannot be handled goes back into the queue."""
        shard, key = queued
        return shard.border.around(key, lambda: self._due.push(self._clock.now_ms(), queued))

    def _make_ready(self, queued: Queued) -> None:
        shard, key = queued
        job = shard.state.jobs.get(key)
        if job is None:
            return
        if self._has_list(job):
            lane = Lane(job.spec.model, is_retry=job.state is State.WAITING)
            self._ready.setdefault(lane, OrderedDict())[queued] = None
        elif shard.is_open and is_unsent(job):
            self._desk.vocabularies.want(shard, job, lambda: self._due.push(self._clock.now_ms(), queued))

    def _has_list(self, job: Job) -> bool:
        return self._desk.vocabularies.is_at_hand(job.spec)

    def _forget_closed(self) -> None:
        """A hold may last for days: what waits for its end must not keep shards that went meanwhile."""
        for lane in self._ready.values():
            for queued in [queued for queued in lane if not queued[0].is_open]:
                del lane[queued]

    def _send_ready(self) -> float:
        """Send what may go of every lane; returns how long until more may."""
        wait_seconds = LONGEST_WAIT_SECONDS
        for lane in list(self._ready):
            wait_seconds = min(wait_seconds, self._send_lane(lane))
            if not self._ready[lane]:
                del self._ready[lane]
        return wait_seconds

    def _send_lane(self, lane: Lane) -> float:
        waiting = self._ready[lane]
        while waiting:
            wait_seconds = self._wait_seconds(lane)
            if wait_seconds > 0:
                return wait_seconds
            queued, _ = waiting.popitem(last=False)
            with self._border(queued):
                self._send_queued(queued, lane)
        return LONGEST_WAIT_SECONDS

    def _send_queued(self, queued: Queued, lane: Lane) -> None:
        shard, key = queued
        errand = due_together(shard, key, self._clock.now_ms(), self._desk.files.most(lane.model))
        if errand is not None and shard.is_behind:
            self._due.push(self._clock.now_ms() + BEHIND_MS, queued)
        elif errand is not None and not self._has_list(shard.state.jobs[key]):
            # It waited for longer than what was found of its list is believed.
            self._make_ready(queued)
        elif errand is not None:
            self._send(errand, lane)
            # The next place is another lane's, where places are short.
            self._ready.move_to_end(lane)

    def _wait_seconds(self, lane: Lane) -> float:
        """How long until a submit of the lane may go; who gives a place back wakes the loop."""
        if len(self._places(lane)) >= self._desk.in_flight:
            return LONGEST_WAIT_SECONDS
        return self._gate.wait_seconds(lane)

    def _places(self, lane: Lane) -> set[asyncio.Task[None]]:
        """What is out of the lane's way."""
        return self._calls_out if is_synchronous(lane.model) else self._out

    def _send(self, errand: Errand, lane: Lane) -> None:
        """Intend at once, so that accept and intent can share a batch; the rest follows in a task."""
        leave = self._gate.enter(lane)
        # One moment for all: by it a later owner knows which jobs shared a submit.
        now_ms, boot_seconds = self._clock.now_ms(), self._clock.boot_seconds()
        offset_ms = self._desk.provider.clock_offset_ms()
        intended = Intended(now_ms, len(errand.keys), offset_ms, errand.group)
        errand = replace(errand, intended_ms=now_ms, intended_boot_seconds=boot_seconds)
        for key in errand.keys:
            errand.shard.apply(key, intended)
        # Taken before anything can be sealed: this is the batch that holds the intents.
        sealed = errand.shard.durable()
        task = self._desk.spawn(self._submit(errand, sealed, leave), name=f"submit {errand.keys[0]}")
        calls = errand.shard.long_calls if is_synchronous(lane.model) else errand.shard.calls
        for tasks in (self._places(lane), calls):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _task: self._due.wake())

    async def _submit(self, errand: Errand, sealed: "asyncio.Future[Receipt]", leave: Leave) -> None:
        shard, key = errand.shard, errand.keys[0]
        jobs: list[Job] = intended(errand)
        answer: SubmitAnswer = TOO_LATE
        with shard.border.around(key, _nothing):
            # What is raised in here has let nothing leave: a provider raises nothing once a byte may have.
            jobs, answer = await self._posted(errand, sealed, leave)
        posted = [job.key for job in jobs if not job.cancelled]
        files = len(posted)
        made = Submitted(answer.task_id, files) if isinstance(answer, Accepted) and key in posted else None
        with shard.border.around(key, _nothing, made):
            self._gate.judge(answer, leave)
            self._desk.files.learn(answer, leave.model, files)
        told = partial(_event, answer, files, leave.model, in_outage=self._gate.is_out(leave.model))
        for job in jobs:
            _tell(shard, job.key, partial(SubmitNotSent, TOO_LATE.trouble) if job.cancelled else told)

    async def _posted(
        self, errand: Errand, sealed: "asyncio.Future[Receipt]", leave: Leave
    ) -> tuple[list[Job], SubmitAnswer]:
        """The errand's jobs as they are when the POST goes out, or would have, and its answer."""
        shard = errand.shard
        receipt = await _durable(sealed)
        is_proven = receipt is not None and await self._is_proven(shard, receipt) and self._is_fresh(receipt)
        # From here on nothing is waited for until the POST: what is true now is true when it goes out.
        jobs = intended(errand)
        wanted = [job for job in jobs if not job.cancelled]
        is_stopped = not (shard.is_open and shard.takes_work and self._gate.may_post(leave))
        is_stopped |= self._is_stale(errand)
        return jobs, await self._post(wanted) if wanted and is_proven and not is_stopped else TOO_LATE

    async def _post(self, jobs: Sequence[Job]) -> SubmitAnswer:
        spec = jobs[0].spec
        options = self._desk.vocabularies.as_sent(spec)
        if options is None:
            return TOO_LATE
        return await self._desk.provider.submit(spec.model, [job.file_url for job in jobs], options)

    async def _is_proven(self, shard: OwnedShard, receipt: Receipt) -> bool:
        try:
            async with asyncio.timeout(INTENT_SECONDS):
                return await self._desk.fence.proves(shard.partition, receipt.journal_offset)
        except TimeoutError:
            return False

    def _is_stale(self, errand: Errand) -> bool:
        """Where a later owner would look for the task counts from the intent, however late it was sealed."""
        longest_seconds = RECEIPT_SECONDS + INTENT_SECONDS
        boot_age_seconds = self._clock.boot_seconds() - errand.intended_boot_seconds
        wall_age_seconds = (self._clock.now_ms() - errand.intended_ms) / 1000
        return max(boot_age_seconds, wall_age_seconds) > longest_seconds

    def _is_fresh(self, receipt: Receipt) -> bool:
        """By the boot clock, which runs while a machine is suspended, and by the wall clock."""
        boot_age_seconds = self._clock.boot_seconds() - receipt.sealed_boot_seconds
        wall_age_seconds = (self._clock.now_ms() - receipt.sealed_ms) / 1000
        return boot_age_seconds <= INTENT_SECONDS and wall_age_seconds <= INTENT_SECONDS


def _tell(shard: OwnedShard, key: JobKey, told: Callable[[], Event]) -> None:
    """Let the job meet what became of its POST; an answer that cannot be read is read again later."""
    with shard.border.around(key, partial(_tell, shard, key, told)):
        shard.apply(key, told())


def _nothing() -> None:
    """What follows goes on all the same."""


async def _durable(sealed: "asyncio.Future[Receipt]") -> Receipt | None:
    """The receipt of the batch with the intent; None when the shard closed first, or it takes too long."""
    await asyncio.wait({sealed}, timeout=RECEIPT_SECONDS)
    return sealed.result() if sealed.done() and not sealed.cancelled() else None


def _event(answer: SubmitAnswer, task_files: int, model: str, *, in_outage: bool) -> Event:
    match answer:
        case Accepted(task_id):
            return Submitted(task_id, task_files)
        case Answered():
            return transcripts.heard(answer, model)
        case Refused(trouble):
            return SubmitRefused(trouble, in_outage)
        case Lost(trouble):
            return SubmitLost(trouble)
        case NotSent(trouble):
            return SubmitNotSent(trouble)
