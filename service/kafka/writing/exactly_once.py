"""The writer of `exactly_once`: a batch is one transaction.

If its outcome is unknown, it is looked up.

After any error the producer is discarded. Before the next write a new producer is opened, which ends the old
one's transaction, and the journal is read: a batch found there is not written again (N1).
"""

import asyncio
import gzip
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from service.core.journal.stamp import Stamp
from service.core.outcome.build import Outcome
from service.core.outcome.shrink import shrink
from service.core.shard.batches import (
    MIN_BATCH_BYTES,
    Appended,
    Batch,
    BatchRefused,
    Committed,
    Unknown,
    halves,
    shrink_batch,
)
from service.errors import ClusterError, Fenced, PublishError, RecordTooLarge
from service.kafka.writing.producer_record import ProducerRecord, Sender
from service.kafka.writing.shard_records import RELEASE, ShardRecords

ROOM_BYTES = 4096
"""The part of a topic's size limit that is reserved for key, headers and framing."""


class Transactional(Sender, Protocol):
    """A sender whose calls are transactions.

    After a failed call it must be opened again.
    """

    @property
    def is_open(self) -> bool:
        """Whether the last call succeeded."""
        ...

    async def open(self) -> None:
        """Open a new producer and end earlier transactions; raises `ClusterError`."""
        ...

    async def close(self) -> None:
        """Abandon what is in flight; `open` raises from now on."""
        ...


LookUp = Callable[[int, Stamp], Awaitable[int | None]]
"""Finds the last offset with a stamp, from an offset on; raises `Fenced`, `ClusterError`."""


class ExactlyOnceWriter:
    """Writes one shard's batches, each in one transaction."""

    def __init__(
        self,
        sender: Transactional,
        shard_records: ShardRecords,
        look_up: LookUp,
        is_owner: Callable[[], Awaitable[bool]],
        limits: Mapping[str, int],
        claim_offset: int,
    ) -> None:
        self._sender = sender
        self._shard_records = shard_records
        self._look_up = look_up
        self._is_owner = is_owner
        """Called before a new producer is made: a thawed member must not fence the rightful owner."""
        self._limits = limits
        self._known = claim_offset + 1
        """The offset after all entries that this writer knows to be in the journal."""
        self._batch: Batch | None = None
        self._left: deque[Batch] = deque()
        """What is not durable yet: the whole batch, or its pieces if it was too large as a whole."""
        self._sent: Batch | None = None
        """The latest piece sent."""

    async def append(self, batch: Batch) -> Appended:
        """Write the batch in one transaction, or in several if the broker does not accept it whole."""
        if batch is not self._batch:
            self._batch = batch
            self._left = deque([batch] if batch.groups else [])
        return await self._answer()

    async def prove(self) -> Appended:
        """Commit the claim again: a fenced writer cannot.

        Not while a batch's outcome is unknown.
        """
        self._batch, self._left = None, deque([Batch(0, ())])
        return await self._answer()

    async def release(self) -> Appended:
        """Commit the claim marked as released. Not while a batch's outcome is unknown."""
        self._batch, self._left = None, deque([Batch(RELEASE, ())])
        return await self._answer()

    async def close(self) -> None:
        """Close the producer for good: nothing is written afterwards, and none is opened again."""
        await self._sender.close()

    async def _answer(self) -> Appended:
        try:
            return await self._write_all()
        except Fenced as error:
            return BatchRefused(str(error))
        except ClusterError as error:
            return Unknown(str(error))

    async def _write_all(self) -> Committed:
        last = -1
        while self._left:
            offset = await self._write_part(self._left[0])
            if offset is None:
                self._divide(self._left.popleft())
                continue
            self._left.popleft()
            last, self._known = offset, offset + 1
        self._batch = None
        return Committed(last)

    async def _write_part(self, part: Batch) -> int | None:
        """Write the part; return its last journal offset, or None if it must be divided."""
        if not self._sender.is_open:
            found = await self._reopen_and_look_up(part)
            # A claim is written again: a later one may be behind it, and a takeover's records have its stamp.
            if found is not None and part.groups:
                return found
            if part is self._sent and halves(part, MIN_BATCH_BYTES):
                # It did not arrive: do not resend forever a part that is too large for a slow broker.
                return None
        self._sent = part
        records = [*self._shard_records.records(part), *self._shard_records.cursor(part)]
        # An uncertain part can be looked up only if it has a record in the journal.
        records = records or [self._shard_records.claim(part.number)]
        outcomes = [await self._fitting(outcome) for outcome in part.outcomes]
        answers = await self._sender.send([*records, *outcomes])
        if any(isinstance(answer, RecordTooLarge) for answer in answers):
            return None
        for answer in answers:
            if isinstance(answer, PublishError):
                raise answer
        return max(answer for answer in answers[: len(records)] if isinstance(answer, int))

    async def _reopen_and_look_up(self, part: Batch) -> int | None:
        """Open a new producer, then look up whether the old one wrote the whole part or nothing."""
        if not await self._is_owner():
            raise Fenced(self._shard_records.partition)
        await self._sender.open()
        return await self._look_up(self._known, Stamp(self._shard_records.epoch, part.number))

    def _divide(self, part: Batch) -> None:
        """Replace a part that is too large by its halves or a smaller form."""
        form = None if len(part.groups) > 1 else shrink_batch(part)
        pieces = halves(part) or (() if form is None else (form,))
        self._left.extendleft(reversed(pieces or (part,)))
        if not pieces:
            raise PublishError(f"the broker refuses even the smallest form of {_name(part)} for its size")

    async def _fitting(self, outcome: Outcome) -> ProducerRecord:
        """The outcome in the largest form that its topic accepts: a refusal would cost the producer."""
        record = self._shard_records.outcome(outcome)
        limit_bytes = self._limits.get(record.topic)
        if limit_bytes is None or await _is_within(record.value or b"", limit_bytes - ROOM_BYTES):
            return record
        form = shrink(outcome)
        return record if form is None else await self._fitting(form)


async def _is_within(value: bytes, limit_bytes: int) -> bool:
    """Whether a value fits: limits apply after compression, which is measured in a thread."""
    if len(value) <= limit_bytes:
        return True
    return len(await asyncio.to_thread(gzip.compress, value, 6)) <= limit_bytes


def _name(part: Batch) -> str:
    """A name for a part of one group, for messages."""
    names = [outcome.id for outcome in part.outcomes] or [record.key for record in part.records]
    return names[0] if names else "the cursor"
