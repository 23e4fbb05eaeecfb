"""The loop that owns one shard: it applies events, commits batches and releases the steps of durable groups.

No consequence of a change happens before its group is durable (N2); `publish` writes.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
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
from service.frozen import dataclass
from service.kafka.writing.writer_port import Writer
from service.pipeline.guards.call_limiter import Call
from service.pipeline.shard.backlog import Backlog
from service.pipeline.shard.event_stage import proves_stage_works, stage_of, stage_of_step
from service.pipeline.shard.fault_boundary import Event, FaultBoundary, Key
from service.pipeline.shard.observer import BoundaryName, Observer
from service.pipeline.shard.publish import CommitHooks, Publisher, Receipt
from service.pipeline.shard.stage_breaker import StageBreaker, StageName
from service.pipeline.shard.subjects import request_of, state_of, subject_of, writes
from service.pipeline.shard.tracer import Tracer

BEHIND_SECONDS = 2.0
"""If a batch is in flight for longer, the shard starts no work that would only wait for the broker."""
TOMBSTONES_BELOW_BYTES = 512 * 1024
"""Tombstones are written only while fewer bytes wait: everything else goes first."""


@dataclass(frozen=True, slots=True)
class RunnerDeps:
    """What all shards of the process share."""

    clock: Clock
    rules: Rules
    observer: Observer
    dispatch: Callable[["ShardRunner", Step], None]
    breaker: StageBreaker
    backlog: Backlog
    tracer: Tracer | None = None


class ShardRunner:
    """A shard that this process owns; its methods are called from the event loop only."""

    def __init__(self, state: Shard, writer: Writer, epoch: int, deps: RunnerDeps) -> None:
        self.state = state
        self.epoch = epoch
        self.takes_work = True
        """False while the shard is given back: open work goes on, nothing new starts."""
        self.is_suspended = False
        """Whether the group has revoked the partition and may return it."""
        self.is_draining = False
        """Whether the shard is drained for good: it is never resumed."""
        self.is_restoring = False
        """Whether the restore's groups and steps are still being queued."""
        self.calls: dict[asyncio.Task[None], Call] = {}
        """Submits in flight; a drain waits for their answers."""
        self.long_calls: dict[asyncio.Task[None], Call] = {}
        """Submits of synchronous models, whose answers are the results; a drain waits longer for them."""
        self.boundary = FaultBoundary(
            deps.clock,
            deps.breaker,
            partial(deps.observer.internal_error, BoundaryName.JOB),
            lambda key: request_of(self.state, key),
            self._may_end,
            self._end,
        )
        self._deps = deps
        state.mark_durable(state.cursor)
        self._commits = Publisher(
            state.partition,
            writer,
            deps.clock,
            deps.backlog,
            deps.observer,
            CommitHooks(self._add_tombstones, self._on_durable),
        )
        self._held: list[tuple[Key, Event]] = []
        """Events that arrived while suspended, from calls in flight and from reconcile passes."""

    @property
    def partition(self) -> int:
        """The request partition, and the journal partition, of the shard."""
        return self.state.partition

    @property
    def is_open(self) -> bool:
        """Whether the shard may still have effects."""
        return self._commits.is_open

    @property
    def writer(self) -> Writer:
        """The writer of its batches."""
        return self._commits.writer

    @property
    def tracer(self) -> Tracer | None:
        """Who is told of the steps of traced requests; None: nobody."""
        return self._deps.tracer

    @property
    def durable_cursor(self) -> Cursor:
        """The cursor up to which requests are in the journal."""
        return self.state.durable_cursor

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the broker, including the batch in flight."""
        return self._commits.size_bytes

    @property
    def fill(self) -> float:
        """How full the backlog is, of this shard or of the process; 1.0 is full."""
        return self._deps.backlog.fill(self.pending_bytes)

    @property
    def has_room(self) -> bool:
        """Whether work that writes and can wait may begin.

        Answers to calls are written in any case.
        """
        return not self.is_restoring and self.fill < 1.0

    @property
    def is_behind(self) -> bool:
        """Whether new work would pile up: the shard is being given back, or its batch is slow."""
        return not self.takes_work or self._commits.in_flight_seconds > BEHIND_SECONDS

    def context(self) -> Context:
        """The times, random draw and rules for one decision of the core."""
        clock = self._deps.clock
        return Context(clock.now_ms(), clock.draw(), self._deps.rules, clock.confirmed_ms())

    def on_submission(self, key: SubmissionKey, event: SubmissionEvent) -> Change:
        """Apply an event to a submission.

        Return the change that was queued, empty on a closed shard.

        While the shard is suspended, another member may own it. A task id, which is paid for, and an unsent
        POST are journalled even then; behind a higher claim they are ignored. Other events wait for `resume`.
        """
        if self.is_suspended and not isinstance(event, Posted | SubmitNotSent):
            self._held.append((key, event))
            return Change()
        # One POST serves all jobs of its submission: either all are intended or none.
        boundary = without_boundary if isinstance(event, Intended) else self.guard
        return self._apply(key, event, lambda now: self.state.on_submission(key, event, now, boundary))

    def on_job(self, ref: JobRef, event: JobEvent) -> Change:
        """Apply an event to a job.

        Return the change that was queued. While suspended, the event waits.
        """
        if self.is_suspended:
            self._held.append((ref, event))
            return Change()
        return self._apply(ref, event, partial(self.state.on_job, ref, event))

    def guard(self, key: Key, event: Event) -> AbstractContextManager[None]:
        """The boundary around applying an event.

        If handling fails, the event is applied again later.
        """
        return self.boundary.guard(key, self._again(key, event), stage_of(event), event)

    def _apply(self, key: Key, event: Event, decide: Callable[[Context], Change]) -> Change:
        change = Change()
        if self.is_open and not self.boundary.has_given_up(key):
            with self.guard(key, event):
                change = decide(self.context())
                self.put(change)
                if proves_stage_works(event):
                    self._deps.breaker.succeeded(stage_of(event))
        return change

    def _again(self, key: Key, event: Event) -> Callable[[], None]:
        """Make the retry of an event: apply it again if its job or submission has not moved on."""
        before = state_of(self.state, key)
        # While a shard is being loaded, its state is not visible yet.
        is_restored = isinstance(event, JobRestored | SubmissionRestored)

        def again() -> None:
            if not is_restored and (before is None or state_of(self.state, key) != before):
                return
            if isinstance(key, SubmissionKey) and isinstance(event, Intended):
                # No POST is made without its intent, so the submission is still due.
                self._dispatch(QueueSubmit(key, self._deps.clock.now_ms()))
            else:
                self._on_event(key, event)

        return again

    def _on_event(self, key: Key, event: Event) -> None:
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
        """Start nothing and end nothing until `resume`; calls in flight go on."""
        self.takes_work, self.is_suspended = False, True

    def resume(self) -> None:
        """Continue: the shard is ours again and nobody else claimed it meanwhile."""
        self.takes_work, self.is_suspended = True, False
        held, self._held = self._held, []
        for key, event in held:
            self._on_event(key, event)

    def close(self) -> None:
        """Stop all effects: drop later events and cancel pending receipts."""
        self._commits.close()

    def drop_state(self) -> None:
        """Let go of a closed shard's jobs and of what it remembers.

        The runner is part of reference cycles, and after a restore the garbage collector may never visit it
        again (`pipeline.assignment.garbage_collection`): a state that it kept would stay in memory for good.
        """
        assert not self.is_open
        gone = self.state
        self.state = Shard(gone.partition, gone.epoch, gone.durable_cursor, gone.window)
        self._held.clear()

    def put(self, change: Change) -> None:
        """Queue a change's groups; dispatch the steps that need no durable group."""
        self._commits.queue(change.groups)
        for uncertain_outcome in change.uncertain_outcomes:
            self._deps.observer.uncertain(uncertain_outcome)
        for step in change.steps:
            self._dispatch(step)

    def durable(self, change: Change, of: SubmissionKey | None = None) -> "asyncio.Future[Receipt]":
        """The receipt of the batch with the submission's group, or without `of` the change's last group.

        Cancelled if the shard closes first or there is no such group. Call it in the same turn as `put`.
        """
        groups = [group for group in change.groups if of is None or writes(group, of)]
        return self._commits.durable(groups[-1] if groups else None)

    def rewrite(self, keys: Iterable[str]) -> None:
        """Write our state again under journal keys that another writer overwrote behind our claim."""
        self.put(self.state.rewrite(keys))

    def not_durable(self) -> Iterator[Key]:
        """Jobs and submissions that wait for a batch to become durable, or whose event is held."""
        for group in self._commits.groups():
            yield from group.ended
            yield from (key for key in map(subject_of, group.steps) if key is not None)
        yield from (key for key, _ in self._held)

    def _dispatch(self, step: Step) -> None:
        """Dispatch a step inside its subject's boundary.

        A cancel has none, since its jobs have ended.
        """
        key = subject_of(step)
        if key is None:
            self._deps.dispatch(self, step)
            return
        with self.boundary.guard(key, partial(self._dispatch, step), stage_of_step(step)):
            self._deps.dispatch(self, step)

    async def run_until_closed(self) -> None:
        """Commit batches until the shard is closed or this task is cancelled."""
        await self._commits.run_until_closed()

    async def wait_for_calls(self) -> None:
        """Wait until no call is in flight and nothing is queued.

        The caller sets the timeout.
        """
        while self.is_open and (self.calls or self._commits.is_writing):
            if self.calls:
                await asyncio.wait(self.calls)
            else:
                await self.wait_until_written()

    async def wait_until_written(self) -> None:
        """Wait until nothing is queued; the caller sets the timeout."""
        await self._commits.wait_until_written()

    async def prove(self) -> Appended:
        """Prove by one more commit that the writer is not fenced.

        The caller sets the timeout.
        """
        return await self._commits.prove()

    async def release(self) -> None:
        """Journal that we make no more calls for the shard; the caller sets the timeout."""
        await self._commits.release()

    def _add_tombstones(self) -> None:
        """Add tombstones to the next batch while little else waits."""
        if self.takes_work and self.pending_bytes < TOMBSTONES_BELOW_BYTES:
            with self.boundary.isolate(f"tombstones of partition {self.partition}"):
                self.put(self.state.expired_tombstones(self._deps.clock.confirmed_ms()))

    def _on_durable(self, group: Group) -> None:
        """Act on a durable group; each step has a boundary of its own."""
        if group.cursor is not None:
            self.state.mark_durable(group.cursor)
        for ref in group.ended:
            self._forget_job(ref)
        for outcome in group.outcomes:
            self._deps.observer.published(outcome)
            if self._deps.tracer is not None:
                self._deps.tracer.published(outcome)
        for step in group.steps:
            self._dispatch(step)

    def _forget_job(self, ref: JobRef) -> None:
        with self.boundary.guard(ref, partial(self._forget_job, ref), StageName.PUBLISH):
            self.state.forget_job(ref, self.context())
            self.boundary.forget(ref)
            self._deps.breaker.succeeded(StageName.PUBLISH)
