"""The shard's writers: both make a batch durable in a way that loses nothing, behind one port.

`at_least_once` goes stage by stage: FINISHING entries, then outcomes, then the jobs' entries, then the
cursor, each acknowledged before the next begins. A crash between two stages repeats an outcome with the same
id and never loses one (N1), and the cursor never passes a record whose jobs are not in the journal (N5).
"""

from collections.abc import Sequence
from typing import Protocol

from service.core.batch import Appended, Batch, Committed, Unknown
from service.core.outcomes import Outcome
from service.core.smaller import shrink
from service.errors import PublishError, RecordTooLarge
from service.kafka.addressed import Addressed
from service.kafka.outgoing import Answer, Outgoing, Sender


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

    async def close(self) -> None:
        """Let go of what is held; what is out may or may not arrive. Bounded, and may be called twice."""
        ...


class AtLeastOnceWriter:
    """Writes one shard's batches through the process's producer."""

    def __init__(self, sender: Sender, addressed: Addressed) -> None:
        self._sender = sender
        self._addressed = addressed

    async def append(self, batch: Batch) -> Appended:
        """Write the batch stage by stage; `Unknown` as soon as one is not acknowledged."""
        outcomes = [move.outcome for move in batch.moves if move.outcome is not None]
        try:
            await self._write(self._addressed.finishing(batch))
            await self._publish(outcomes)
            offset = await self._write(self._addressed.entries(batch))
            offset = max(offset, await self._write(self._addressed.cursor(batch)))
        except PublishError as error:
            return Unknown(str(error))
        return Committed(offset)

    async def prove(self) -> Appended:
        """Write the claim again; that no higher one precedes it is for the tail to say."""
        try:
            return Committed(await self._write([self._addressed.claim()]))
        except PublishError as error:
            return Unknown(str(error))

    async def close(self) -> None:
        """The producer is the process's: nothing to let go of."""

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
        answers = await self._send_all([self._addressed.outcome(each) for each in outcomes])
        for outcome, answer in zip(outcomes, answers, strict=True):
            if isinstance(answer, PublishError):
                await self._publish_alone(outcome)

    async def _publish_alone(self, outcome: Outcome) -> None:
        """What was refused among others may fit alone; if not, send a smaller form of it."""
        form: Outcome | None = outcome
        while form is not None:
            answer = await self._send_alone(self._addressed.outcome(form))
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
