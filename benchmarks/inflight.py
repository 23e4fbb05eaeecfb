"""What open jobs cost one process while their tasks run: memory, processor time, bytes of the journal.

    python -m benchmarks.inflight [--jobs 0 10000 100000] [--seconds 30] [--json FILE]

For each number the journal (12 partitions of real Kafka, exactly_once) is filled with one-file jobs without
metadata whose tasks run at the provider, by this process, as `benchmarks.restore` does it. A service then
takes them over. No task ends, and the service polls at its part (0.75) of the quota, 15 a second. Once it
polls, and some seconds later, the window begins: its processor time alone is taken (user and system), and
its resident set at the end, against that of the first number, which should be 0. At last it is told to end.

The bytes of the journal are of jobs that came as requests: keys, values and headers of all records of a job,
before compression, from its request to the running task, and to its end, and what of that is not the record
of the request itself. What belongs to the shard (claims, cursor, spending) is left out.
"""

import argparse
import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aiokafka import ConsumerRecord
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.report import Row, cpu_seconds, resident_bytes, show
from benchmarks.restore import WAIT_MS, RunningJob, fill, running_job
from benchmarks.stack import NO_QUOTAS, PARTITIONS, QUOTAS_OFF, own_broker, own_stack, publish, request
from sandbox.simulator import serve
from service.clock import SystemClock
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal.journal import Journal
from service.kafka.journal.tail import Tail
from tests.integration.stack import CHECK_SECONDS, Scribe, Stack

SETTLE_SECONDS = 10.0
WRITTEN_JOBS = 200
MAX_SECONDS = 600.0
"""Of one number of jobs: a run ends with an error instead of hanging."""
_QUERY = re.compile(r"/api/v1/tasks/([^/]+)")


@dataclass
class RunningTasks:
    """An application around the simulator's: as long as `is_held`, every task runs."""

    app: ASGIApp
    is_held: bool = True
    queries: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        task = _QUERY.fullmatch(scope["path"])
        if task is None or not self.is_held:
            await self.app(scope, receive, send)
            return
        self.queries += 1
        output = {"task_id": task[1], "task_status": "RUNNING"}
        body = json.dumps({"request_id": "0", "output": output}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Provider:
    """A simulator whose tasks run until they are let go."""

    tasks: RunningTasks

    def around(self, app: ASGIApp) -> ASGIApp:
        """Stand between the service and the simulator."""
        self.tasks = RunningTasks(app)
        return self.tasks


async def measure(bootstrap: str, sizes: Sequence[int], seconds: float, folder: Path) -> list[Row]:
    """A row for each number of open jobs; the first is what the others' memory is compared with."""
    rows: list[Row] = []
    provider = Provider()
    async with serve(NO_QUOTAS, provider.around) as sim:
        for size in sizes:
            async with asyncio.timeout(MAX_SECONDS + seconds), own_stack(bootstrap, sim, folder) as stack:
                await _fill(stack, size)
                began = time.perf_counter()
                scribe = await stack.start(SCRIBE_LIMITS__OPEN_JOBS=str(10**6))
                ready_seconds = time.perf_counter() - began
                row = await _window(stack, provider.tasks, size, seconds)
                assert sum((await _open_jobs(scribe)).values()) == size, stack.logs()
                began = time.perf_counter()
                assert await scribe.end() == 0, stack.logs()
                drain_seconds = time.perf_counter() - began
            rows.append({**row, "start_seconds": ready_seconds, "drain_seconds": drain_seconds})
    return [{**row, **_growth(row, rows[0])} for row in rows]


def _growth(row: Row, first: Row) -> Row:
    jobs = float(row["open jobs"]) - float(first["open jobs"])
    grown = 2**20 * (float(row["resident_mib"]) - float(first["resident_mib"]))
    return {"bytes_per_job": grown / jobs if jobs else 0.0}


async def _window(stack: Stack, tasks: RunningTasks, size: int, seconds: float) -> Row:
    [scribe] = stack.scribes
    pid = scribe.process.pid
    before = tasks.queries
    await stack.until(lambda: not size or tasks.queries > before)
    await asyncio.sleep(min(SETTLE_SECONDS, seconds))
    queries, cpu, began = tasks.queries, cpu_seconds(pid), time.perf_counter()
    await asyncio.sleep(seconds)
    passed = time.perf_counter() - began
    return {
        "open jobs": str(size),
        "cpu_percent_of_a_core": 100 * (cpu_seconds(pid) - cpu) / passed,
        "polls_per_second": (tasks.queries - queries) / passed,
        "resident_mib": resident_bytes(pid) / 2**20,
    }


async def _open_jobs(scribe: Scribe) -> dict[str, int]:
    jobs: dict[str, int] = (await scribe.get("status")).json()["jobs"]
    return jobs


async def _running(scribe: Scribe) -> int:
    submissions: dict[str, int] = (await scribe.get("status")).json()["submissions"]
    return submissions.get("running", 0)


async def _fill(stack: Stack, size: int) -> None:
    """Write the jobs into the journal as their owners would, before there is a service."""
    cluster = ClusterConfig(stack.bootstrap)
    names = stack.topics
    topics = Topics(names["requests"], names["results"], names["failures"], names["journal"])
    await prepare(cluster, topics, Creation(PARTITIONS, 1))
    async with ReconnectingReader(cluster, WAIT_MS, "read_uncommitted") as watermarks:
        tail = Tail(watermarks, topics.journal, SystemClock())
        places = asyncio.Semaphore(1)
        journal = Journal(cluster, topics, None, watermarks, tail, "m", "refuse", {}, WAIT_MS, places)
        for partition in range(min(PARTITIONS, size)):
            jobs = [_job(number, names["requests"]) for number in range(partition, size, PARTITIONS)]
            await fill(journal, jobs, partition)


def _job(number: int, topic: str) -> RunningJob:
    job = running_job(number)
    plain = replace(job.request, options={}, metadata=None, headers=())
    request = replace(plain, topic=topic, partition=number % PARTITIONS)
    return replace(job, request=request)


async def written(bootstrap: str, jobs: int, folder: Path) -> list[Row]:
    """What the journal takes of jobs that come as requests."""
    provider = Provider()
    requests = [request(number, "run=0") for number in range(jobs)]
    async with (
        asyncio.timeout(MAX_SECONDS),
        serve(NO_QUOTAS, provider.around) as sim,
        own_stack(bootstrap, sim, folder) as stack,
    ):
        scribe = await stack.start(**QUOTAS_OFF)
        await publish(stack, requests)
        while (await _running(scribe)) < jobs:
            await asyncio.sleep(CHECK_SECONDS)
        running = _bytes(await stack.journal())
        provider.tasks.is_held = False
        await stack.outcomes(jobs)
        journal = await stack.journal()
        ended, beside = (
            _bytes(journal),
            _bytes([each for each in journal if b'"files":' not in (each.value or b"")]),
        )
    request_bytes = sum(len(key) + len(value) for key, value in requests)
    return [
        {"bytes_per_job_in": "its request", "mean": request_bytes / jobs},
        {"bytes_per_job_in": "journal until its task runs", "mean": running / jobs},
        {"bytes_per_job_in": "journal until its end", "mean": ended / jobs},
        {"bytes_per_job_in": "the same, beside the request's record", "mean": beside / jobs},
    ]


def _bytes(records: Sequence[ConsumerRecord]) -> int:
    """Keys, values and headers of the records that are not of the shard itself."""
    return sum(
        len(record.key)
        + len(record.value or b"")
        + sum(len(name) + len(value) for name, value in record.headers)
        for record in records
        if not record.key.startswith(b"~")
    )


def main() -> None:
    """Measure on a Kafka of its own, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[0, 10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path, help="write both tables to this file too")
    options = parser.parse_args()
    with own_broker() as (bootstrap, folder):
        open_rows = asyncio.run(measure(bootstrap, options.jobs, options.seconds, folder))
        written_rows = asyncio.run(written(bootstrap, WRITTEN_JOBS, folder))
    titles = f"open jobs, over {options.seconds:g} s", f"journal, mean of {WRITTEN_JOBS} one-file jobs"
    show(dict(zip(titles, (open_rows, written_rows), strict=True)), options.json)


if __name__ == "__main__":
    main()
