"""The writer of `at_least_once`: a batch is never lost.

`at_least_once` writes in stages: the records that announce outcomes, the outcomes, the other records, the
tombstones, the cursor. Each stage is acknowledged before the next begins. Before the outcomes the journal is
read back, so that a former owner, which may end a job or refuse a record differently, publishes none behind a
higher claim. A crash between two stages repeats an outcome with the same id and kind, and never loses one
(N1). Once the outcomes are acknowledged, the records that announced them are not written again: behind the
record that ends a job they would reopen it. The cursor never passes a record whose request is not in the
journal (N5).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

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
)
from service.errors import Fenced, PublishError, RecordTooLarge
from service.kafka.writing.producer_record import ProducerRecord, Sender, SendResult
from service.kafka.writing.shard_records import RELEASE, ShardRecords

READ_BACK_SECONDS = 10.0
"""How long reading the journal back before an outcome may take; after that the stage is retried."""

Proves = Callable[[int], Awaitable[bool]]
"""Waits until the shard's journal is read back past an offset; False if a higher claim comes first."""


class AtLeastOnceWriter:
    """Writes one shard's batches through the process's producer."""

    def __init__(self, sender: Sender, shard_records: ShardRecords, proves: Proves) -> None:
        self._sender = sender
        self._shard_records = shard_records
        self._proves = proves
        self._batch: Batch | None = None
        self._left: deque[Batch] = deque()
        """What is not durable yet: the whole batch, or its pieces if it did not arrive as a whole."""
        self._is_published = False
        """Whether the first piece's outcomes are acknowledged."""
        self._slices = 1
        """The number of calls in which the records after the outcomes are sent."""

    async def append(self, batch: Batch) -> Appended:
        """Write the batch in stages; `Unknown` as soon as one is not acknowledged."""
        if batch is not self._batch:
            self._batch, self._left = batch, deque([batch])
            self._is_published, self._slices = False, 1
        offset = -1
        try:
            while self._left:
                offset = max(offset, await self._stages(self._left[0]))
                self._left.popleft()
                self._is_published, self._slices = False, 1
        except Fenced as error:
            return BatchRefused(str(error))
        except PublishError as error:
            self._divide()
            return Unknown(str(error))
        self._batch = None
        return Committed(offset)

    async def prove(self) -> Appended:
        """Write the claim again; the tail checks that no higher claim precedes it."""
        return await self._owned(self._shard_records.claim())

    async def release(self) -> Appended:
        """Write the claim again, marked as released."""
        return await self._owned(self._shard_records.claim(RELEASE))

    async def _owned(self, claim: ProducerRecord) -> Appended:
        try:
            return Committed(await self._write([claim]))
        except PublishError as error:
            return Unknown(str(error))

    async def close(self) -> None:
        """Do nothing: the producer belongs to the process."""

    async def _stages(self, part: Batch) -> int:
        """Write all stages.

        Return the part's last journal offset, -1 if it has no record there.
        """
        if not self._is_published:
            announced = await self._write(self._announcing(part))
            if announced >= 0:
                await self._require_ownership(announced)
            await self._publish(part.outcomes)
            self._is_published = bool(part.outcomes)
        records = self._remaining(part)
        # A broker may refuse a record and take those behind it. A job's tombstone without the record that its
        # request has finished would be the job still open.
        entries, tombstones = _split(records)
        last = await self._write_slices(entries)
        last = max(last, await self._write_slices([*tombstones, *self._shard_records.retracting(part)]))
        return max(last, await self._write(self._shard_records.cursor(part)))

    async def _write_slices(self, records: Sequence[ProducerRecord]) -> int:
        size = max(1, -(-len(records) // self._slices))
        slices = (records[at : at + size] for at in range(0, len(records), size))
        return max([await self._write(each) for each in slices], default=-1)

    def _announcing(self, part: Batch) -> list[ProducerRecord]:
        """The records past which the journal is read back before the outcomes are published.

        Refusals of records announce nothing; the owner's claim is written again in their place.
        """
        announcing = self._shard_records.announcing(part)
        return announcing or ([self._shard_records.claim()] if part.outcomes else [])

    def _remaining(self, part: Batch) -> list[ProducerRecord]:
        """The records, without those of an earlier group that a later group's announcement overwrites.

        Written after the announcement, they would reopen a job that has ended.
        """
        announced = {record.key: at for at, group in enumerate(part.groups) for record in group.announcing}
        groups = tuple(
            replace(group, records=tuple(each for each in group.records if announced.get(each.key, at) <= at))
            for at, group in enumerate(part.groups)
        )
        return self._shard_records.records(replace(part, groups=groups))

    def _divide(self) -> None:
        """Send in smaller pieces what did not arrive; nothing is announced twice."""
        if self._is_published:
            self._slices *= 2
            return
        part = self._left.popleft()
        self._left.extendleft(reversed(halves(part, MIN_BATCH_BYTES) or (part,)))

    async def _require_ownership(self, announced: int) -> None:
        """Raise `Fenced` if a higher claim precedes the announcement: its owner decides anew."""
        try:
            async with asyncio.timeout(READ_BACK_SECONDS):
                is_ours = await self._proves(announced)
        except TimeoutError:
            raise PublishError("the journal could not be read back in time") from None
        if not is_ours:
            raise Fenced(self._shard_records.partition)

    async def _write(self, records: Sequence[ProducerRecord]) -> int:
        """Write to the journal in order.

        Return the last record's offset, -1 without records.
        """
        offset = -1
        answers = await self._send_all(records)
        is_behind = False
        for record, answer in zip(records, answers, strict=True):
            # Records after a refused one are sent again after it: the last record of a key counts.
            is_behind = is_behind or isinstance(answer, PublishError)
            last = await self._send_alone(record) if is_behind else answer
            if isinstance(last, PublishError):
                raise last
            offset = max(offset, last)
        return offset

    async def _publish(self, outcomes: Sequence[Outcome]) -> None:
        answers = await self._send_all([self._shard_records.outcome(each) for each in outcomes])
        for outcome, answer in zip(outcomes, answers, strict=True):
            if isinstance(answer, PublishError):
                await self._publish_alone(outcome)

    async def _publish_alone(self, outcome: Outcome) -> None:
        """Send an outcome alone that was refused in a batch.

        If it is too large, send a smaller form.
        """
        form: Outcome | None = outcome
        while form is not None:
            answer = await self._send_alone(self._shard_records.outcome(form))
            if not isinstance(answer, PublishError):
                return
            if not isinstance(answer, RecordTooLarge):
                raise answer
            form = shrink(form)
        raise PublishError(f"the broker refuses even the smallest form of outcome {outcome.id} for its size")

    async def _send_all(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        """Send the records together.

        Raise `PublishError` on any failure, unless some were too large.

        A broker refuses a whole batch for its size, and then an idempotent producer's later batches. None of
        these answers concerns a record that is small by itself.
        """
        answers = await self._sender.send(records) if records else []
        if not any(isinstance(answer, RecordTooLarge) for answer in answers):
            for answer in answers:
                if isinstance(answer, PublishError):
                    raise answer
        return answers

    async def _send_alone(self, record: ProducerRecord) -> SendResult:
        [answer] = await self._sender.send([record])
        return answer


def _split(records: Sequence[ProducerRecord]) -> tuple[list[ProducerRecord], list[ProducerRecord]]:
    """The entries and the tombstones, without tombstones of keys that are written again behind them."""
    latest = {record.key: at for at, record in enumerate(records)}
    entries = [record for record in records if record.value is not None]
    tombstones = [
        record for at, record in enumerate(records) if record.value is None and latest[record.key] == at
    ]
    return entries, tombstones
