"""How long a take-over takes, and a drain, with many jobs open; and how long the event loop stands still.

    python -m benchmarks.restore [--jobs 100000] [--kafka]

The journal of one partition is filled with jobs whose tasks run at the provider. A member takes it over while
another task of the same loop looks at the clock as often as it can: the longest gap is how long anything else
had to wait. The same is measured without any work, as the machine's own noise.
"""

import argparse
import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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

    def line(self) -> str:
        return f"longest gaps {_longest(self.wall)}; by processor time {_longest(self.cpu)}"


def _longest(gaps: Sequence[float]) -> str:
    longest = sorted(gaps, reverse=True)[:3]
    return f"{', '.join(f'{gap:.0f}' for gap in longest)} ms, {sum(gap > 20 for gap in gaps)} over 20 ms"


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


async def measure(bootstrap: str, jobs: int, *, is_real: bool) -> None:
    """Fill, take over, drain; print what was seen."""
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
        print(f"nothing to do, {NOISE_SECONDS:g} s: {noise.line()}")
        began, cpu = time.perf_counter(), time.process_time()
        async with watched() as gaps:
            shard = await take(journal)
        print(
            f"take-over of {len(shard.state.jobs)} open jobs: {time.perf_counter() - began:.2f} s, "
            f"CPU {time.process_time() - cpu:.2f} s; {gaps.line()}"
        )
        serving = asyncio.ensure_future(shard.run_until_closed())
        began = time.perf_counter()
        await drain([shard], 10.0, 0.0, lambda _partition: True)
        shard.close()
        await serving
        await shard.writer.close()
        print(f"drain with {len(shard.state.jobs)} open jobs: {1000 * (time.perf_counter() - began):.0f} ms")
    if producer is not None:
        await producer.stop()


async def fill(journal: Journal, jobs: Sequence[RunningJob], partition: int = 0) -> None:
    """Write the jobs as their owner would."""
    taken = await journal.take(partition, None)
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
    taken = await journal.take(0, None)
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
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--kafka", action="store_true", help="real Kafka, in exactly_once")
    options = parser.parse_args()
    with own_broker(is_real=options.kafka) as (bootstrap, _):
        asyncio.run(measure(bootstrap, options.jobs, is_real=options.kafka))


if __name__ == "__main__":
    main()
