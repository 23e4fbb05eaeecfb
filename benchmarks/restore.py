"""How long a take-over takes, and a drain, with many jobs open; and how long the event loop stands still.

    python -m benchmarks.restore [--jobs 100000] [--kafka]

The journal of one partition is filled with jobs whose tasks run at the provider. A member takes it over while
another task of the same loop looks at the clock as often as it can: the longest gap is how long anything else
had to wait. The same is measured without any work, as the machine's own noise.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from sandbox import kafka
from sandbox.broker import embedded_broker
from service.clock import SystemClock
from service.core.batch import Batch, Committed
from service.core.entry import encode_job
from service.core.identity import Position
from service.core.job import Job, Spec, State
from service.core.moment import Rules
from service.core.outcomes import OutcomeRules
from service.core.record import Cursor
from service.core.shard import Move, Shard, Window
from service.kafka.client import ClusterConfig, reader
from service.kafka.journal import Journal
from service.kafka.producer import Producer
from service.kafka.tail import Tail
from service.kafka.topics import Creation, Topics, prepare
from service.pipeline.garbage import GarbageCollector
from service.pipeline.publish import OwnedShard, Surroundings
from service.pipeline.tenancy import drain, go_on, load

BATCH_JOBS = 1_000
NOISE_SECONDS = 2.0
WAIT_MS = 20


@dataclass
class Gaps:
    """The longest times between two turns of the event loop, in milliseconds."""

    found: list[float] = field(default_factory=list)

    def line(self) -> str:
        longest = sorted(self.found, reverse=True)[:3]
        over = sum(gap > 20 for gap in self.found)
        return f"longest gaps {', '.join(f'{gap:.0f}' for gap in longest)} ms; {over} over 20 ms"


@asynccontextmanager
async def watched() -> AsyncIterator[Gaps]:
    """Measure the loop's gaps for as long as the block lasts."""
    gaps = Gaps()

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps.found.append(1000 * (now - last))
            last = now

    ticking = asyncio.ensure_future(tick())
    try:
        yield gaps
    finally:
        ticking.cancel()


def running_job(number: int) -> Job:
    """A job like any other, with a task at the provider."""
    now_ms = SystemClock().now_ms()
    spec = Spec(
        request_id=f"request-{number:08}",
        replay=0,
        file_count=1,
        job_count=1,
        model="fun-asr",
        options={"language_hints": ["en"]},
        metadata={"call": number},
        headers=(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
        deadline_ms=now_ms + 7 * 24 * 3600 * 1000,
        origin=Position("transcription.requests", 0, number, now_ms),
        digest=f"{number:064x}",
        duplicates_detected=True,
        accepted_ms=now_ms,
    )
    return Job(
        spec,
        0,
        f"https://bucket.example.com/audio/{number:08}.wav?Signature=0123456789abcdef",
        0,
        state=State.RUNNING,
        submit_attempts=1,
        tasks_made=1,
        task_id=f"task-{number:08}",
        task_files=1,
        submitted_ms=now_ms,
    )


@contextmanager
def broker(*, is_real: bool) -> Iterator[str]:
    """`host:port` of a broker for this measurement alone."""
    if is_real:
        with kafka.real_kafka() as cluster:
            yield cluster.bootstrap
    else:
        with embedded_broker() as embedded:
            yield embedded.bootstrap


class Silent:
    """An observer that counts nothing."""

    def __getattr__(self, _name: str) -> object:
        return lambda *_: None


async def measure(bootstrap: str, jobs: int, *, is_real: bool) -> None:
    """Fill, take over, drain; print what was seen."""
    cluster, topics = ClusterConfig(bootstrap), Topics()
    await prepare(cluster, topics, Creation(1, 1))
    producer = None if is_real else Producer(cluster, idempotent=False)
    async with reader(cluster, WAIT_MS, "read_uncommitted") as consumer:
        tail = Tail(consumer, topics.journal, SystemClock())
        places = asyncio.Semaphore(1)
        journal = Journal(cluster, topics, producer, consumer, tail, "m", "refuse", {}, WAIT_MS, places)
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
        await drain([shard], 10.0, 0.0)
        shard.close()
        await serving
        await shard.writer.close()
        print(f"drain with {len(shard.state.jobs)} open jobs: {1000 * (time.perf_counter() - began):.0f} ms")
    if producer is not None:
        await producer.stop()


async def fill(journal: Journal, jobs: Sequence[Job], partition: int = 0) -> None:
    """Write the jobs as their owner would."""
    taken = await journal.take(partition, None)
    writer = journal.writer(partition, taken, _is_owner)
    for number, start in enumerate(range(0, len(jobs), BATCH_JOBS), start=1):
        moves = tuple(Move(str(job.key), encode_job(job)) for job in jobs[start : start + BATCH_JOBS])
        answer = await writer.append(Batch(number, moves))
        assert isinstance(answer, Committed), answer
    await writer.close()


async def take(journal: Journal) -> OwnedShard:
    """Take the shard over as `Shards` does."""
    collector = GarbageCollector()
    with collector.paused():
        shard = await _take(journal)
        collector.forget()
    return shard


async def _take(journal: Journal) -> OwnedShard:
    taken = await journal.take(0, None)
    state = Shard(0, Window(), OutcomeRules(), Cursor(0))
    around = Surroundings(SystemClock(), Rules(), Silent(), lambda _shard, _step: None)  # type: ignore[arg-type]
    shard = OwnedShard(state, journal.writer(0, taken, _is_owner), taken.epoch, around)
    await go_on(shard, await load(shard, taken.restore))
    return shard


async def _is_owner() -> bool:
    return True


def main() -> None:
    """Measure on the broker that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--kafka", action="store_true", help="real Kafka, in exactly_once")
    options = parser.parse_args()
    with broker(is_real=options.kafka) as bootstrap:
        asyncio.run(measure(bootstrap, options.jobs, is_real=options.kafka))


if __name__ == "__main__":
    main()
