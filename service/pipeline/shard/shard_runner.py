"""The loop that owns one shard: events in, bounded batches out, steps released once their group is durable.

Nothing that follows from a change is done before its group is durable (N2); `group_commit` writes.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from service.clock import Clock
from service.core.job.events import (
    HandlingFailed,
    Intended,
    JobEvent,
    JobRestored,
    Posted,
    QueueSubmit,
    Step,
    SubmissionEvent,
    SubmissionRestored,
    SubmitNotSent,
)
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.request_record import Cursor
from service.core.job.transition_context import Context, Rules, without_boundary
from service.core.shard.batches import Appended, Change, Group
from service.core.shard.shard import Shard
from service.kafka.writing.at_least_once import Writer
from service.pipeline.admission.call_limiter import Call
from service.pipeline.shard.backlog import Backlog
from service.pipeline.shard.event_stage import is_word_on_stage, stage_of, stage_of_step
from service.pipeline.shard.fault_isolation import Event, FaultBoundary, Key
from service.pipeline.shard.group_commit import CommitHooks, GroupCommit, Receipt
from service.pipeline.shard.observer import Observer
from service.pipeline.shard.stage_breaker import StageBreaker, StageName
from service.pipeline.shard.subjects import request_of, state_of, subject_of, writes

BEHIND_SECONDS = 2.0
"""A shard whose batch has been in flight for longer begins nothing that would only wait for the broker."""
SWEEP_BELOW_BYTES = 512 * 1024
"""Tombstones are written while less than this waits: they can wait for everything else."""


@dataclass(frozen=True, slots=True)
class RunnerDeps:
    """What every shard of the process shares."""

    clock: Clock
    rules: Rules
    observer: Observer
    dispatch: Callable[["ShardRunner", Step], None]
    breaker: StageBreaker
    backlog: Backlog


class ShardRunner:
    """A shard that this process owns; its methods are called from the event loop only."""

    def __init__(self, state: Shard, writer: Writer, epoch: int, deps: RunnerDeps) -> None:
        self.state = state
        self.epoch = epoch
        self.takes_work = True
        """False while the shard is given back: what is open goes on, nothing new begins."""
        self.is_suspended = False
        """Whether the group has taken the partition away for now, and may well give it back."""
        self.is_restoring = False
        """Whether steps of the restore are still to be put."""
        self.calls: dict[asyncio.Task[None], Call] = {}
        """Submits in flight: a drain waits for their answers."""
        self.long_calls: dict[asyncio.Task[None], Call] = {}
        """Those of synchronous models, whose answers are the work itself: a drain gives them longer."""
        self.boundary = FaultBoundary(
            deps.clock,
            deps.breaker,
            partial(deps.observer.internal_error, "job"),
            partial(request_of, state),
            self._may_end,
            self._end,
        )
        self._deps = deps
        state.durable_cursor = state.cursor
        self._commits = GroupCommit(
            state.partition,
            writer,
            deps.clock,
            deps.backlog,
            deps.observer,
            CommitHooks(self._sweep, self._release),
        )
        self._held: list[tuple[Key, Event]] = []
        """What came while suspended: from each call that was in flight, and from passes over the list."""

    @property
    def partition(self) -> int:
        """The request partition, and the journal partition, of the shard."""
        return self.state.partition

    @property
    def is_open(self) -> bool:
        """Whether it still has effects."""
        return self._commits.is_open

    @property
    def writer(self) -> Writer:
        """What its batches go through."""
        return self._commits.writer

    @property
    def durable_cursor(self) -> Cursor:
        """How far requests are in the journal."""
        return self.state.durable_cursor

    @property
    def pending_bytes(self) -> int:
        """What waits for the broker, the batch in flight included."""
        return self._commits.size_bytes

    @property
    def fill(self) -> float:
        """Which part is taken of what may wait for the broker, in this shard or in the process."""
        return self._deps.backlog.fill(self.pending_bytes)

    @property
    def has_room(self) -> bool:
        """Whether who produces may go on."""
        return not self.is_restoring and self.fill < 1.0

    @property
    def is_behind(self) -> bool:
        """Whether nothing may begin for now, which would pile up: given back, or a batch is kept waiting."""
        return not self.takes_work or self._commits.in_flight_seconds > BEHIND_SECONDS

    def context(self) -> Context:
        """The world as the core is told of it."""
        clock = self._deps.clock
        return Context(clock.now_ms(), clock.draw(), self._deps.rules, clock.confirmed_ms())

    def on_submission(self, key: SubmissionKey, event: SubmissionEvent) -> Change:
        """Let a submission meet an event; the change is what was put of it, empty on a closed shard.

        While the shard is suspended another member may own it: a task id is written down, since it was paid
        for and counts for nothing behind a higher claim; all else waits for `resume`.
        """
        if self.is_suspended and not isinstance(event, Posted | SubmitNotSent):
            self._held.append((key, event))
            return Change()
        # A POST is for all jobs of its submission: they are intended together, or none is.
        boundary = without_boundary if isinstance(event, Intended) else self.guard
        return self._meet(key, event, lambda now: self.state.on_submission(key, event, now, boundary))

    def on_job(self, ref: JobRef, event: JobEvent) -> Change:
        """Let a job meet an event; the change is what was put of it. While suspended it waits."""
        if self.is_suspended:
            self._held.append((ref, event))
            return Change()
        return self._meet(ref, event, partial(self.state.on_job, ref, event))

    def guard(self, key: Key, event: Event) -> AbstractContextManager[None]:
        """The border around what meets an event; what cannot be handled meets it again."""
        return self.boundary.guard(key, self._again(key, event), stage_of(event), event)

    def _meet(self, key: Key, event: Event, decide: Callable[[Context], Change]) -> Change:
        change = Change()
        if self.is_open and not self.boundary.has_given_up(key):
            with self.guard(key, event):
                change = decide(self.context())
                self.put(change)
                if is_word_on_stage(event):
                    self._deps.breaker.succeeded(stage_of(event))
        return change

    def _again(self, key: Key, event: Event) -> Callable[[], None]:
        """Meet an event that could not be handled again, if its subject still stands where it stood."""
        before = state_of(self.state, key)
        # While a shard is loaded, what it holds cannot be seen yet.
        is_restored = isinstance(event, JobRestored | SubmissionRestored)

        def again() -> None:
            if not is_restored and (before is None or state_of(self.state, key) != before):
                return
            if isinstance(key, SubmissionKey) and isinstance(event, Intended):
                # Its POST is not made without it: the submission is as due as it was.
                self._dispatch(QueueSubmit(key, self._deps.clock.now_ms()))
            else:
                self._tell(key, event)

        return again

    def _tell(self, key: Key, event: Event) -> None:
        if isinstance(key, JobRef) and isinstance(event, JobEvent):
            self.on_job(key, event)
        elif isinstance(key, SubmissionKey) and isinstance(event, SubmissionEvent):
            self.on_submission(key, event)

    def _may_end(self) -> bool:
        return self.is_open and self.takes_work

    def _end(self, key: Key, event: HandlingFailed) -> None:
        if isinstance(key, JobRef):
            self.put(self.state.on_job(key, event, self.context()))
            return
        for job in self.state.open_jobs(key):
            self.on_job(job.ref, event)

    def suspend(self) -> None:
        """Begin nothing and end nothing until `resume`; calls in flight go on."""
        self.takes_work, self.is_suspended = False, True

    def resume(self) -> None:
        """Go on: the shard is ours again and nobody had it meanwhile."""
        self.takes_work, self.is_suspended = True, False
        held, self._held = self._held, []
        for key, event in held:
            self._tell(key, event)

    def close(self) -> None:
        """Stop all effects: what comes later is dropped, and whoever waits is told."""
        self._commits.close()

    def put(self, change: Change) -> None:
        """Queue a change's groups, carry out its free steps."""
        self._commits.queue(change.groups)
        for uncertain_outcome in change.uncertain_outcomes:
            self._deps.observer.uncertain(uncertain_outcome)
        for step in change.steps:
            self._dispatch(step)

    def durable(self, change: Change, of: SubmissionKey | None = None) -> "asyncio.Future[Receipt]":
        """The receipt of the batch that holds the submission's group, or else the change's last group.

        Cancelled when the shard closes first, or without such a group. Ask in the turn of the change's `put`.
        """
        groups = [group for group in change.groups if of is None or writes(group, of)]
        return self._commits.durable(groups[-1] if groups else None)

    def rewrite(self, keys: Iterable[str]) -> None:
        """Write our own state over what a stranger wrote behind our claim."""
        self.put(self.state.rewrite(keys))

    def unreleased(self) -> Iterator[Key]:
        """The jobs and submissions that something waits for which is not durable yet, or is held."""
        for group in self._commits.groups():
            yield from group.ended
            yield from (key for key in map(subject_of, group.steps) if key is not None)
        yield from (key for key, _ in self._held)

    def _dispatch(self, step: Step) -> None:
        """A task that is to be cancelled is nobody's any more; any other step is a job's or submission's."""
        key = subject_of(step)
        if key is None:
            self._deps.dispatch(self, step)
            return
        with self.boundary.guard(key, partial(self._dispatch, step), stage_of_step(step)):
            self._deps.dispatch(self, step)

    async def run_until_closed(self) -> None:
        """Commit batches until the shard is closed, or this task is cancelled."""
        await self._commits.run_until_closed()

    async def wait_for_calls(self) -> None:
        """Wait until no call is in flight and nothing is queued; the caller bounds it."""
        while self.is_open and (self.calls or self._commits.is_writing):
            if self.calls:
                await asyncio.wait(self.calls)
            else:
                await self.wait_until_written()

    async def wait_until_written(self) -> None:
        """Wait until nothing is queued; the caller bounds it."""
        await self._commits.wait_until_written()

    async def prove(self) -> Appended:
        """Show by one more commit that no other has fenced the writer; the caller bounds it."""
        return await self._commits.prove()

    async def release(self) -> None:
        """Say in the journal that we call nobody for the shard any more; the caller bounds it."""
        await self._commits.release()

    def _sweep(self) -> None:
        """Tombstones go out along with the next batch, while little else waits."""
        if self.takes_work and self.pending_bytes < SWEEP_BELOW_BYTES:
            with self.boundary.isolate(f"tombstones of partition {self.partition}"):
                self.put(self.state.sweep(self._deps.clock.confirmed_ms()))

    def _release(self, group: Group) -> None:
        """Let follow what a durable group permits, each step behind a border of its own."""
        self.state.durable_cursor = group.cursor or self.state.durable_cursor
        for ref in group.ended:
            self._forget_job(ref)
        for outcome in group.outcomes:
            self._deps.observer.published(outcome)
        for step in group.steps:
            self._dispatch(step)

    def _forget_job(self, ref: JobRef) -> None:
        with self.boundary.guard(ref, partial(self._forget_job, ref), StageName.PUBLISH):
            self.state.forget_job(ref, self.context())
            self.boundary.forget(ref)
            self._deps.breaker.succeeded(StageName.PUBLISH)
