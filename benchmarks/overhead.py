"""What a job costs the whole service, beside bare loops that make the same calls and keep nothing.

    python -m benchmarks.overhead [--jobs 1000] [--rounds 3] [--json FILE]

Real Kafka, and a simulator that answers at once; no quotas. Each round starts every contender anew, warms it
up, publishes all jobs, and takes the processor time of that process alone (user and system) and the time
until the last outcome, the 2 s that the service waits before a task's first poll included. What others do
on the machine changes the wall time most: the ratios are of one round, and medians over all rounds.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from aiokafka import AIOKafkaConsumer

from benchmarks.bare_loop import CLIENTS
from benchmarks.report import Row, cpu_seconds, show
from benchmarks.stack import NO_QUOTAS, QUOTAS_OFF, own_broker, own_stack, publish, request
from sandbox.simulator import Simulator, serve
from tests.integration.stack import Stack

SCRIPT = "run=0&words=100"
"""A task has ended when it is first polled; a transcript of 100 words."""
MAX_SECONDS = 300.0
"""Of one contender in one round: a run ends with an error instead of hanging."""


@dataclass(frozen=True)
class Contender:
    """A program that turns requests into results."""

    name: str
    module: str
    settings: Mapping[str, str]


CONTENDERS = (
    Contender("exactly_once", "service", {"SCRIBE_KAFKA__DELIVERY": "exactly_once", **QUOTAS_OFF}),
    Contender("at_least_once", "service", {"SCRIBE_KAFKA__DELIVERY": "at_least_once", **QUOTAS_OFF}),
    *(Contender(f"bare {client}", "benchmarks.bare_loop", {"BARE_CLIENT": client}) for client in CLIENTS),
)


@dataclass(frozen=True)
class Cost:
    """What a job took in one round."""

    cpu_ms: float
    wall_ms: float
    calls: float


async def measure(bootstrap: str, jobs: int, rounds: int, folder: Path) -> list[Row]:
    """All rounds, each beginning with another contender."""
    seen: dict[str, list[Cost]] = {contender.name: [] for contender in CONTENDERS}
    async with serve(NO_QUOTAS) as sim:
        for number in range(rounds):
            turn = number % len(CONTENDERS)
            for contender in (*CONTENDERS[turn:], *CONTENDERS[:turn]):
                async with (
                    asyncio.timeout(MAX_SECONDS),
                    own_stack(bootstrap, sim, folder, contender.module) as stack,
                ):
                    seen[contender.name].append(await _run(stack, sim, contender, jobs))
    return [_row(name, seen) for name in seen]


async def _run(stack: Stack, sim: Simulator, contender: Contender, jobs: int) -> Cost:
    """Start, warm up, measure."""
    warm_up = max(1, jobs // 10)
    process = (await stack.launch(**contender.settings)).process
    names = stack.topics["results"], stack.topics["failures"]
    async with AIOKafkaConsumer(
        *names,
        bootstrap_servers=stack.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        done: set[bytes] = set()
        await publish(stack, (request(number, SCRIPT) for number in range(warm_up)))
        await _await_results(consumer, done, warm_up, stack)
        calls, cpu, began = len(sim.ledger().calls), cpu_seconds(process.pid), time.perf_counter()
        await publish(stack, (request(number, SCRIPT) for number in range(warm_up, warm_up + jobs)))
        await _await_results(consumer, done, warm_up + jobs, stack)
        wall, cpu = time.perf_counter() - began, cpu_seconds(process.pid) - cpu
    return Cost(1000 * cpu / jobs, 1000 * wall / jobs, (len(sim.ledger().calls) - calls) / jobs)


async def _await_results(consumer: AIOKafkaConsumer, done: set[bytes], count: int, stack: Stack) -> None:
    """Wait until `done` holds so many keys of results; a process that ends, or a failure, is an error."""
    while len(done) < count:
        assert all(scribe.process.returncode is None for scribe in stack.scribes), stack.logs()
        for partition, records in (await consumer.getmany(timeout_ms=200)).items():
            assert partition.topic == stack.topics["results"], records[0].value
            done |= {record.key for record in records}


def _row(name: str, seen: Mapping[str, Sequence[Cost]]) -> Row:
    cpu = {each: [cost.cpu_ms for cost in costs] for each, costs in seen.items()}
    wall = {each: [cost.wall_ms for cost in costs] for each, costs in seen.items()}
    return {
        "contender": name,
        "cpu_ms": median(cpu[name]),
        **{f"cpu to {client}": _ratio(cpu[name], cpu[f"bare {client}"]) for client in CLIENTS},
        "wall_ms": median(wall[name]),
        "wall to aiohttp": _ratio(wall[name], wall["bare aiohttp"]),
        "provider calls": median(cost.calls for cost in seen[name]),
    }


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over the rounds of what one took in terms of the other."""
    return median(each / other for each, other in zip(ours, theirs, strict=True))


def main() -> None:
    """Measure on a Kafka of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    with own_broker() as (bootstrap, folder):
        rows = asyncio.run(measure(bootstrap, options.jobs, options.rounds, folder))
    show({f"{options.jobs} one-file jobs, medians of {options.rounds} rounds": rows}, options.json)


if __name__ == "__main__":
    main()
