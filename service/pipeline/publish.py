"""One owned shard at work: events in, batches out, steps released once their batch is durable.

Group commit without a timer: a batch goes out when the shard is idle, and what comes meanwhile is the next
one. Nothing that follows from a change is done before the change is durable (N2).
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from service.clock import Clock
from service.core.batch import Appended, Batch, Committed, Refused, without_superseded
from service.core.events import (
    CancelTask,
    Event,
    HandlingFailed,
    Intended,
    QueueSubmit,
    Step,
    SubmitNotSent,
    Submitted,
)
from service.core.identity import JobKey
from service.core.moment import Moment, Rules
from service.core.record import Cursor
from service.core.shard import Change, Move, Shard
from service.kafka.writer import Writer
from service.pipeline.isolation import JobBorder
from service.pipeline.observer import Observer

PENDING_LIMIT = 2_000
"""From here on the shard takes no more requests until the broker has caught up."""
RETRY_SECONDS = 1.0
BEHIND_SECONDS = 2.0
"""A shard whose batch has been out for longer begins nothing that would only wait for the broker."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A durable batch: where it ends in the journal, and when it was sealed, by both clocks."""

    journal_offset: int
    sealed_boot_seconds: float
    sealed_ms: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every shard of the process shares."""

    clock: Clock
    rules: Rules
    observer: Observer
    carry_out: Callable[["OwnedShard", Step], None]


class OwnedShard:
    """A shard this process owns; its methods are called from the event loop only."""

    def __init__(self, state: Shard, writer: Writer, epoch: int, around: Surroundings) -> None:
        self.state = state
        self.epoch = epoch
        self.is_open = True
        self.takes_work = True
        """False while the shard is given back: what is open goes on, nothing new begins."""
        self.is_suspended = False
        """Whether the group has taken the partition away for now, and may well give it back."""
        self.calls: set[asyncio.Task[None]] = set()
        """Submits that are out: a drain waits for their answers."""
        self.long_calls: set[asyncio.Task[None]] = set()
        """Those of synchronous models, whose answers are the work itself: whoever gives the shard back gives
        them a time of their own."""
        self.writer = writer
        self.border = JobBorder(
            around.clock, partial(around.observer.internal_error, "job"), self._is_at_work, self._end
        )
        self._around = around
        self._pending: list[Move] = []
        self._receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._receipt_out: asyncio.Future[Receipt] | None = None
        self._sealed_boot_seconds: float | None = None
        self._writing = asyncio.Lock()
        """A writer takes one call at a time."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._durable_cursor = state.cursor
        self._batch_number = 0
        self._held: list[tuple[JobKey, Event]] = []
        """What came while suspended: at most one event for each call that was out."""

    @property
    def partition(self) -> int:
        """The request partition, and the journal partition, of the shard."""
        return self.state.partition

    @property
    def durable_cursor(self) -> Cursor:
        """How far requests are in the journal."""
        return self._durable_cursor

    @property
    def pending_moves(self) -> int:
        """Moves that wait for a batch."""
        return len(self._pending)

    @property
    def is_behind(self) -> bool:
        """Whether nothing may begin for now: the shard is given back, or the broker keeps a batch waiting.

        What is begun then would pile up in memory.
        """
        if not self.takes_work:
            return True
        sealed = self._sealed_boot_seconds
        return sealed is not None and self._around.clock.boot_seconds() - sealed > BEHIND_SECONDS

    def moment(self) -> Moment:
        """The world as the core is told of it."""
        return Moment(self._around.clock.now_ms(), self._around.clock.draw(), self._around.rules)

    def apply(self, key: JobKey, event: Event) -> None:
        """Let a job meet an event; on a closed shard nothing happens.

        While the shard is suspended another member may own it: a task id is written down, since it was paid
        for and counts for nothing behind a higher claim; what would end a job waits for `resume`.
        """
        if self.is_suspended and not isinstance(event, Submitted | SubmitNotSent):
            self._held.append((key, event))
        elif self.is_open and not self.border.has_given_up(key):
            with self.around(key, event):
                self.put(self.state.apply(key, event, self.moment()))

    def around(self, key: JobKey, event: Event) -> AbstractContextManager[None]:
        """The border around a job that meets an event; one that cannot be handled is met again."""
        return self.border.around(key, self._later(key, event), event)

    def _later(self, key: JobKey, event: Event) -> Callable[[], None]:
        """Meet an event that could not be handled again, if the job still stands where it stood."""
        before = self.state.jobs.get(key)

        def again() -> None:
            job = self.state.jobs.get(key)
            if job is None or before is None or (job.state, job.task_id) != (before.state, before.task_id):
                return
            if isinstance(event, Intended):
                # Its POST is not made without it: the job is as due as it was.
                self._carry_out(QueueSubmit(key, self._around.clock.now_ms()))
            else:
                self.apply(key, event)

        return again

    def _is_at_work(self) -> bool:
        return self.is_open and self.takes_work

    def _end(self, key: JobKey, event: HandlingFailed) -> None:
        self.put(self.state.apply(key, event, self.moment()))

    def suspend(self) -> None:
        """Begin nothing and end nothing until `resume`; calls on the wire go on."""
        self.takes_work, self.is_suspended = False, True

    def resume(self) -> None:
        """Go on: the shard is ours again and nobody had it meanwhile."""
        self.takes_work, self.is_suspended = True, False
        held, self._held = self._held, []
        for key, event in held:
            self.apply(key, event)

    def put(self, change: Change) -> None:
        """Queue a change's moves, carry out its free steps."""
        self._pending.extend(change.moves)
        self.wake()
        for word in change.doubts:
            self._around.observer.doubted(word)
        for step in change.steps:
            self._carry_out(step)

    def _carry_out(self, step: Step) -> None:
        """A task that is to be cancelled is nobody's any more; any other step is a job's."""
        if isinstance(step, CancelTask):
            self._around.carry_out(self, step)
            return
        with self.border.around(step.key, partial(self._carry_out, step)):
            self._around.carry_out(self, step)

    def wake(self) -> None:
        """Something is to be written: moves, or the cursor alone."""
        self._idle.clear()
        self._wake.set()

    def durable(self) -> "asyncio.Future[Receipt]":
        """Done when what is queued by now is durable; cancelled when the shard closes first."""
        return self._receipt

    async def run_until_closed(self) -> None:
        """Commit batches until the shard is closed, or this task is cancelled."""
        while self.is_open:
            await self._wake.wait()
            self._wake.clear()
            await self._flush()
            self._idle.set()

    async def _flush(self) -> None:
        while self.is_open and (self._pending or self.state.cursor != self._durable_cursor):
            await self._commit()

    async def rest(self) -> None:
        """Wait until no call is out and nothing is queued; the caller bounds it."""
        while self.is_open and (self.calls or self._is_writing):
            if self.calls:
                await asyncio.wait(self.calls)
            else:
                await self.written()

    async def written(self) -> None:
        """Wait until nothing is queued; the caller bounds it."""
        while self.is_open and self._is_writing:
            self.wake()
            await self._idle.wait()

    @property
    def _is_writing(self) -> bool:
        return bool(self._pending) or not self._idle.is_set()

    def mend(self, keys: Iterable[str]) -> None:
        """Write our own state over what a stranger wrote behind our claim."""
        self.put(Change(self.state.mend(keys)))

    def close(self) -> None:
        """Stop all effects: what comes later is dropped, and whoever waits is told."""
        self.is_open = False
        for receipt in (self._receipt, self._receipt_out):
            if receipt is not None:
                receipt.cancel()
        self._idle.set()
        self._wake.set()

    async def _commit(self) -> None:
        """Seal what is queued into one batch and see it through."""
        clock = self._around.clock
        taken, self._pending = self._pending, []
        self._receipt_out, self._receipt = self._receipt, asyncio.get_running_loop().create_future()
        cursor = self.state.cursor
        moves = (*without_superseded(taken), *self.state.sweep(clock.now_ms()))
        self._batch_number += 1
        batch = Batch(self._batch_number, moves, cursor if cursor != self._durable_cursor else None)
        # Read before the batch goes out: a commit that froze on its way must not make an intent look fresh.
        sealed_ms = clock.now_ms()
        self._sealed_boot_seconds = sealed_boot_seconds = clock.boot_seconds()
        committed = await self._append(batch)
        self._sealed_boot_seconds = None
        if committed is None or not self.is_open:
            # Behind a higher claim it counts for nothing, and the next owner does it all again.
            return
        self._durable_cursor = cursor
        self._around.observer.committed(len(moves), clock.boot_seconds() - sealed_boot_seconds)
        self._receipt_out.set_result(Receipt(committed.journal_offset, sealed_boot_seconds, sealed_ms))
        self._release(taken)

    async def _append(self, batch: Batch) -> Committed | None:
        """Append until it is known to be durable: a batch is kept, not dropped; None on a closed shard."""
        async with self._writing:
            return await self._append_until_known(batch)

    async def prove(self) -> Appended:
        """Show by one more commit that the writer has not been fenced; the caller bounds it."""
        async with self._writing:
            return await self.writer.prove()

    async def _append_until_known(self, batch: Batch) -> Committed | None:
        while self.is_open:
            answer = await self.writer.append(batch)
            if isinstance(answer, Committed):
                return answer
            if isinstance(answer, Refused):
                self._around.observer.fenced(self.partition, answer.reason)
                self.close()
                return None
            self._around.observer.retried(self.partition, answer.reason)
            await self._around.clock.sleep(RETRY_SECONDS)
        return None

    def _release(self, moves: list[Move]) -> None:
        for move in moves:
            if move.job_key is not None:
                self._settle(move.job_key)
            if move.outcome is not None:
                self._around.observer.published(move.outcome)
            for step in move.steps:
                self._carry_out(step)

    def _settle(self, key: JobKey) -> None:
        with self.border.around(key, partial(self._settle, key)):
            self.state.settle(key, self.moment())
            self.border.forget(key)
