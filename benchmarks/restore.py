"""How long a take-over takes, and a drain, with many jobs open; and how long the event loop stands still.

    python -m benchmarks.restore [--jobs 1000 10000 100000] [--kafka] [--json FILE]

The journal of one partition is filled with jobs whose tasks run at the provider. A member takes it over while
another task of the same loop looks at the clock as often as it can: the longest gap is how long anything else
had to wait, by the wall and by the processor time of the process, which leaves out what the machine gave to
others. The noise is the same without any work.
"""

import argparse
import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import Row, show
from benchmarks.stack import own_broker
from service.clock import SystemClock
from service.core.job.accepted_request import AcceptedRequest, RequestFile
from service.core.job.identity import Origin, SubmissionKey
from service.core.job.submission import Counters, Intent, Submission, SubmissionState
from service.core.job.transition_context import Rules
from service.core.journal.entries import encode_request, encode_submission
from service.core.shard.batches import Batch, Committed, Group, JournalRecord
from service.core.shard.shard import Shard
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal.journal import Journal
from service.kafka.journal.tail import Tail
from service.kafka.writing.producer import Producer
from service.pipeline.assignment.assigned_partition import begin, drain, load
from service.pipeline.assignment.garbage_collection import GarbageCollector
from service.pipeline.shard.backlog import Backlog
from service.pipeline.shard.shard_runner import RunnerDeps, ShardRunner
from service.pipeline.shard.stage_breaker import StageBreaker

SIZES = (1_000, 10_000, 100_000)
BATCH_JOBS = 500
NOISE_SECONDS = 2.0
WAIT_MS = 20
CHECK_SECONDS = 0.001
"""How often the loop's turns are looked at: more often would take the processor from what is measured."""


@dataclass
class Gaps:
    """The times between two turns of the event loop, in milliseconds.

    `cpu` is the processor time of the process in each: what the machine gave to others is not in it.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@asynccontextmanager
async def watched() -> AsyncIterator[Gaps]:
    """Measure the loop's gaps for as long as the block lasts."""
    gaps = Gaps()

    async def tick() -> None:
        last, last_cpu = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now, cpu = time.perf_counter(), time.process_time()
            gaps.wall.append(1000 * (now - last))
            gaps.cpu.append(1000 * (cpu - last_cpu))
            last, last_cpu = now, cpu

    ticking = asyncio.ensure_future(tick())
    try:
        yield gaps
    finally:
        ticking.cancel()


@dataclass(frozen=True)
class RunningJob:
    """A request for one file, and the submission that made a task for it."""

    request: AcceptedRequest
    submission: Submission

    @property
    def records(self) -> tuple[JournalRecord, JournalRecord]:
        """What the journal holds of it."""
        return (
            JournalRecord(str(self.request.origin), encode_request(self.request)),
            JournalRecord(str(self.submission.key), encode_submission(self.submission)),
        )


def running_job(number: int) -> RunningJob:
    """A job like any other, with a task at the provider."""
    now_ms = SystemClock().now_ms()
    url = f"https://bucket.example.com/audio/{number:08}.wav?Signature=0123456789abcdef"
    request = AcceptedRequest(
        origin=Origin(0, number),
        topic="transcription.requests",
        partition=0,
        timestamp_ms=now_ms,
        request_id=f"request-{number:08}",
        replay=0,
        digest=f"{number:032x}",
        model="fun-asr",
        files=(RequestFile(0, url),),
        file_count=1,
        deadline_ms=now_ms + 7 * 24 * 3600 * 1000,
        accepted_ms=now_ms,
        options={"language_hints": ["en"]},
        metadata={"call": number},
        headers=(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
    )
    submission = Submission(
        SubmissionKey(1, number),
        "fun-asr",
        (request.ref(0),),
        now_ms,
        state=SubmissionState.RUNNING,
        counters=Counters(submits=1, tasks_made=1),
        intent=Intent(now_ms, 0, 1, ""),
        task_id=str(uuid.UUID(int=number)),
        submitted_ms=now_ms,
    )
    return RunningJob(request, submission)


class Silent:
    """An observer that counts nothing."""

    def __getattr__(self, _name: str) -> object:
        return lambda *_: None


async def measure(bootstrap: str, jobs: int, *, is_real: bool) -> Row:
    """Fill, take over, drain."""
    cluster, topics = ClusterConfig(bootstrap), Topics()
    await prepare(cluster, topics, Creation(1, 1))
    producer = None if is_real else Producer(cluster, idempotent=False)
    async with ReconnectingReader(cluster, WAIT_MS, "read_uncommitted") as watermarks:
        tail = Tail(watermarks, topics.journal, SystemClock())
        places = asyncio.Semaphore(1)
        journal = Journal(cluster, topics, producer, watermarks, tail, "m", "refuse", {}, WAIT_MS, places)
        await fill(journal, [running_job(number) for number in range(jobs)])
        async with watched() as noise:
            await asyncio.sleep(NOISE_SECONDS)
        began, cpu = time.perf_counter(), time.process_time()
        async with watched() as gaps:
            shard = await take(journal)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert len(shard.state.jobs) == jobs
        serving = asyncio.ensure_future(shard.run_until_closed())
        began = time.perf_counter()
        await drain([shard], 10.0, 0.0, lambda _partition: True)
        shard.close()
        await serving
        await shard.writer.close()
        drain_seconds = time.perf_counter() - began
    if producer is not None:
        await producer.stop()
    return {
        "open jobs": str(jobs),
        "take-over s": wall,
        "cpu s": cpu,
        "cpu us a job": 1e6 * cpu / jobs,
        "longest gap ms": max(gaps.wall),
        "of it cpu ms": max(gaps.cpu),
        "noise ms": max(noise.wall),
        "drain s": drain_seconds,
    }


async def fill(journal: Journal, jobs: Sequence[RunningJob], partition: int = 0) -> None:
    """Write the jobs as their owner would."""
    taken = await journal.take_over(partition, None)
    writer = journal.writer(partition, taken, _is_owner)
    for number, start in enumerate(range(0, len(jobs), BATCH_JOBS), start=1):
        groups = tuple(Group(records=job.records) for job in jobs[start : start + BATCH_JOBS])
        answer = await writer.append(Batch(number, groups))
        assert isinstance(answer, Committed), answer
    await writer.close()


async def take(journal: Journal) -> ShardRunner:
    """Take the shard over as `Assignment` does."""
    collector = GarbageCollector()
    with collector.paused():
        shard = await _take(journal)
        collector.forget()
    return shard


async def _take(journal: Journal) -> ShardRunner:
    taken = await journal.take_over(0, None)
    state = Shard(0, taken.epoch, taken.cursor)
    clock = SystemClock()
    breaker = StageBreaker(clock, lambda _stage, _is_stopped: None)
    deps = RunnerDeps(clock, Rules(), Silent(), lambda _runner, _step: None, breaker, Backlog())  # type: ignore[arg-type]
    runner = ShardRunner(state, journal.writer(0, taken, _is_owner), taken.epoch, deps)
    await begin(runner, await load(runner, taken.restore))
    return runner


async def _is_owner() -> bool:
    return True


def main() -> None:
    """Measure on the broker that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--kafka", action="store_true", help="real Kafka, in exactly_once")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    show({"take-over of open jobs in one partition": rows(options.jobs, is_real=options.kafka)}, options.json)


def rows(sizes: Sequence[int], *, is_real: bool) -> list[Row]:
    """A line for each size, each on a broker of its own."""
    found = []
    for size in sizes:
        with own_broker(is_real=is_real) as (bootstrap, _):
            found.append(asyncio.run(measure(bootstrap, size, is_real=is_real)))
    return found


if __name__ == "__main__":
    main()
