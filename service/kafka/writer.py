"""The shard's writer: makes a batch durable, in the order that loses nothing.

`at_least_once`: FINISHING entries, then outcomes, then the jobs' entries, then the cursor, each stage
acknowledged before the next begins. A crash between two stages repeats an outcome with the same id and
never loses one (N1), and the cursor never passes a record whose jobs are not in the journal (N5).
"""

from collections.abc import Sequence
from typing import Protocol

from service.core.batch import Appended, Batch, Committed, Unknown
from service.core.entry import CURSOR_KEY, STAMP_HEADER, Stamp, encode_cursor
from service.core.outcomes import Outcome, shrink
from service.errors import PublishError, RecordTooLarge
from service.kafka.producer import Outgoing, Producer
from service.kafka.topics import Topics


class Writer(Protocol):
    """The port: one call that makes a batch durable, or says that nobody knows."""

    async def append(self, batch: Batch) -> Appended:
        """Write the batch. Bounded in time; never raises for what a broker does."""
        ...


class AtLeastOnceWriter:
    """Writes one shard's batches through the process's producer."""

    def __init__(self, producer: Producer, topics: Topics, partition: int, epoch: int) -> None:
        self._producer = producer
        self._topics = topics
        self._partition = partition
        self._epoch = epoch

    async def append(self, batch: Batch) -> Appended:
        """Write the batch stage by stage; `Unknown` as soon as one is not acknowledged."""
        moves = batch.moves
        finishing = [
            self._entry(move.key, move.finishing, batch) for move in moves if move.finishing and move.key
        ]
        outcomes = [move.outcome for move in moves if move.outcome is not None]
        entries = [self._entry(move.key, move.entry, batch) for move in moves if move.key]
        try:
            await self._send(finishing)
            await self._publish(outcomes)
            offset = await self._send(entries)
            offset = max(offset, await self._send(self._cursor(batch)))
        except PublishError as error:
            return Unknown(str(error))
        return Committed(offset)

    async def _send(self, records: Sequence[Outgoing]) -> int:
        answers = await self._producer.send(records) if records else []
        for answer in answers:
            if isinstance(answer, PublishError):
                raise answer
        return max((answer for answer in answers if isinstance(answer, int)), default=-1)

    async def _publish(self, outcomes: Sequence[Outcome]) -> None:
        answers = await self._producer.send([self._outgoing(each) for each in outcomes]) if outcomes else []
        for outcome, answer in zip(outcomes, answers, strict=True):
            if isinstance(answer, RecordTooLarge):
                await self._publish_alone(outcome)
            elif isinstance(answer, PublishError):
                raise answer

    async def _publish_alone(self, outcome: Outcome) -> None:
        """A record that was refused among others may fit alone; if not, send a smaller form of it."""
        form: Outcome | None = outcome
        while form is not None:
            [answer] = await self._producer.send([self._outgoing(form)])
            if isinstance(answer, int):
                return
            if not isinstance(answer, RecordTooLarge):
                raise answer
            form = shrink(form)
        raise PublishError(f"the broker refuses even the smallest form of outcome {outcome.id} for its size")

    def _outgoing(self, outcome: Outcome) -> Outgoing:
        topic = self._topics.results if outcome.is_result else self._topics.failures
        return Outgoing(topic, outcome.key.encode(), outcome.body.to_bytes(), None, outcome.headers)

    def _cursor(self, batch: Batch) -> list[Outgoing]:
        if batch.cursor is None:
            return []
        return [self._entry(CURSOR_KEY, encode_cursor(batch.cursor), batch)]

    def _entry(self, key: str | None, value: bytes | None, batch: Batch) -> Outgoing:
        stamp = Stamp(self._epoch, batch.number).encode()
        return journal_record(self._topics.journal, self._partition, key or "", value, stamp)


def journal_record(topic: str, partition: int, key: str, value: bytes | None, stamp: bytes) -> Outgoing:
    """One journal record, addressed to the shard's own partition."""
    return Outgoing(topic, key.encode(), value, partition, ((STAMP_HEADER, stamp),))
