"""What grows with the load: a job's cost, a take-over, and what one hot partition gets of the quota.

    python -m benchmarks.scale [--rates 0.25 2.5 25] [--seconds 60] [--json FILE]

- Cost: real Kafka, exactly_once, no quotas, a simulator that answers at once. Requests of one file come
  evenly at each rate, one, ten and a hundred times the first; a task has ended when it is first polled. The
  processor time is that of the service alone, from the first request to the last outcome. `beyond idle`
  leaves out what the same process uses when nothing comes: heartbeats, fetches that find nothing, timers.
- Take-over: `benchmarks.restore`, on the embedded broker.
- Hot partition: `benchmarks.submits --hot`, in virtual time.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import restore, submits
from benchmarks.report import Row, cpu_seconds, show
from benchmarks.stack import NO_QUOTAS, QUOTAS_OFF, own_broker, own_stack, request
from sandbox.simulator import Simulator, serve
from tests.integration.stack import Stack

RATES = (0.25, 2.5, 25.0)
IDLE_SECONDS = 20.0
SCRIPT = "run=0&words=100"
HOT_REPLICAS = (1, 2, 12)
HOT_MINUTES = 3.0
MAX_SECONDS = 600.0
"""Of one rate: a run ends with an error instead of hanging."""


async def cost(bootstrap: str, rates: Sequence[float], seconds: float, folder: Path) -> list[Row]:
    """A line for each rate."""
    rows: list[Row] = []
    async with serve(NO_QUOTAS) as sim:
        for rate in rates:
            async with asyncio.timeout(MAX_SECONDS + seconds), own_stack(bootstrap, sim, folder) as stack:
                rows.append(await _cost(stack, sim, rate, seconds))
    first = float(rows[0]["beyond idle"])
    return [{**row, "to the first": float(row["beyond idle"]) / first} for row in rows]


async def _cost(stack: Stack, sim: Simulator, rate: float, seconds: float) -> Row:
    scribe = await stack.start(**QUOTAS_OFF)
    pid, jobs = scribe.process.pid, max(1, round(rate * seconds))
    async with AIOKafkaConsumer(
        stack.topics["results"],
        bootstrap_servers=stack.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        await _serve(stack, consumer, [0.0] * 20, first=10**7)
        began, cpu = time.perf_counter(), cpu_seconds(pid)
        await asyncio.sleep(IDLE_SECONDS)
        idle = (cpu_seconds(pid) - cpu) / (time.perf_counter() - began)
        calls, began, cpu = len(sim.ledger().calls), time.perf_counter(), cpu_seconds(pid)
        await _serve(stack, consumer, [number / rate for number in range(jobs)], first=0)
        passed, cpu = time.perf_counter() - began, cpu_seconds(pid) - cpu
    return {
        "jobs a second": f"{rate:g}",
        "jobs": jobs,
        "cpu ms a job": 1000 * cpu / jobs,
        "idle cpu ms a second": 1000 * idle,
        "beyond idle": 1000 * (cpu - idle * passed) / jobs,
        "provider calls": (len(sim.ledger().calls) - calls) / jobs,
    }


async def _serve(stack: Stack, consumer: AIOKafkaConsumer, due: Sequence[float], first: int) -> None:
    """Publish a request at each time, and wait for the results."""
    began, done = time.perf_counter(), set[bytes]()
    publishing = asyncio.ensure_future(_publish(stack, due, began, first))
    while len(done) < len(due):
        assert stack.scribes[-1].process.returncode is None, stack.logs()
        for records in (await consumer.getmany(timeout_ms=200)).values():
            done |= {record.key for record in records}
    await publishing


async def _publish(stack: Stack, due: Sequence[float], began: float, first: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
            key, value = request(first + number, SCRIPT)
            await producer.send(stack.topics["requests"], value, key=key)
        await producer.flush()


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path, help="write the tables to this file too")
    options = parser.parse_args()
    with own_broker() as (bootstrap, folder):
        costs = asyncio.run(cost(bootstrap, options.rates, options.seconds, folder))
    restored = restore.rows(restore.SIZES, is_real=False)
    hot = submits.rows((submits.UNIFORM, submits.HOT), HOT_REPLICAS, HOT_MINUTES)
    tables = {
        f"cost of a job by the load, {options.seconds:g} s each": costs,
        "take-over of open jobs in one partition": restored,
        "one hot partition beside a uniform load (virtual time)": hot,
    }
    show(tables, options.json)


if __name__ == "__main__":
    main()
