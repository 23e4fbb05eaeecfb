"""What the results say of work that was done again, and from when on they say it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from service.cli.replay_evidence import CLOCK_MS, note_journal, read_results
from service.cli.replay_plan import Evidence
from service.core.job.accepted_request import FileEnd, FinishedRequest
from service.core.job.identity import Origin
from service.kafka.client.clients import TopicPartition
from service.kafka.client.span_reader import OffsetRange

PARTITION = TopicPartition("results", 0)
NOW_MS = 1_700_000_000_000


def result(identity: str, time_ms: int) -> Any:
    return SimpleNamespace(headers=(("ce_id", identity.encode()),), timestamp=time_ms)


@dataclass
class OneResultPartition:
    """A partition whose first record has the offset `begin`."""

    begin: int = 0
    records: list[Any] = field(default_factory=list)

    def of(self, _topic: str) -> list[TopicPartition]:
        return [PARTITION]

    def of_key(self, topic: str, key: bytes) -> TopicPartition:
        return TopicPartition(topic, int(key.decode()[-1]))

    async def extent(self, partition: TopicPartition) -> OffsetRange:
        return OffsetRange(partition, self.begin, self.begin + len(self.records))

    async def since(self, partition: TopicPartition, time_ms: int) -> OffsetRange:
        end = self.begin + len(self.records)
        found = (at for at, each in enumerate(self.records, self.begin) if each.timestamp >= time_ms)
        return OffsetRange(partition, next(found, end), end)

    async def read_through(self, span: OffsetRange, take: Callable[[Any], None]) -> None:
        for each in self.records[span.begin - self.begin :]:
            take(each)


async def read(topic: OneResultPartition, since_ms: int = NOW_MS) -> tuple[float, Evidence]:
    evidence = Evidence()
    known = await read_results(topic, "results", since_ms, evidence)  # type: ignore[arg-type]
    return known[PARTITION], evidence


@pytest.mark.parametrize(
    ("topic", "known_since_ms"),
    [
        (OneResultPartition(), 0),
        (OneResultPartition(0, [result("a/0/0", NOW_MS + 5)]), 0),
        (OneResultPartition(9, [result("a/0/0", NOW_MS + 5)]), NOW_MS + 5 + CLOCK_MS),
        (
            OneResultPartition(9, [result("a/0/0", 10**15), result("b/0/0", NOW_MS + 5)]),
            NOW_MS + 5 + CLOCK_MS,
        ),
        (OneResultPartition(9, [result("a/0/0", NOW_MS - 5), result("b/0/0", NOW_MS + 5)]), 0),
        (OneResultPartition(9, [result("a/0/0", NOW_MS - 5)]), 0),
        (OneResultPartition(9), math.inf),
    ],
    ids=["new", "whole", "cut", "no time", "cut before all failures", "no later result", "nothing left"],
)
async def test_what_was_deleted_is_known_to_be_missing(
    topic: OneResultPartition, known_since_ms: float
) -> None:
    assert (await read(topic))[0] == known_since_ms


async def test_results_are_noted_with_their_number_file_and_time() -> None:
    records = [result("a/b/2/3", NOW_MS + 5), result("odd", NOW_MS), result("c/0/0", 1)]
    _, evidence = await read(OneResultPartition(0, records), 0)
    assert evidence.used == {"a/b": {2: {3}}, "c": {0: {0}}}
    assert evidence.ended_ms == {("a/b", 3): {2: NOW_MS + 5}, ("c", 0): {0: math.inf}}, "1970 is no time"


def test_only_the_journal_of_the_ids_own_partition_remembers_its_replays() -> None:
    evidence = Evidence()
    finished = [
        FinishedRequest(Origin(0, offset), request_id, 2, "", (FileEnd(0, succeeded=False),), NOW_MS)
        for offset, request_id in ((7, "id-3"), (8, "id-4"))
    ]
    restored = SimpleNamespace(requests=dict, finished=lambda: finished)
    partition: Any = SimpleNamespace(number=3, restored=restored)
    topics: Any = OneResultPartition()
    note_journal(topics, "requests", partition, evidence)
    assert evidence.used == {"id-3": {2: {0}}, "id-4": {2: {0}}}
    assert evidence.remembered == {("id-3", 2, (3, 7))}
