"""One partition of the simulation: its journal, who owns it or is about to, and who once did.

What owners do to the topics comes through a `Spot`, and is judged as it comes.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.unit.core.simulation.chance import Chance
from tests.unit.core.simulation.journal import JournalModel
from tests.unit.core.simulation.port import (
    JOURNAL,
    RESULTS,
    Delivery,
    End,
    Lies,
    Owner,
    Provider,
    Published,
    Settings,
    Taking,
    Written,
    check,
)

if TYPE_CHECKING:
    from tests.unit.core.simulation.stage import Stage


class Spot:
    """A place: one process on one machine, with the topics as it sees them."""

    def __init__(self, stage: "Stage", shard: "Shard", skew_ms: int = 0) -> None:
        self.stage, self.shard, self.skew_ms = stage, shard, skew_ms
        self.partition = shard.partition
        self.settings: Settings = stage.settings
        self.chance: Chance = stage.chance
        self.provider: Provider = stage.provider
        self.broker = self
        self.epoch = 0
        """Of its last claim."""

    @property
    def calm(self) -> bool:
        """Whether the last fault is over."""
        return self.stage.calm

    @property
    def wall_ms(self) -> int:
        """True time, and what this machine is off."""
        return self.stage.now_ms + self.skew_ms

    @property
    def boot_ms(self) -> int:
        """True time."""
        return self.stage.now_ms

    @property
    def is_member(self) -> bool:
        """Whether nobody else has the partition meanwhile."""
        return self.shard.spot is self

    @property
    def records(self) -> Sequence[Published]:
        """The request partition."""
        return self.stage.plan.topic[self.partition]

    def journal(self, partition: int) -> Sequence[Lies]:
        """Transactions are in the log only when they are committed."""
        return self.stage.shards[partition].journal.log

    def journal_end(self, partition: int) -> int:
        """Behind the last record."""
        return self.stage.shards[partition].journal.end

    def history(self, partition: int) -> Sequence[Lies]:
        """As if nothing had been compacted."""
        return self.stage.shards[partition].journal.history

    def count(self, what: str) -> None:
        """Note it."""
        self.stage.count(what)

    # The broker

    def append(self, record: Written) -> int | None:
        """Durable and acknowledged, or durable and not acknowledged, or neither."""
        fate, is_claim = "acknowledged", self._is_claim(record)
        if not self.calm and not is_claim:
            fate = self.chance.ask("send", name_of(record), self._fate, fate)
        if fate == "refused":
            return None
        offset = self.shard.deliver([record], self)[0]
        return None if fate == "unacknowledged" else offset

    def _fate(self, rng: random.Random) -> str:
        draw, unacknowledged = rng.random(), self.stage.weather.unacknowledged
        if draw < unacknowledged / 2:
            return "refused"
        return "unacknowledged" if draw < unacknowledged else "acknowledged"

    def fence(self) -> int:
        """A new producer."""
        self.shard.producer += 1
        return self.shard.producer

    def commit(self, producer: int, records: Sequence[Written]) -> list[int] | End:
        """All of them, or none."""
        if producer != self.shard.producer:
            self.count("transaction of a fenced producer")
            return End.FENCED
        fate, is_claim = "committed", self._is_claim(records[0])
        if not self.calm and not is_claim:
            # Any engine can divide what holds two outcomes; an outcome and its records may be indivisible.
            is_large = sum(record.topic != JOURNAL for record in records) > 1
            fate = self.chance.ask("commit", name_of(records[0]), lambda rng: self._end(rng, is_large), fate)
        if fate != "committed":
            self.count(f"transaction {fate}")
        if fate == "too large":
            return End.TOO_LARGE
        if fate == "aborted":
            return End.UNKNOWN
        offsets = self.shard.deliver(records, self)
        return End.UNKNOWN if fate == "committed unheard" else offsets

    def _end(self, rng: random.Random, is_large: bool) -> str:
        draw, unacknowledged = rng.random(), min(0.6, 5 * self.stage.weather.unacknowledged)
        if draw < unacknowledged:
            return "aborted" if draw < unacknowledged / 2 else "committed unheard"
        return "too large" if is_large and rng.random() < 0.15 else "committed"

    def _is_claim(self, record: Written) -> bool:
        """Whether it is one: who writes here has its epoch from now on."""
        is_claim = record.topic == JOURNAL and self.shard.journal.reader.is_claim(record)
        if is_claim:
            self.epoch = self.shard.journal.reader.epoch(record)
        return is_claim


@dataclass(frozen=True, slots=True)
class Stranger:
    """Who froze, as an owner or while taking over, and may thaw."""

    spot: Spot
    owner: Owner | None = None
    taking: Taking | None = None


@dataclass(slots=True)
class Shard:
    """One partition, and everybody who has to do with it."""

    stage: "Stage"
    partition: int
    journal: JournalModel
    owner: Owner | None = None
    taking: Taking | None = None
    spot: Spot | None = None
    """Where the owner, or who is about to be it, lives."""
    takings: dict[int, tuple[Taking, Spot]] = field(default_factory=dict)
    """By number; of those that froze, and the one under way."""
    taken: int = 0
    strangers: list[Stranger] = field(default_factory=list)
    producer: int = 0
    cursor: int = 0
    """As far as it was judged."""

    def deliver(self, records: Sequence[Written], spot: Spot) -> list[int]:
        """Take records into their topics, all at once, and judge them."""
        offsets = [self._take(record, spot) for record in records]
        for record in records:
            cursor = self.journal.reader.cursor(record) if record.topic == JOURNAL else None
            if cursor is not None and self.journal.reader.epoch(record) == self.journal.highest:
                self.stage.judge_cursor(self, cursor)
                self.cursor = max(self.cursor, cursor)
        return offsets

    def _take(self, record: Written, spot: Spot) -> int:
        if record.topic != JOURNAL:
            return self._deliver(record, spot.epoch)
        let_go = len(self.journal.let_go)
        offset = self.journal.append(record, self.stage.now_ms)
        for job, _ in self.journal.let_go[let_go:]:
            self._judge_let_go(job)
        return offset

    def _deliver(self, record: Written, epoch: int) -> int:
        headers, stage = dict(record.headers), self.stage
        identity = headers["ce_id"].decode()
        is_job, is_staged = identity in stage.plan.by_job, stage.settings.delivery == "at_least_once"
        announced = self.journal.announced.get((identity, epoch))
        is_durable = announced is not None or not (is_job and is_staged)
        check(is_durable, f"N1: {identity} is sent before its ending is durable")
        done_epoch, _ = self.journal.done.get(identity, (epoch, None))
        check(done_epoch >= epoch, f"N1: {identity} was done by an owner before {epoch}, who sends it again")
        is_result = headers["ce_type"] == b"scribe.transcription.result.v1"
        fenced = bool(announced) if is_job and is_staged else epoch == self.journal.highest
        delivery = Delivery(identity, is_result, json.loads(record.value or b""), fenced, stage.now_ms)
        check(is_result == (record.topic == RESULTS), f"{identity} lies in the wrong topic")
        stage.deliver(self, delivery)
        return len(stage.deliveries)

    def _judge_let_go(self, job: str) -> None:
        """N4: the list was read twice since the intent."""
        asked = self.stage.plan.of_job(job)
        if self.stage.ledger.is_call(asked.model):
            return
        readings, now_ms = self.stage.ledger.readings, self.stage.now_ms
        read = sum(self.journal.sealed[job] <= at_ms <= now_ms for at_ms in readings)
        check(read >= 2, f"N4: {job} is to be submitted again, and the list was read {read} times")
        self.stage.count("uncertain, made again")


def name_of(record: Written) -> str:
    """What a record is called, whoever wrote it."""
    headers = dict(record.headers)
    return f"outcome {headers['ce_id'].decode()}" if "ce_id" in headers else record.key.decode()
