"""Both modes of delivery side by side, on one real Kafka: what a batch takes, and what a job costs.

    python -m benchmarks.delivery [--partitions 12] [--seconds 10] [--jobs-per-second 10]

A job is three batches, as in the service: accept with intent, task id, outcome with marker. Paced, jobs come
evenly over all shards; flat out, each shard writes one job after the other.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from statistics import median

from benchmarks.restore import WAIT_MS, running_job
from sandbox import kafka
from service.clock import SystemClock
from service.contract.speech import empty_transcript
from service.core.batch import Batch, Committed
from service.core.ending import ResultEnding
from service.core.entry import Marker, encode_job, encode_marker
from service.core.job import Job, State
from service.core.outcomes import OutcomeRules, job_outcome
from service.core.record import Cursor
from service.core.shard import Move
from service.kafka.client import ClusterConfig, reader
from service.kafka.journal import Journal
from service.kafka.producer import Producer
from service.kafka.tail import Tail
from service.kafka.topics import Creation, Topics, prepare
from service.kafka.writer import Writer


@dataclass
class Seen:
    """What one run saw."""

    batch_ms: list[float] = field(default_factory=list)
    jobs: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def line(self, name: str, shards: int) -> str:
        ordered = sorted(self.batch_ms)
        late = ordered[int(0.99 * (len(ordered) - 1))]
        rate, cpu_ms = len(ordered) / self.seconds, 1000 * self.cpu_seconds / self.jobs
        return (
            f"{name:14} {rate:7.0f} batches/s, {rate / shards:6.1f} a shard; a batch takes "
            f"{median(ordered):5.1f} ms (p99 {late:5.1f}); {cpu_ms:5.2f} ms CPU a job"
        )


@dataclass
class Lane:
    """One shard's writer, and the number of its next batch."""

    writer: Writer
    number: int = 0

    async def write(self, job: Job, seen: Seen) -> None:
        """See one job through its three batches."""
        done = replace(job, state=State.FINISHING, ending=ResultEnding(empty_transcript()))
        outcome = job_outcome(done, None, job.spec.accepted_ms, OutcomeRules())
        marker = Marker(job.key, job.spec.digest, 1, True, 3, job.spec.accepted_ms)
        key = str(job.key)
        intent = encode_job(replace(job, state=State.SUBMITTING, task_id=None))
        await self._append(seen, Move(key, intent), cursor=Cursor(self.number, 1, 1))
        await self._append(seen, Move(key, encode_job(job)))
        await self._append(seen, Move(key, encode_marker(marker), encode_job(done), outcome))
        seen.jobs += 1

    async def _append(self, seen: Seen, move: Move, cursor: Cursor | None = None) -> None:
        self.number += 1
        began = time.perf_counter()
        answer = await self.writer.append(Batch(self.number, (move,), cursor))
        assert isinstance(answer, Committed), answer
        seen.batch_ms.append(1000 * (time.perf_counter() - began))


async def measure(bootstrap: str, mode: str, options: argparse.Namespace) -> dict[str, Seen]:
    """Both loads in one mode."""
    cluster = ClusterConfig(bootstrap)
    topics = Topics(*(f"{mode}.{options.partitions}.{role}" for role in ("q", "r", "f", "j")))
    await prepare(cluster, topics, Creation(options.partitions, 1))
    producer = Producer(cluster, idempotent=True) if mode == "at_least_once" else None
    async with reader(cluster, WAIT_MS, "read_uncommitted") as consumer:
        tail = Tail(consumer, topics.journal, SystemClock())
        places = asyncio.Semaphore(4)
        journal = Journal(cluster, topics, producer, consumer, tail, "m", "refuse", {}, WAIT_MS, places)
        began, cpu = time.perf_counter(), time.process_time()
        taken = await asyncio.gather(*(journal.take(each, None) for each in range(options.partitions)))
        print(
            f"{mode:14} {options.partitions} take-overs of empty shards: "
            f"{time.perf_counter() - began:.2f} s, CPU {time.process_time() - cpu:.2f} s"
        )
        lanes = [Lane(journal.writer(number, each, _is_owner)) for number, each in enumerate(taken)]
        paced = await _timed(lambda seen: _paced(lanes, seen, options))
        flat_out = await _timed(lambda seen: _flat_out(lanes, seen, options.seconds))
        for lane in lanes:
            await lane.writer.close()
    if producer is not None:
        await producer.stop()
    return {"paced": paced, "flat out": flat_out}


async def _timed(load: Callable[[Seen], Awaitable[None]]) -> Seen:
    seen = Seen()
    began, cpu = time.perf_counter(), time.process_time()
    await load(seen)
    seen.seconds, seen.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return seen


async def _paced(lanes: list[Lane], seen: Seen, options: argparse.Namespace) -> None:
    count = round(options.seconds * options.jobs_per_second)
    busy = [asyncio.Lock() for _ in lanes]

    async def one(number: int) -> None:
        await asyncio.sleep(number / options.jobs_per_second)
        async with busy[number % len(lanes)]:
            await lanes[number % len(lanes)].write(running_job(number), seen)

    await asyncio.gather(*(one(number) for number in range(count)))


async def _flat_out(lanes: list[Lane], seen: Seen, seconds: float) -> None:
    end = time.perf_counter() + seconds

    async def one(lane: Lane, place: int) -> None:
        number = place * 10**6
        while time.perf_counter() < end:
            await lane.write(running_job(number), seen)
            number += 1

    await asyncio.gather(*(one(lane, place) for place, lane in enumerate(lanes)))


async def _is_owner() -> bool:
    return True


def main() -> None:
    """Measure both modes, and print what one costs in terms of the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--jobs-per-second", type=float, default=10.0)
    options = parser.parse_args()
    with kafka.real_kafka() as cluster:
        runs = {
            mode: asyncio.run(measure(cluster.bootstrap, mode, options))
            for mode in ("exactly_once", "at_least_once")
        }
    for load in ("paced", "flat out"):
        print(f"{load}, {options.partitions} partitions:")
        for mode, seen in runs.items():
            print("  " + seen[load].line(mode, options.partitions))
        ours, other = runs["exactly_once"][load], runs["at_least_once"][load]
        latency = median(ours.batch_ms) / median(other.batch_ms)
        cpu = (ours.cpu_seconds / ours.jobs) / (other.cpu_seconds / other.jobs)
        print(f"  exactly_once takes {latency:.1f} times as long a batch, and {cpu:.1f} times the CPU a job")


if __name__ == "__main__":
    main()
