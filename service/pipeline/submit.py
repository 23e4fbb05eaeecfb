"""Submit: take jobs that are due, write the intent down, then post, in that order (N2).

An intent is worth little time: the POST goes out only while it is fresh by two clocks, after the journal was
read back past it without a higher claim, on a shard that is still ours. What comes too late is not sent.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from service.clock import Clock
from service.contract.models import model_info
from service.core.division import group_alone
from service.core.events import Event, Intended, SubmitLost, SubmitNotSent, SubmitRefused, Submitted
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.moment import INTENT_SECONDS, RECEIPT_SECONDS
from service.core.task import Accepted, Answered, Lost, NotSent, Refused, SubmitAnswer, Trouble
from service.pipeline import transcripts
from service.pipeline.due import LONGEST_WAIT_SECONDS, Due
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


@dataclass(frozen=True, slots=True)
class Errand:
    """Jobs of one request that share a submit."""

    shard: OwnedShard
    keys: tuple[JobKey, ...]
    group: int | None = None
    """That they get, where they are not all of their group."""
    intended_ms: int = 0
    intended_boot_seconds: float = 0.0


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
        if not jobs or not self._has_list(jobs[0]):
            return
        lane = Lane(jobs[0].spec.model)
        for group in sorted({job.group for job in jobs}):
            keys = [job.key for job in jobs if job.group == group]
            most = self._desk.files.most(lane.model) or len(keys)
            for first in range(0, len(keys), most):
                errand = _errand(shard, keys[first : first + most], of=len(keys))
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
                self._make_ready(queued)
            wait_seconds = self._send_ready()

    def _make_ready(self, queued: Queued) -> None:
        shard, key = queued
        job = shard.state.jobs.get(key)
        if job is None:
            return
        if self._has_list(job):
            lane = Lane(job.spec.model, is_retry=job.state is State.WAITING)
            self._ready.setdefault(lane, OrderedDict())[queued] = None
        elif shard.is_open and _is_unsent(job):
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
        return LONGEST_WAIT_SECONDS

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
        shard = errand.shard
        receipt = await _durable(sealed)
        is_proven = receipt is not None and await self._is_proven(shard, receipt) and self._is_fresh(receipt)
        # From here on nothing is waited for until the POST: what is true now is true when it goes out.
        jobs = [job for key in errand.keys if (job := shard.state.jobs.get(key)) and _is_intended(job)]
        wanted = [job for job in jobs if not job.cancelled]
        is_stopped = not (shard.is_open and shard.takes_work and self._gate.may_post(leave))
        is_stopped |= self._is_stale(errand)
        answer = await self._post(wanted) if wanted and is_proven and not is_stopped else TOO_LATE
        self._gate.judge(answer, leave)
        self._desk.files.learn(answer, leave.model, len(wanted))
        event = _event(answer, len(wanted), leave.model, in_outage=self._gate.is_out(leave.model))
        for job in jobs:
            shard.apply(job.key, SubmitNotSent(TOO_LATE.trouble) if job.cancelled else event)

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


def due_together(shard: OwnedShard, key: JobKey, now_ms: int, most: int | None = None) -> Errand | None:
    """The job and those of its request that may share its submit and are due too, `most` of them at most;
    None when it may not go."""
    job = shard.state.jobs.get(key)
    if job is None or not shard.is_open or not _is_unsent(job):
        return None
    siblings = (shard.state.jobs.get(JobKey(*key.request, index)) for index in range(job.spec.file_count))
    due = [each for each in siblings if each and each.group == job.group and _is_unsent(each)]
    others = [each.key for each in due if each.due_ms <= now_ms and each.key != key]
    together = sorted([key, *others[: None if most is None else most - 1]])
    return _errand(shard, together, of=1 + len(others))


def _errand(shard: OwnedShard, keys: Sequence[JobKey], *, of: int) -> Errand:
    """The errand for some `of` so many jobs; a part gets a group of its own, so that it is known again."""
    group = group_alone(keys[0].file_index) if len(keys) < of else None
    return Errand(shard, tuple(keys), group)


def is_synchronous(model: str) -> bool:
    """Whether a submit of the model answers with the transcript."""
    info = model_info(model)
    return info is not None and info.is_synchronous


def _is_unsent(job: Job) -> bool:
    return job.state in (State.ACCEPTED, State.WAITING)


def _is_intended(job: Job) -> bool:
    return job.state is State.SUBMITTING


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
