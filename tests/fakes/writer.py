"""A broker in memory that shards' writers send to: it keeps what they write, and goes wrong on demand.

The contract suite of the writer runs on it, on the embedded broker and on real Kafka alike. The writers are
the service's own: what is replaced is the broker.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from aiokafka.partitioner import DefaultPartitioner

from service.core.journal.entries import JobEntry, decode
from service.core.journal.replay import Restore
from service.core.journal.stamp import CURSOR_PREFIX, OWNER_PREFIX, STAMP_HEADER, Stamp
from service.errors import ClusterError, Fenced, PublishError, RecordTooLarge
from service.kafka.admin.topics import Topics
from service.kafka.writing.at_least_once import AtLeastOnceWriter, Proves
from service.kafka.writing.exactly_once import ExactlyOnceWriter
from service.kafka.writing.producer_record import ProducerRecord, SendResult
from service.kafka.writing.shard_records import ShardRecords
from service.kafka.writing.writer_port import Writer


class Stage(StrEnum):
    """The stages of a batch, in their order."""

    ANNOUNCING = "announcing"
    OUTCOMES = "outcomes"
    RECORDS = "records"
    CURSOR = "cursor"


class Fault(Enum):
    """What can become of a stage."""

    REFUSE = auto()
    """Nothing is written, and the writer is told."""
    LOSE_ANSWER = auto()
    """All is written, and the writer is told that it may not be."""
    HANG = auto()
    """Nothing is written, and no answer comes, not even that there is none."""


@dataclass(frozen=True)
class Kept:
    """A record as the broker keeps it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass
class MemoryBroker:
    """Scripted beforehand, read afterwards; `limits` are the topics' `max.message.bytes`."""

    topics: Topics = field(default_factory=Topics)
    outcome_partitions: int = 3
    limits: dict[str, int] = field(default_factory=dict)
    sent: list[tuple[Stage, int]] = field(default_factory=list)
    """Every send, as its stage and the number of its records, whatever became of it."""
    partitions: dict[tuple[str, int], list[Kept]] = field(default_factory=lambda: defaultdict(list))
    _faults: dict[Stage, tuple[Fault, int]] = field(default_factory=dict)
    _is_dead: bool = False
    _places: DefaultPartitioner = field(default_factory=DefaultPartitioner)

    async def proves(self, _offset: int) -> bool:
        """As the tail: nobody has claimed the partition."""
        return True

    def writer(self, partition: int = 0, epoch: int = 1, proves: Proves | None = None) -> Writer:
        """A shard's `at_least_once` writer that sends here."""
        addressed = ShardRecords(self.topics, partition, epoch, "a")
        return AtLeastOnceWriter(self, addressed, proves or self.proves)

    def transactional_writer(self, member: "MemoryTransactions", epoch: int = 1) -> ExactlyOnceWriter:
        """A shard's `exactly_once` writer that sends here."""
        addressed = ShardRecords(self.topics, 0, epoch, "a")
        return ExactlyOnceWriter(member, addressed, self._look_up, member.asks_group, self.limits, -1)

    async def _look_up(self, start: int, mine: Stamp) -> int | None:
        found = None
        for record in self.journal()[start:]:
            stamp = Stamp.decode(dict(record.headers)[STAMP_HEADER])
            if stamp.epoch > mine.epoch:
                raise Fenced(0, stamp.epoch)
            found = record.offset if stamp == mine else found
        return found

    def break_at(self, stage: Stage, fault: Fault = Fault.REFUSE, times: int = 1) -> None:
        """Let the next `times` sends of that stage go wrong."""
        self._faults[stage] = (fault, times)

    def kill(self) -> None:
        """As when the writing process is killed: nothing more is written, and no call returns."""
        self._is_dead = True

    def journal(self, partition: int = 0) -> list[Kept]:
        """What is in the journal, by offset."""
        return self.partitions[self.topics.journal, partition]

    def outcomes(self) -> list[Kept]:
        """All results, then all failures, in the order of their partitions."""
        return [
            record
            for topic in (self.topics.results, self.topics.failures)
            for partition in range(self.outcome_partitions)
            for record in self.partitions[topic, partition]
        ]

    def restore(self, partition: int = 0) -> Restore:
        """What a new owner reads back."""
        restore = Restore(self.topics.journal, partition)
        for record in self.journal(partition):
            stamp = dict(record.headers).get(STAMP_HEADER)
            restore.add(record.offset, record.key.decode(), record.value, stamp)
        return restore

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        """As `Producer.send`."""
        stage = self._stage(records[0])
        self.sent.append((stage, len(records)))
        fault = self._next_fault(stage)
        if self._is_dead or fault is Fault.HANG:
            await asyncio.get_running_loop().create_future()
        if fault is Fault.REFUSE:
            return [PublishError(f"the broker refuses {stage}") for _ in records]
        answers = [self.keep(record) for record in records]
        if fault is Fault.LOSE_ANSWER:
            return [PublishError(f"the answer to {stage} was lost") for _ in records]
        await asyncio.sleep(0)  # a real broker's answer never comes in the same turn of the loop
        return answers

    def _next_fault(self, stage: Stage) -> Fault | None:
        fault, times = self._faults.pop(stage, (None, 0))
        if fault is not None and times > 1:
            self._faults[stage] = (fault, times - 1)
        return fault

    def _stage(self, record: ProducerRecord) -> Stage:
        if record.topic != self.topics.journal:
            return Stage.OUTCOMES
        if record.key.decode().startswith(CURSOR_PREFIX):
            return Stage.CURSOR
        if record.key.decode().startswith(OWNER_PREFIX):
            return Stage.ANNOUNCING
        is_of_job = record.key.startswith(b"j/") and record.value is not None
        entry = decode(record.key.decode(), record.value or b"") if is_of_job else None
        is_announced = isinstance(entry, JobEntry) and (entry.is_result or entry.ending is not None)
        return Stage.ANNOUNCING if is_announced else Stage.RECORDS

    def is_too_large(self, record: ProducerRecord) -> bool:
        """Whether its topic refuses it."""
        return len(record.value or b"") > self.limits.get(record.topic, 2**31)

    def keep(self, record: ProducerRecord) -> SendResult:
        """Take one record, or say that it is too large."""
        if self.is_too_large(record):
            return RecordTooLarge(f"{record.topic} takes no record of {len(record.value or b'')} bytes")
        partition = record.partition
        if partition is None:
            every = list(range(self.outcome_partitions))
            partition = self._places(record.key, every, every)
        log = self.partitions[record.topic, partition]
        log.append(Kept(record.topic, partition, len(log), record.key, record.value, record.headers))
        return len(log) - 1


@dataclass
class MemoryTransactions:
    """A shard's transactional producer on the broker in memory."""

    broker: MemoryBroker
    faults: list[Fault] = field(default_factory=list)
    """What becomes of the next transactions."""
    is_member: bool = True
    is_open: bool = False
    is_closed: bool = False
    opened: int = 0

    async def asks_group(self) -> bool:
        """Whether the group still counts us in."""
        return self.is_member

    async def open(self) -> None:
        """As `Transactions.open`."""
        if self.is_closed:
            raise ClusterError("closed")
        self.is_open = True
        self.opened += 1

    async def close(self) -> None:
        """As `Transactions.close`."""
        self.is_open, self.is_closed = False, True

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        """As `Transactions.send`: all of them, or none."""
        assert self.is_open, "sent through a producer that was given up"
        fault = self.faults.pop(0) if self.faults else None
        if fault is Fault.HANG:
            await asyncio.get_running_loop().create_future()
        large = [self.broker.is_too_large(record) for record in records]
        if any(large) or fault is Fault.REFUSE:
            self.is_open = False
            return [RecordTooLarge("no") if each else PublishError("refused") for each in large]
        answers = [self.broker.keep(record) for record in records]
        await asyncio.sleep(0)
        if fault is Fault.LOSE_ANSWER:
            self.is_open = False
            return [PublishError("the answer to the commit was lost") for _ in records]
        return answers
