"""The engine's real writers, driven by hand: a crash can come between any two records or transactions."""

from collections.abc import Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import cast

from service.core.journal.stamp import Stamp
from service.core.shard.batches import Appended, Batch
from service.errors import Fenced, PublishError, RecordTooLarge
from service.kafka.admin.topics import Topics
from service.kafka.writing.at_least_once import AtLeastOnceWriter
from service.kafka.writing.exactly_once import ExactlyOnceWriter
from service.kafka.writing.producer_record import ProducerRecord
from service.kafka.writing.shard_records import ShardRecords
from service.kafka.writing.writer_port import Writer
from tests.unit.core.simulation.port import End, Place
from tests.unit.core.simulation.records import STAMP

TOPICS = Topics()
Answers = list[int | PublishError]
Asked = list[ProducerRecord] | int
"""Of whoever drives the writer: to send records, or to read the journal back past an offset."""
Heard = Answers | bool


class Ask:
    """Hands what the writer waits for to whoever drives it, and returns the answer."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def __await__(self) -> Generator[Asked, Heard, Heard]:
        return (yield self.asked)


class SteppedProducer:
    """The producer as the writer sees it."""

    async def send(self, records: Sequence[ProducerRecord]) -> Answers:
        """Wait until the driver has answered for each record."""
        return cast(Answers, await Ask(list(records)))


class SteppedTransactions(SteppedProducer):
    """The transactional producer as its writer sees it; after an error it is given up."""

    def __init__(self, place: Place, producer: int) -> None:
        self.place, self.producer = place, producer
        self.is_open = True

    async def send(self, records: Sequence[ProducerRecord]) -> Answers:
        """One transaction."""
        answers = await super().send(records)
        self.is_open = not any(isinstance(answer, PublishError) for answer in answers)
        return answers

    async def open(self) -> None:
        """Fence what was before."""
        self.producer = self.place.broker.fence()
        self.is_open = True

    async def close(self) -> None:
        """Nothing goes out any more."""
        self.is_open = False


class SteppedAtLeastOnce(AtLeastOnceWriter):
    """The writer, without the event loop's clock: the driver answers at once, or never."""

    async def _require_ownership(self, announced: int) -> None:
        if not await self._proves(announced):
            raise Fenced(self._shard_records.partition)


@dataclass(slots=True)
class Flight:
    """A batch on its way: what its writer waits for, and what was answered of it."""

    batch: Batch
    sealed_ms: tuple[int, int]
    """By the wall clock and by the boot clock."""
    append: Coroutine[Asked, Heard, Appended]
    proof: int | None = None
    records: list[ProducerRecord] = field(default_factory=list)
    answers: Answers = field(default_factory=list)

    def go_on(self, heard: Heard | None) -> Appended | None:
        """Drive the writer to its next stage, or to its end."""
        try:
            # The first `send` of a coroutine takes None.
            asked = self.append.send(cast(Heard, heard))
        except StopIteration as stop:
            return cast(Appended, stop.value)
        self.proof = asked if isinstance(asked, int) else None
        self.records = [] if isinstance(asked, int) else asked
        self.answers = []
        return None


class Pen:
    """Writes an owner's records, in the way of its delivery."""

    def __init__(self, place: Place, epoch: int, producer: int, claim_offset: int) -> None:
        self.place, self.epoch = place, epoch
        addressed = ShardRecords(TOPICS, place.partition, epoch, f"member {epoch}")
        self.transactions = SteppedTransactions(place, producer)
        self.writer: Writer = SteppedAtLeastOnce(SteppedProducer(), addressed, self._proves)
        if place.settings.delivery == "exactly_once":
            self.writer = ExactlyOnceWriter(
                self.transactions, addressed, self._look_up, self._is_member, {}, claim_offset
            )

    @property
    def is_atomic(self) -> bool:
        """Whether the records of a stage go out all at once."""
        return isinstance(self.writer, ExactlyOnceWriter)

    def write(self, flight: Flight, most: int) -> None:
        """Let the broker take the next records of the stage: `most`, or all where they go out at once."""
        if self.is_atomic:
            flight.answers = self._commit(flight.records)
            return
        for record in flight.records[len(flight.answers) :][:most]:
            offset = self.place.broker.append(record)
            flight.answers.append(PublishError("no acknowledgement") if offset is None else offset)

    def _commit(self, records: Sequence[ProducerRecord]) -> Answers:
        end = self.place.broker.commit(self.transactions.producer, records)
        if not isinstance(end, End):
            return [*end]
        error = RecordTooLarge("too large") if end is End.TOO_LARGE else PublishError(end.value)
        return [error] * len(records)

    async def _proves(self, offset: int) -> bool:
        return cast(bool, await Ask(offset))

    async def _is_member(self) -> bool:
        return self.place.is_member

    async def _look_up(self, start: int, mine: Stamp) -> int | None:
        found = None
        for entry in self.place.journal(self.place.partition):
            if entry.offset >= start and entry.epoch > self.epoch:
                raise Fenced(self.place.partition, entry.epoch)
            if entry.offset >= start and dict(entry.headers)[STAMP] == mine.encode():
                found = entry.offset
        return found
