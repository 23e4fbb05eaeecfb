"""Group commit: groups of records wait here, go out in bounded batches, and are released once durable.

There is no timer: a batch goes out when none is in flight, and what comes meanwhile waits for the next ones.
A batch is kept until its end is known; after an unknown end the writer looks it up and divides it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from service.clock import Clock
from service.core.shard.batches import Appended, Batch, Committed, Group, Pending, Refused
from service.kafka.writing.at_least_once import Writer
from service.pipeline.shard.backlog import Backlog
from service.pipeline.shard.observer import CommitObserver

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """The durable batch that holds a group: where it ends in the journal, and when it was sealed.

    The clocks are read before the batch goes out: a commit that froze on its way must not make an intent look
    fresh.
    """

    journal_offset: int
    sealed_boot_seconds: float
    sealed_wall_ms: int


@dataclass(frozen=True, slots=True)
class CommitHooks:
    """What is called around a batch: before it is sealed, and with each group once it is durable."""

    before: Callable[[], None]
    release: Callable[[Group], None]


class GroupCommit:
    """What one shard writes; its methods are called from the event loop only."""

    def __init__(
        self,
        partition: int,
        writer: Writer,
        clock: Clock,
        backlog: Backlog,
        observer: CommitObserver,
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
        """Who waits for which group, by its identity."""
        self._sealed_boot_seconds: float | None = None
        self._writing = asyncio.Lock()
        """A writer takes one call at a time."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._batch_number = 0

    @property
    def size_bytes(self) -> int:
        """What waits for the broker, the batch in flight included."""
        return self._pending.size_bytes + (self._in_flight.size_bytes if self._in_flight else 0)

    @property
    def is_writing(self) -> bool:
        """Whether anything is not durable yet."""
        return bool(self._pending) or self._in_flight is not None

    @property
    def in_flight_seconds(self) -> float:
        """How long the batch in flight has been out."""
        sealed = self._sealed_boot_seconds
        return 0.0 if sealed is None else self._clock.boot_seconds() - sealed

    def groups(self) -> Iterator[Group]:
        """What is not durable yet."""
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
        """Done when the batch that holds the group is durable; cancelled when closed first, or for no group.

        To be asked in the turn in which the group was queued.
        """
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if group is None or not self.is_open:
            receipt.cancel()
            return receipt
        return self._receipts.setdefault(id(group), (group, receipt))[1]

    async def run_until_closed(self) -> None:
        """Commit batches until closed, or until this task is cancelled."""
        while self.is_open:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                await self._commit()
            self._idle.set()

    async def wait_until_written(self) -> None:
        """Wait until all is durable; the caller bounds it."""
        while self.is_open and self.is_writing:
            self._wake.set()
            await self._idle.wait()

    async def prove(self) -> Appended:
        """Show by one more commit that the writer has not been fenced; the caller bounds it."""
        async with self._writing:
            return await self.writer.prove()

    async def release(self) -> None:
        """Say in the journal that we call nobody for the shard any more; the caller bounds it."""
        async with self._writing:
            if self.is_open:
                await self.writer.release()

    def close(self) -> None:
        """Write nothing any more; whoever waits is told."""
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
        """Seal what is queued into one batch and see it through."""
        self._hooks.before()
        self._batch_number += 1
        batch = self._in_flight = self._pending.take(self._batch_number)
        sealed_wall_ms, sealed_boot_seconds = self._clock.wall_ms(), self._clock.boot_seconds()
        self._sealed_boot_seconds = sealed_boot_seconds
        committed = await self._append(batch)
        self._sealed_boot_seconds = None
        if committed is None or not self.is_open:
            # Behind a higher claim it counts for nothing, and the next owner does it all again.
            return
        self._in_flight = None
        self._backlog.remove(batch.size_bytes)
        records = sum(group.record_count for group in batch.groups)
        self._observer.committed(records, self._clock.boot_seconds() - sealed_boot_seconds)
        receipt = Receipt(committed.journal_offset, sealed_boot_seconds, sealed_wall_ms)
        for group in batch.groups:
            self._receive(group, receipt)
            self._hooks.release(group)

    def _receive(self, group: Group, receipt: Receipt) -> None:
        _, asked = self._receipts.pop(id(group), (group, None))
        if asked is not None and not asked.done():
            asked.set_result(receipt)

    async def _append(self, batch: Batch) -> Committed | None:
        """Append until it is known to be durable: a batch is kept, not dropped; None once closed."""
        async with self._writing:
            return await self._append_until_known(batch)

    async def _append_until_known(self, batch: Batch) -> Committed | None:
        while self.is_open:
            answer = await self.writer.append(batch)
            if isinstance(answer, Committed):
                return answer
            if isinstance(answer, Refused):
                self._observer.fenced(self.partition, answer.reason)
                self.close()
                return None
            self._observer.retried(self.partition, answer.reason)
            await self._clock.sleep(RETRY_SECONDS)
        return None
