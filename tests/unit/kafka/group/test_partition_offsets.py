"""Unread requests and the journal's length: what is known, and for how long the oldest has waited."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition

from service.errors import ClusterError
from service.kafka.client.reader import ReconnectingReader
from service.kafka.group.partition_offsets import (
    MOST_ENDS,
    PERIOD_SECONDS,
    Ends,
    Lag,
    PartitionOffsets,
)
from tests.fakes.clock import FakeClock, LeapingLoop


def test_without_unread_records_nothing_waits() -> None:
    ends = Ends()
    assert ends.lag(0.0, 0) == Lag(0, 0.0)
    ends.note(0.0, 10, 10)
    assert ends.lag(50.0, 10) == Lag(0, 0.0)
    assert ends.lag(50.0, 11) == Lag(0, 0.0), "accepted since"


def test_the_oldest_unread_record_waits_since_the_end_was_first_seen_behind_it() -> None:
    ends = Ends()
    ends.note(0.0, 10, 10)
    ends.note(10.0, 12, 10)
    ends.note(20.0, 15, 10)
    assert ends.lag(25.0, 10) == Lag(5, 15.0)
    assert ends.lag(25.0, 12) == Lag(3, 5.0)
    ends.note(30.0, 15, 12)
    assert ends.lag(35.0, 12) == Lag(3, 15.0)


def test_what_is_read_says_nothing_of_how_long_the_next_has_waited() -> None:
    """A publisher may write any time into a record: only what this process saw is certain."""
    ends = Ends()
    ends.note(0.0, 100, 10)
    ends.note(10.0, 100, 20)
    assert ends.lag(10.0, 20) == Lag(80, 10.0)


def test_a_topic_that_was_made_anew_forgets_what_was_seen() -> None:
    ends = Ends()
    ends.note(0.0, 100, 10)
    ends.note(10.0, 5, 0)
    assert ends.lag(10.0, 0) == Lag(5, 0.0)


def test_what_is_remembered_of_a_partition_without_a_reader_has_a_bound() -> None:
    ends = Ends()
    for number in range(10 * MOST_ENDS):
        ends.note(float(number), number + 1, 0)
    assert len(ends.seen) <= MOST_ENDS
    assert ends.lag(10.0 * MOST_ENDS, 0) == Lag(10 * MOST_ENDS, 10.0 * MOST_ENDS)


@dataclass
class FakeReader(ReconnectingReader):
    """The ends that the brokers tell; `asked` are the topics and partitions of each request."""

    begins: dict[tuple[str, int], int] = field(default_factory=dict)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    error: ClusterError | None = None
    asked: list[list[tuple[str, int]]] = field(default_factory=list)

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self._of(self.begins, partitions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self._of(self.ends, partitions)

    def _of(
        self, offsets: dict[tuple[str, int], int], partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        self.asked.append([tuple(each) for each in partitions])
        if self.error is not None:
            raise self.error
        return {each: offsets.get(tuple(each), 0) for each in partitions}


@dataclass
class Served:
    """The partitions that a process serves."""

    progress: dict[int, int]

    async def __call__(self) -> dict[int, int]:
        return self.progress


async def test_all_partitions_are_asked_for_at_once() -> None:
    reader = FakeReader(begins={("j", 0): 40}, ends={("j", 0): 100, ("j", 1): 7, ("r", 0): 30, ("r", 1): 5})
    offsets = PartitionOffsets(reader, "r", "j", FakeClock(), Served({0: 28, 1: 5}))
    await offsets.ask()
    assert len(reader.asked) == 2
    assert [offsets.journal_offsets(each) for each in (0, 1, 2)] == [60, 7, None]
    assert offsets.lag(0, 28) == Lag(2, 0.0)
    assert offsets.lag(0, 29) == Lag(1, 0.0)
    assert offsets.lag(1, 5) == Lag(0, 0.0)
    assert offsets.lag(2, 0) is None


async def test_the_markers_of_transactions_behind_the_last_request_are_no_requests() -> None:
    reader = FakeReader(ends={("r", 0): 31})
    offsets = PartitionOffsets(reader, "r", "j", FakeClock(), Served({0: 31}))
    await offsets.ask()
    assert offsets.lag(0, 30) == Lag(0, 0.0)


async def test_nothing_is_asked_of_a_process_that_serves_nothing_and_what_it_knew_is_forgotten() -> None:
    reader, served = FakeReader(ends={("r", 0): 3, ("j", 0): 3}), Served({0: 0})
    offsets = PartitionOffsets(reader, "r", "j", FakeClock(), served)
    await offsets.ask()
    served.progress = {}
    reader.asked.clear()
    await offsets.ask()
    assert (reader.asked, offsets.lag(0, 0), offsets.journal_offsets(0)) == ([], None, None)


def test_without_an_answer_nothing_is_known_and_what_was_seen_counts_when_answers_return() -> None:
    """A question that fails once an hour must not make a backlog young again."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(fail_once_and_go_on())


async def fail_once_and_go_on() -> None:
    """Ask, fail, and ask again."""
    reader = FakeReader(ends={("r", 0): 3})
    offsets = PartitionOffsets(reader, "r", "j", FakeClock(), Served({0: 0}))
    await offsets.ask()
    reader.error = ClusterError("away")
    ticks: list[None] = []

    def tick() -> None:
        ticks.append(None)
        if len(ticks) == 1 + PERIOD_SECONDS:
            assert (offsets.lag(0, 0), offsets.journal_offsets(0)) == (None, None)
            reader.error = None
        if len(ticks) == 2 * (1 + PERIOD_SECONDS):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await offsets.run(tick)
    lag = offsets.lag(0, 0)
    assert lag is not None
    assert lag.seconds >= 2 * PERIOD_SECONDS - 1


async def test_what_was_seen_of_a_partition_counts_when_it_comes_back() -> None:
    clock, served = FakeClock(), Served({0: 0, 1: 0})
    offsets = PartitionOffsets(FakeReader(ends={("r", 0): 3, ("r", 1): 3}), "r", "j", clock, served)
    await offsets.ask()
    served.progress = {1: 0}
    clock.suspend(100)
    await offsets.ask()
    assert (offsets.lag(0, 0), offsets.journal_offsets(0)) == (None, None)
    served.progress = {0: 1}
    await offsets.ask()
    assert offsets.lag(0, 1) == Lag(2, 100.0)
