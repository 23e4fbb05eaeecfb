"""How much of the submit quota a backlog gets, in virtual time: of many small requests, and of large ones.

    python -m benchmarks.submits [--replicas 1 2 4] [--minutes 10] [--open-jobs 20000] [--json FILE]
    python -m benchmarks.submits --hot [--replicas 1 2 12]

All requests lie in the topic of 12 partitions from the beginning. Each replica is the service's own stages,
from the record of a request to its outcome, with its call limiter, its shards and a journal in memory that
takes 10 ms a batch; it takes records while it has room, as the service does. All have one account: 600
submits a minute, of which 0.75 are configured; an answer takes 100 ms, a task some 60 s. Nothing waits for a
processor here: what limits is what the code decides, not what it costs.

- `--backlogs small`: 100,000 requests of one file.
- `large`, `packed`: 2,000 requests of 100 files, with one file a task, and with 100.
- `--hot`: 10,000 requests of one file lie in partition 0, or evenly in all: a replica has the part of the
  quota that its partitions are of all.

Submits are counted at the provider, in the minutes after the first one.
"""

import argparse
import asyncio
import json
import random
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from benchmarks.poll import SIGMA, Load, Seen, TimedTasks
from benchmarks.report import Row, show
from service.core.job.identity import Position
from service.core.job.request_record import Record
from service.core.provider.answers import ProviderError, SubmitAnswer
from service.kafka.writing.producer_record import ProducerRecord, SendResult
from service.pipeline.assignment.assignment import RESUME_BELOW
from service.pipeline.shard.shard_runner import ShardRunner
from service.provider.api import Permit, at_once
from tests.fakes.clock import FakeClock, LeapingLoop
from tests.fakes.writer import MemoryBroker
from tests.unit.pipeline.world import Limits, World

PARTITIONS = 12
SUBMITS_PER_MINUTE, PART = 600.0, 0.75
OPEN_JOBS = 20_000
"""Of a replica: the default of the setting."""
SUBMIT_SECONDS, BATCH_SECONDS = 0.1, 0.01
TASK_SECONDS = 60.0
READ_SECONDS = 0.1
"""A replica looks this often for room and reads what fits."""
READ_AT_ONCE = 500
SETTLE_SECONDS = 5.0
"""After the start, until replicas that share slots use them."""
MOST_FILES = 100_000
"""Of one line: each costs a millisecond or more."""
SEED = 7
RESULT_URL = re.compile(r"/task-(\d+)-(\d+)\.json")


@dataclass(frozen=True)
class Backlog:
    """What lies in the topic at the beginning."""

    name: str
    requests: int
    files: int = 1
    per_task: int = 1
    is_hot: bool = False
    """Whether all of it lies in one partition."""

    def of(self, partition: int) -> Iterator[Record]:
        """The records of one partition."""
        numbers = range(partition, self.requests, PARTITIONS)
        if self.is_hot:
            numbers = range(0 if partition else self.requests)
        for offset, number in enumerate(numbers):
            urls = [f"https://h.example/{number}-{index}.wav" for index in range(self.files)]
            body = {"request_id": f"r{number}", "model": "fun-asr", "file_urls": urls}
            position = Position("transcription.requests", partition, offset, None)
            yield Record(position, f"r{number}".encode(), json.dumps(body).encode())


BACKLOGS = {
    "small": Backlog("100,000 of 1 file", 100_000),
    "large": Backlog("2,000 of 100 files, 1 a task", 2_000, 100),
    "packed": Backlog("2,000 of 100 files, 100 a task", 2_000, 100, 100),
}
UNIFORM = Backlog("10,000 in 12 partitions", 10_000)
HOT = Backlog("10,000 in one partition", 10_000, is_hot=True)


class Account(TimedTasks):
    """The provider: it notes when each submit arrives."""

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        """Make a task; the answer takes its time."""
        answer = await super().submit(model, file_urls, options, permit)
        await asyncio.sleep(SUBMIT_SECONDS)
        return answer

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """The result of the file."""
        del max_bytes
        found = RESULT_URL.search(transcription_url)
        assert found is not None
        return self._result(self.submits[int(found[1]) - 1].file_urls[int(found[2]) - 1])

    @property
    def arrivals(self) -> list[float]:
        """When each submit arrived."""
        return [(each.created_ms - self.begin_ms) / 1000 for each in self.submits]

    def submits_between(self, begin: float, end: float) -> int:
        """How many submits arrived then."""
        return sum(begin <= each < end for each in self.arrivals)

    def densest(self, seconds: float) -> int:
        """The most submits in any span of this length."""
        at = self.arrivals
        return max((bisect_left(at, each + seconds) - number for number, each in enumerate(at)), default=0)


class Journal(MemoryBroker):
    """A broker that takes its time."""

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        """As `Producer.send`."""
        await asyncio.sleep(BATCH_SECONDS)
        return await super().send(records)


@dataclass
class Reader:
    """Reads one partition into its shard while there is room, as the service does."""

    runner: ShardRunner
    records: Iterator[Record]
    most_jobs: int
    is_full: bool = False

    def has_room(self) -> bool:
        """As `Assignment.has_room`."""
        limit = RESUME_BELOW if self.is_full else 1.0
        jobs, fill = len(self.runner.state.jobs), self.runner.fill
        self.is_full = jobs >= self.most_jobs * limit or fill >= limit
        return not self.is_full

    def read(self, world: World) -> None:
        """Read what fits."""
        for _ in range(READ_AT_ONCE):
            if not self.has_room() or (record := next(self.records, None)) is None:
                return
            world.deliver(self.runner, record)


@dataclass
class Replica:
    """One process with its part of the partitions."""

    world: World
    readers: list[Reader] = field(default_factory=list)

    def serve(self, partitions: Sequence[int], backlog: Backlog, open_jobs: int) -> None:
        """Serve these partitions, and start the stages."""
        share = self.world.limiter.share
        share.partitions = PARTITIONS
        share.served = dict.fromkeys(partitions, self.world.clock.boot_seconds())
        for partition in partitions:
            runner = self.world.shard(partition)
            self.readers.append(Reader(runner, backlog.of(partition), open_jobs // len(partitions)))
        self.world.run("submit", "vocabulary", "poll", "collect", "sweep")
        self.world.spawn(self._read(), name="read")

    async def _read(self) -> None:
        while True:
            for reader in self.readers:
                reader.read(self.world)
            await self.world.clock.sleep(READ_SECONDS)


async def _measure(backlog: Backlog, replicas: int, minutes: float, open_jobs: int) -> Row:
    dice, clock = random.Random(SEED), FakeClock()  # noqa: S311 - not for secrets
    tasks = round((minutes + 1) * SUBMITS_PER_MINUTE)
    runs = [TASK_SECONDS * dice.lognormvariate(-(SIGMA**2) / 2, SIGMA) for _ in range(tasks)]
    seen = Seen(Load(0, 1.0, 0.0, 60 * minutes, 60 * minutes, runs))
    account = Account(seen=seen, begin_ms=clock.now_ms(), now_ms=clock.now_ms)
    account.max_files = backlog.per_task
    limits = Limits(
        part=PART,
        calls_per_second=20.0,
        submits_per_minute=SUBMITS_PER_MINUTE,
        queries=256,
        files_per_task=backlog.per_task,
    )
    members = [
        Replica(World(limits, clock=clock, provider=account, broker=Journal())) for _ in range(replicas)
    ]
    for number, member in enumerate(members):
        first, end = (PARTITIONS * each // replicas for each in (number, number + 1))
        member.serve(range(first, end), backlog, open_jobs)
    await clock.sleep(SETTLE_SECONDS + 60 * minutes)
    submits = account.submits_between(SETTLE_SECONDS, SETTLE_SECONDS + 60 * minutes)
    for member in members:
        await member.world.end()
    configured = PART * SUBMITS_PER_MINUTE
    return {
        "backlog": backlog.name,
        "replicas": replicas,
        "submits a minute": submits / minutes,
        "% of the configured part": 100 * submits / minutes / configured,
        "files a minute": submits * backlog.per_task / minutes,
        "most in a second": account.densest(1.0),
        "most in a minute": account.densest(60.0),
    }


def measure(backlog: Backlog, replicas: int, minutes: float, open_jobs: int = OPEN_JOBS) -> Row:
    """One line of the table, on a loop whose time leaps."""
    with asyncio.Runner(loop_factory=LeapingLoop) as loop:
        row = loop.run(_measure(backlog, replicas, minutes, open_jobs))
    print(json.dumps(row), file=sys.stderr)
    return row


def rows(
    backlogs: Sequence[Backlog], replicas: Sequence[int], minutes: float, open_jobs: int = OPEN_JOBS
) -> list[Row]:
    """All lines, each in a process of its own."""
    with ProcessPoolExecutor() as pool:
        found: list[Future[Row]] = [
            pool.submit(measure, backlog, each, _minutes_of(backlog, minutes), open_jobs)
            for backlog in backlogs
            for each in replicas
        ]
        return [each.result() for each in found]


def _minutes_of(backlog: Backlog, minutes: float) -> float:
    """Less where the backlog would be empty before, or where there is more to see than is worth the time."""
    files = min(MOST_FILES, backlog.requests * backlog.files)
    return min(minutes, float(int(files / backlog.per_task / (PART * SUBMITS_PER_MINUTE))))


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--open-jobs", type=int, default=OPEN_JOBS, help="of a replica")
    parser.add_argument("--backlogs", nargs="+", choices=BACKLOGS, default=list(BACKLOGS))
    parser.add_argument("--hot", action="store_true", help="one hot partition beside a uniform load")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    given = parser.parse_args()
    backlogs = (UNIFORM, HOT) if given.hot else [BACKLOGS[name] for name in given.backlogs]
    table = rows(backlogs, given.replicas, given.minutes, given.open_jobs)
    show({"submits out of a backlog (virtual time)": table}, given.json)


if __name__ == "__main__":
    main()
