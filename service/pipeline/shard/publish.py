"""Publish: write outcomes and journal records in bounded batches; report each group as durable.

There is no timer: a batch is sent when none is in flight, and groups that arrive meanwhile wait for the next.
A batch is kept until its outcome is known; after an unknown outcome the writer looks it up and divides it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from service.clock import Clock
from service.core.shard.batches import Appended, Batch, BatchRefused, Committed, Group, Pending
from service.frozen import dataclass
from service.kafka.writing.writer_port import Writer
from service.pipeline.shard.backlog import Backlog
from service.pipeline.shard.observer import Observer

RETRY_SECONDS = 1.0
"""The wait before a batch is sent again: the client itself has retried for as long as it may."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The durable batch that holds a group: where it ends in the journal, and when it was sealed.

    The clocks are read before the batch is sent: a commit that stalls must not make an intent look fresh.
    """

    journal_offset: int
    sealed_boot_seconds: float
    sealed_wall_ms: int


@dataclass(frozen=True, slots=True)
class CommitHooks:
    """Called around a batch: `before` it is sealed, and `on_durable` for each group once it is durable."""

    before: Callable[[], None]
    on_durable: Callable[[Group], None]


class Publisher:
    """The batches of one shard; its methods are called from the event loop only."""

    def __init__(
        self,
        partition: int,
        writer: Writer,
        clock: Clock,
        backlog: Backlog,
        observer: Observer,
        hooks: CommitHooks,
    ) -> None:
        self.partition = partition
        self.writer = writer
        self.is_open = True
        self._clock = clock
        self._backlog = backlog
        self._observer = observer
        self._hooks = hooks
        self._pending = Pending()
        self._in_flight: Batch | None = None
        self._receipts: dict[int, tuple[Group, asyncio.Future[Receipt]]] = {}
        """Receipts that callers wait for, by the `id` of the group."""
        self._sealed_boot_seconds: float | None = None
        self._writing = asyncio.Lock()
        """A writer takes one call at a time."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._batch_number = 0

    @property
    def size_bytes(self) -> int:
        """Bytes that wait for the broker, including the batch in flight."""
        return self._pending.size_bytes + (self._in_flight.size_bytes if self._in_flight else 0)

    @property
    def is_writing(self) -> bool:
        """Whether any group is not durable yet."""
        return bool(self._pending) or self._in_flight is not None

    @property
    def in_flight_seconds(self) -> float:
        """How long the current batch has been in flight."""
        sealed = self._sealed_boot_seconds
        return 0.0 if sealed is None else self._clock.boot_seconds() - sealed

    def groups(self) -> Iterator[Group]:
        """The groups that are not durable yet."""
        yield from self._in_flight.groups if self._in_flight else ()
        yield from self._pending.groups

    def queue(self, groups: Iterable[Group]) -> None:
        """Write the groups with the next batches."""
        groups = tuple(groups)
        if self.is_open and groups:
            self._pending.add(groups)
            self._backlog.add(sum(group.size_bytes for group in groups))
            self._idle.clear()
            self._wake.set()

    def durable(self, group: Group | None) -> "asyncio.Future[Receipt]":
        """Done once the group's batch is durable.

        Cancelled if closed first, or without a group.

        Call it in the same turn of the event loop in which the group was queued.
        """
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if group is None or not self.is_open:
            receipt.cancel()
            return receipt
        # By identity, since equal groups may wait at once. The group is kept, so that its id stays its own.
        return self._receipts.setdefault(id(group), (group, receipt))[1]

    async def run_until_closed(self) -> None:
        """Commit batches until closed or until this task is cancelled."""
        while self.is_open:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                await self._commit()
            self._idle.set()

    async def wait_until_written(self) -> None:
        """Wait until everything is durable; the caller sets the timeout."""
        while self.is_open and self.is_writing:
            self._wake.set()
            await self._idle.wait()

    async def prove(self) -> Appended:
        """Prove by one more commit that the writer is not fenced.

        The caller sets the timeout.
        """
        async with self._writing:
            return await self.writer.prove()

    async def release(self) -> None:
        """Journal that we make no more calls for the shard; the caller sets the timeout."""
        async with self._writing:
            if self.is_open:
                await self.writer.release()

    def close(self) -> None:
        """Write nothing more; cancel the receipts that callers wait for."""
        if self.is_open:
            self.is_open = False
            self._backlog.remove(self.size_bytes)
            self._pending, self._in_flight = Pending(), None
        for _, receipt in self._receipts.values():
            receipt.cancel()
        self._receipts.clear()
        self._idle.set()
        self._wake.set()

    async def _commit(self) -> None:
        """Seal queued groups into one batch, append it, and report its groups as durable."""
        self._hooks.before()
        self._batch_number += 1
        batch = self._in_flight = self._pending.take(self._batch_number)
        sealed_wall_ms, sealed_boot_seconds = self._clock.wall_ms(), self._clock.boot_seconds()
        self._sealed_boot_seconds = sealed_boot_seconds
        committed = await self._append(batch)
        self._sealed_boot_seconds = None
        if committed is None or not self.is_open:
            # Behind a higher claim the batch is ignored, and the next owner repeats its work.
            return
        self._in_flight = None
        self._backlog.remove(batch.size_bytes)
        records = sum(group.record_count for group in batch.groups)
        self._observer.committed(records, self._clock.boot_seconds() - sealed_boot_seconds)
        receipt = Receipt(committed.journal_offset, sealed_boot_seconds, sealed_wall_ms)
        for group in batch.groups:
            self._receive(group, receipt)
            self._hooks.on_durable(group)

    def _receive(self, group: Group, receipt: Receipt) -> None:
        _, asked = self._receipts.pop(id(group), (group, None))
        if asked is not None and not asked.done():
            asked.set_result(receipt)

    async def _append(self, batch: Batch) -> Committed | None:
        """Append until the batch is known to be durable, never drop it; None once closed."""
        async with self._writing:
            return await self._append_until_known(batch)

    async def _append_until_known(self, batch: Batch) -> Committed | None:
        while self.is_open:
            answer = await self.writer.append(batch)
            if isinstance(answer, Committed):
                return answer
            if isinstance(answer, BatchRefused):
                self._observer.fenced(self.partition, answer.reason)
                self.close()
                return None
            self._observer.retried(self.partition, answer.reason)
            await self._clock.sleep(RETRY_SECONDS)
        return None
