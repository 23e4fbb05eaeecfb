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
from service.kafka.producer import Answer, Outgoing
from service.kafka.topics import Topics


class Writer(Protocol):
    """The port: one call that makes a batch durable, or says that nobody knows."""

    async def append(self, batch: Batch) -> Appended:
        """Write the batch. Bounded in time; never raises for what a broker does."""
        ...


class Sender(Protocol):
    """What a writer sends through: `Producer` does."""

    async def send(self, records: Sequence[Outgoing]) -> list[Answer]:
        """Send the records and await every answer: for each its offset, or why it is not there."""
        ...


class AtLeastOnceWriter:
    """Writes one shard's batches through the process's producer."""

    def __init__(self, sender: Sender, topics: Topics, partition: int, epoch: int) -> None:
        self._sender = sender
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
            await self._write(finishing)
            await self._publish(outcomes)
            offset = await self._write(entries)
            offset = max(offset, await self._write(self._cursor(batch)))
        except PublishError as error:
            return Unknown(str(error))
        return Committed(offset)

    async def _write(self, entries: Sequence[Outgoing]) -> int:
        """Write to the journal, in order; returns the offset of the last record, -1 where there is none."""
        offset = -1
        answers = await self._send_all(entries)
        is_behind = False
        for entry, answer in zip(entries, answers, strict=True):
            # What follows a refused entry is sent again behind it: the last entry of a key counts.
            is_behind = is_behind or isinstance(answer, PublishError)
            last = await self._send_alone(entry) if is_behind else answer
            if isinstance(last, PublishError):
                raise last
            offset = max(offset, last)
        return offset

    async def _publish(self, outcomes: Sequence[Outcome]) -> None:
        answers = await self._send_all([self._outgoing(each) for each in outcomes])
        for outcome, answer in zip(outcomes, answers, strict=True):
            if isinstance(answer, PublishError):
                await self._publish_alone(outcome)

    async def _publish_alone(self, outcome: Outcome) -> None:
        """What was refused among others may fit alone; if not, send a smaller form of it."""
        form: Outcome | None = outcome
        while form is not None:
            answer = await self._send_alone(self._outgoing(form))
            if not isinstance(answer, PublishError):
                return
            if not isinstance(answer, RecordTooLarge):
                raise answer
            form = shrink(form)
        raise PublishError(f"the broker refuses even the smallest form of outcome {outcome.id} for its size")

    async def _send_all(self, records: Sequence[Outgoing]) -> list[Answer]:
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

    async def _send_alone(self, record: Outgoing) -> Answer:
        [answer] = await self._sender.send([record])
        return answer

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
