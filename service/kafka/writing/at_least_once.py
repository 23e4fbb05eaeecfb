"""The shard's writers: both make a batch durable in a way that loses nothing, behind one port.

`at_least_once` goes stage by stage: the records that announce outcomes, then the outcomes, then the other
records, then the cursor, each acknowledged before the next begins. Before outcomes the journal is read back,
so that a former owner, which may end a job or refuse a record in another way, publishes none behind a higher
claim.
A crash between two stages repeats an outcome with the same id and of the same kind, and never loses one (N1).
Once the outcomes are acknowledged nothing that announced them is written again: behind the record that says
that a job is done it would be open again. The cursor never passes a record whose request is not in the
journal (N5).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from service.core.outcome.build import Outcome
from service.core.outcome.shrink import shrink
from service.core.shard.batches import MIN_BATCH_BYTES, Appended, Batch, Committed, Refused, Unknown, halves
from service.errors import Fenced, PublishError, RecordTooLarge
from service.kafka.writing.producer_record import Answer, ProducerRecord, Sender
from service.kafka.writing.shard_records import RELEASE, ShardRecords

PROOF_SECONDS = 10.0
"""How long the journal may take to be read back before an outcome; then the stage is tried again."""

Proves = Callable[[int], Awaitable[bool]]
"""Waits until the shard's journal is read back past an offset; False when a higher claim came first."""


class Writer(Protocol):
    """The port: makes a batch durable, or says that nobody knows. One call at a time."""

    async def append(self, batch: Batch) -> Appended:
        """Write the batch. Bounded in time; never raises for what a broker does.

        After `Unknown` the same batch comes again, the very object, until it is `Committed` or `Refused`.
        """
        ...

    async def prove(self) -> Appended:
        """Write the owner's claim again, with its own epoch: proof that no other has fenced this writer."""
        ...

    async def release(self) -> Appended:
        """Say in the journal that this owner calls the provider no more, until it proves itself again."""
        ...

    async def close(self) -> None:
        """Let go of what is held; what is out may or may not arrive. Bounded, and may be called twice."""
        ...


class AtLeastOnceWriter:
    """Writes one shard's batches through the process's producer."""

    def __init__(self, sender: Sender, shard_records: ShardRecords, proves: Proves) -> None:
        self._sender = sender
        self._shard_records = shard_records
        self._proves = proves
        self._batch: Batch | None = None
        self._left: deque[Batch] = deque()
        """What is not durable yet of the batch: all of it, or pieces where it did not arrive as a whole."""
        self._is_published = False
        """Whether outcomes of the first piece are out."""
        self._slices = 1
        """In how many calls the records behind them are sent."""

    async def append(self, batch: Batch) -> Appended:
        """Write the batch stage by stage; `Unknown` as soon as one is not acknowledged."""
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
            return Refused(str(error))
        except PublishError as error:
            self._divide()
            return Unknown(str(error))
        self._batch = None
        return Committed(offset)

    async def prove(self) -> Appended:
        """Write the claim again; that no higher one precedes it is for the tail to say."""
        return await self._owned(self._shard_records.claim())

    async def release(self) -> Appended:
        """Take the claim's word back."""
        return await self._owned(self._shard_records.claim(RELEASE))

    async def _owned(self, claim: ProducerRecord) -> Appended:
        try:
            return Committed(await self._write([claim]))
        except PublishError as error:
            return Unknown(str(error))

    async def close(self) -> None:
        """The producer is the process's: nothing to let go of."""

    async def _stages(self, part: Batch) -> int:
        """The part's last offset in the journal, -1 where it has no record there."""
        if not self._is_published:
            announced = await self._write(self._announcing(part))
            if announced >= 0:
                await self._require_ownership(announced)
            await self._publish(part.outcomes)
            self._is_published = bool(part.outcomes)
        records = [*self._remaining(part), *self._shard_records.retracting(part)]
        size = max(1, -(-len(records) // self._slices))
        offsets = [await self._write(records[at : at + size]) for at in range(0, len(records), size)]
        return max(-1, *offsets, await self._write(self._shard_records.cursor(part)))

    def _announcing(self, part: Batch) -> list[ProducerRecord]:
        """What the journal is read back past before the outcomes; refusals of records announce nothing.

        Before those the owner's claim is written again.
        """
        announcing = self._shard_records.announcing(part)
        return announcing or ([self._shard_records.claim()] if part.outcomes else [])

    def _remaining(self, part: Batch) -> list[ProducerRecord]:
        """The records, without those of an earlier group that a later one's announcement writes over.

        Behind the announcement they would open again what has ended.
        """
        announced = {record.key: at for at, group in enumerate(part.groups) for record in group.announcing}
        groups = tuple(
            replace(group, records=tuple(each for each in group.records if announced.get(each.key, at) <= at))
            for at, group in enumerate(part.groups)
        )
        return self._shard_records.records(replace(part, groups=groups))

    def _divide(self) -> None:
        """What did not arrive goes out in smaller pieces; nothing that is announced is announced again."""
        if self._is_published:
            self._slices *= 2
            return
        part = self._left.popleft()
        self._left.extendleft(reversed(halves(part, MIN_BATCH_BYTES) or (part,)))

    async def _require_ownership(self, announced: int) -> None:
        """Raise `Fenced` where a higher claim precedes what was announced: its owner decides anew."""
        try:
            async with asyncio.timeout(PROOF_SECONDS):
                is_ours = await self._proves(announced)
        except TimeoutError:
            raise PublishError("the journal could not be read back in time") from None
        if not is_ours:
            raise Fenced("another member has claimed the partition")

    async def _write(self, records: Sequence[ProducerRecord]) -> int:
        """Write to the journal, in order; returns the offset of the last record, -1 where there is none."""
        offset = -1
        answers = await self._send_all(records)
        is_behind = False
        for record, answer in zip(records, answers, strict=True):
            # What follows a refused record is sent again behind it: the last record of a key counts.
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
        """What was refused among others may fit alone; if not, send a smaller form of it."""
        form: Outcome | None = outcome
        while form is not None:
            answer = await self._send_alone(self._shard_records.outcome(form))
            if not isinstance(answer, PublishError):
                return
            if not isinstance(answer, RecordTooLarge):
                raise answer
            form = shrink(form)
        raise PublishError(f"the broker refuses even the smallest form of outcome {outcome.id} for its size")

    async def _send_all(self, records: Sequence[ProducerRecord]) -> list[Answer]:
        """Send them together; raises `PublishError` unless all arrived, or some were refused for their size.

        Brokers refuse a whole batch, and after that an idempotent producer's later ones: none of these
        answers says anything about a record that is small by itself.
        """
        answers = await self._sender.send(records) if records else []
        if not any(isinstance(answer, RecordTooLarge) for answer in answers):
            for answer in answers:
                if isinstance(answer, PublishError):
                    raise answer
        return answers

    async def _send_alone(self, record: ProducerRecord) -> Answer:
        [answer] = await self._sender.send([record])
        return answer
