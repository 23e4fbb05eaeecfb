"""How far the ends of our partitions are: unread requests and the journal's length, for metrics alone.

All partitions are asked for at once, every ten seconds. Without an answer nothing is known. When an end was
seen stays true: it is remembered while answers fail, and of a partition that is served elsewhere meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from service.clock import Clock
from service.errors import ClusterError
from service.kafka.client.clients import TopicPartition
from service.kafka.client.reader import ReconnectingReader

PERIOD_SECONDS = 10
BOUND_SECONDS = 10.0
"""For the three requests of one period."""
MOST_ENDS = 500
"""Ends of one partition that are remembered; if there are more, every other one is forgotten."""


class Lag(NamedTuple):
    """Requests that wait in Kafka, and for how long at least the oldest has waited."""

    records: int
    seconds: float


@dataclass(slots=True)
class Ends:
    """The ends of a partition as they were seen; they tell when the first unread record was written."""

    seen: list[tuple[float, int]] = field(default_factory=list)
    """Times of the boot clock with offsets, both in ascending order."""
    next_offset: int = 0

    def note(self, now: float, end: int, next_offset: int) -> None:
        """The partition ends here now, and was read up to `next_offset`."""
        self.next_offset = next_offset
        self.seen = [each for each in self.seen if next_offset < each[1] <= end]
        if not self.seen or self.seen[-1][1] < end:
            self.seen.append((now, end))
        if len(self.seen) > MOST_ENDS:
            self.seen = self.seen[::2]

    def lag(self, now: float, next_offset: int) -> Lag:
        """What is unread from `next_offset` on."""
        records = max(0, self.seen[-1][1] - next_offset) if self.seen else 0
        if not records:
            return Lag(0, 0.0)
        since = next(at for at, end in self.seen if end > next_offset)
        return Lag(records, now - since)


class PartitionOffsets:
    """What is known of the partitions that this process serves."""

    def __init__(
        self,
        reader: ReconnectingReader,
        requests: str,
        journal: str,
        clock: Clock,
        progress: Callable[[], Awaitable[Mapping[int, int]]],
    ) -> None:
        self._reader = reader
        self._requests = requests
        self._journal = journal
        self._clock = clock
        self._progress = progress
        """The next offset to read of the requests of each partition that we serve."""
        self._ends: dict[int, Ends] = {}
        self._journals: dict[int, int] = {}
        """Of the partitions that the last answer was about: of others nothing is known."""

    def lag(self, partition: int, next_offset: int) -> Lag | None:
        """The unread requests of a partition; None if they are not known."""
        if partition not in self._journals:
            return None
        ends = self._ends[partition]
        # Behind the last request there may be markers of a publisher's transactions, which are no records.
        read_to = max(next_offset, ends.next_offset)
        return ends.lag(self._clock.boot_seconds(), read_to)

    def journal_offsets(self, partition: int) -> int | None:
        """The offsets between the two ends of a journal partition; None if they are not known."""
        return self._journals.get(partition)

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Ask until cancelled."""
        while True:
            on_tick()
            try:
                async with asyncio.timeout(BOUND_SECONDS):
                    await self.ask()
            except (ClusterError, TimeoutError):
                self._journals = {}
            for _ in range(PERIOD_SECONDS):
                on_tick()
                await self._clock.sleep(1.0)

    async def ask(self) -> None:
        """Ask for the ends of all partitions that we serve; raises `ClusterError`."""
        progress = await self._progress()
        if not progress:
            self._journals = {}
            return
        journals = [TopicPartition(self._journal, partition) for partition in progress]
        requests = [TopicPartition(self._requests, partition) for partition in progress]
        begins = await self._reader.begin_offsets(journals)
        ends = await self._reader.end_offsets([*journals, *requests])
        self._journals = {each.partition: max(0, ends[each] - begins[each]) for each in journals}
        now = self._clock.boot_seconds()
        for each in requests:
            ours = self._ends.setdefault(each.partition, Ends())
            ours.note(now, ends[each], progress[each.partition])
