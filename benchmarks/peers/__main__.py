"""Scribe beside what a user would write without it: throughput, cost, calls, and what a crash loses or bills.

    pip install --target DIR -r requirements/peers.txt
    python -m benchmarks.peers --libs DIR [--jobs 192] [--rounds 3] [--scenarios steady kill lost]

Real Kafka, and for each contender a simulator with the vendor's quotas: 20 queries a second, 600 submits a
minute, one file a task. Tasks take 15 s in the mean (log-normal, at most 45 s), half of it in the queue. All
requests lie in the topic from the beginning; the contenders run side by side, each with its own account.

- `steady`: nothing happens. Throughput is that of the first nine tenths of the outcomes, from the first
  submit on; processor time is that of the process, from then to the last outcome. The delay is from the end
  of a task to the first query that shows it. Calls are those that the provider saw, refused ones too.
- `kill`: the process is killed (SIGKILL) when 45 % of the outcomes are there, and started again at once.
- `lost`: of ten submits, spread over all, the connection closes before the answer. `answers lost` are those
  that had been carried out, and billed; the others had been refused with 429.

A request is lost when it has no outcome in the end. Billed twice: submits in the ledger beyond one for each
file. Results twice: what a read_committed reader sees beyond one for each request. All figures are medians
over the rounds; what is lost, billed twice and seen twice is the worst round.
"""

import argparse
import asyncio
import contextlib
import math
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from aiokafka import AIOKafkaConsumer

from benchmarks.report import Row, cpu_seconds, show
from benchmarks.stack import own_broker, own_stack, publish, request
from sandbox.simulator import Fault, Simulator, SimulatorConfig, serve
from tests.integration.stack import Scribe, Stack

MEAN_SECONDS, SIGMA, LONGEST_SECONDS, SHORTEST_SECONDS = 15.0, 0.7, 45.0, 2.0
SESSION_SECONDS = 10
"""Of every contender: a killed member is missed after so long."""
LOST_ANSWERS = 10
KILL_AT = 0.45
"""Between two batches of the one that works in batches a crash would cost it nothing: not there."""
MEASURED_PART = 0.9
SETTLE_SECONDS = 10.0
"""After the end of the last task: what is still to come has come."""
MAX_SECONDS = 600.0
"""Of one contender in one scenario; what has no outcome then is lost."""
SEED = 7


@dataclass(frozen=True)
class Contender:
    """A program that turns requests into results; `needs_libs` says that it needs packages of its own."""

    name: str
    module: str
    needs_libs: bool = True


CONTENDERS = (
    Contender("scribe", "service", needs_libs=False),
    Contender("vendor sdk", "benchmarks.peers.sdk_app"),
    Contender("faststream", "benchmarks.peers.faststream_app"),
)
SCENARIOS = ("steady", "kill", "lost")


@dataclass
class Work:
    """The requests of one run, and what the topics showed of them."""

    runs: Sequence[float]
    began: float = field(default_factory=time.perf_counter)
    outcomes: Counter[bytes] = field(default_factory=Counter)
    failures: set[bytes] = field(default_factory=set)
    first_at: list[float] = field(default_factory=list)
    """When the first outcome of each request came."""

    @property
    def requests(self) -> list[tuple[bytes, bytes]]:
        """Keys and values."""
        scripts = (f"pending={run / 2:.3f}&run={run / 2:.3f}&words=100" for run in self.runs)
        return [request(number, script) for number, script in enumerate(scripts)]

    def note(self, key: bytes, *, is_result: bool) -> None:
        """An outcome came."""
        if not self.outcomes[key]:
            self.first_at.append(time.perf_counter())
        self.outcomes[key] += 1
        if not is_result:
            self.failures.add(key)

    def part_at(self, part: float) -> bool:
        """Whether so much is done."""
        return len(self.outcomes) >= part * len(self.runs)


def work_of(jobs: int) -> Work:
    """The same run times for everybody."""
    dice = random.Random(SEED)  # noqa: S311 - not for secrets
    drawn = [dice.lognormvariate(0.0, SIGMA) for _ in range(jobs)]
    scale = MEAN_SECONDS * jobs / sum(drawn)
    return Work([min(LONGEST_SECONDS, max(SHORTEST_SECONDS, scale * each)) for each in drawn])


async def follow(stack: Stack, work: Work) -> None:
    """Note the outcomes until cancelled."""
    async with AIOKafkaConsumer(
        stack.topics["results"],
        stack.topics["failures"],
        bootstrap_servers=stack.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        async for record in consumer:
            work.note(record.key, is_result=record.topic == stack.topics["results"])


@dataclass(frozen=True)
class Place:
    """Where everything runs."""

    bootstrap: str
    folder: Path
    libs: Path | None

    def settings(self, contender: Contender) -> dict[str, str]:
        """The variables of a process, beside those of every service."""
        settings = {"SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS)}
        if contender.needs_libs and self.libs is not None:
            # At the end: what the service and its peers have in common is of the same version.
            settings["PYTHONPATH"] = os.pathsep.join([*filter(None, sys.path), str(self.libs)])
        return settings


async def run(place: Place, contender: Contender, scenario: str, jobs: int) -> dict[str, float]:
    """One contender through one scenario."""
    async with (
        serve(SimulatorConfig()) as sim,
        own_stack(place.bootstrap, sim, place.folder, contender.module) as stack,
    ):
        work = work_of(jobs)
        await publish(stack, work.requests)
        if scenario == "lost":
            for number in range(0, jobs, max(1, jobs // LOST_ANSWERS))[:LOST_ANSWERS]:
                sim.state.add_fault(Fault(on="submit", kind="drop_after", match=f"/{number:08}.wav"))
        following = asyncio.ensure_future(follow(stack, work))
        try:
            settings = place.settings(contender)
            scribe = await stack.launch(**settings)
            await stack.until(lambda: bool(sim.ledger().submits), MAX_SECONDS)
            work.began, cpu = time.perf_counter(), cpu_seconds(scribe.process.pid)
            killed_at = await _kill(stack, scribe, work, settings) if scenario == "kill" else None
            await _until(stack, lambda: work.part_at(1.0))
            used = cpu_seconds(stack.scribes[-1].process.pid) - cpu
            await _until(stack, lambda: _rest_seconds(sim, work) < -SETTLE_SECONDS)
        finally:
            following.cancel()
    return {**_judged(sim, work), **_measured(sim, work, used), **_recovery(work, killed_at)}


async def _kill(stack: Stack, scribe: Scribe, work: Work, settings: Mapping[str, str]) -> float:
    """Kill the process in the middle and start it again; when that was."""
    await stack.until(lambda: work.part_at(KILL_AT), MAX_SECONDS)
    await scribe.end(signal.SIGKILL)
    at = time.perf_counter()
    await stack.launch(**settings)
    return at


async def _until(stack: Stack, is_over: Callable[[], bool]) -> None:
    """Wait, but not for ever; a process that ends is an error."""

    def looked() -> bool:
        assert stack.scribes[-1].process.returncode is None, stack.logs()
        return is_over()

    with contextlib.suppress(TimeoutError):
        await stack.until(looked, MAX_SECONDS)


def _rest_seconds(sim: Simulator, work: Work) -> float:
    """How long the last task still runs."""
    return max(_ends(sim, work).values(), default=0.0) - sim.state.clock.now()


def _number(file_url: str) -> int:
    return int(file_url.partition("?")[0].rpartition("/")[2].removesuffix(".wav"))


def _ends(sim: Simulator, work: Work) -> dict[str, float]:
    """When each task ends, by the simulator's clock."""
    return {
        entry.task.task_id: entry.at + work.runs[_number(entry.task.submission.file_urls[0])]
        for entry in sim.ledger().submits
    }


def _judged(sim: Simulator, work: Work) -> dict[str, float]:
    return {
        "lost": len(work.runs) - len(work.outcomes),
        "failed": len(work.failures),
        "answers lost": sum(not entry.answered for entry in sim.ledger().submits),
        "billed twice": sum(count - 1 for count in sim.ledger().submitted_urls().values()),
        "results twice": sum(count - 1 for count in work.outcomes.values()),
    }


def _measured(sim: Simulator, work: Work, cpu: float) -> dict[str, float]:
    calls, jobs = sim.ledger().calls, len(work.runs)
    ends, seen = _ends(sim, work), dict[str, float]()
    for call in calls:
        is_answered = call.kind == "query" and call.status == 200
        if is_answered and call.at >= ends.get(str(call.task_id), math.inf):
            seen.setdefault(str(call.task_id), call.at)
    delays = [at - ends[task_id] for task_id, at in seen.items()]
    measured = round(MEASURED_PART * jobs)
    cuts = quantiles(delays, n=20)
    kinds = Counter(call.kind for call in calls)
    return {
        "jobs a second": measured / (work.first_at[measured - 1] - work.began),
        "cpu ms a job": 1000 * cpu / jobs,
        "queries a task": kinds["query"] / jobs,
        "lists a task": kinds["list"] / jobs,
        "all calls a task": len(calls) / jobs,
        "429s a task": sum(call.status == 429 for call in calls) / jobs,
        "delay p50 s": cuts[9],
        "p95 s": cuts[18],
    }


def _recovery(work: Work, killed_at: float | None) -> dict[str, float]:
    if killed_at is None:
        return {}
    return {"silent for s": min(at for at in work.first_at if at > killed_at) - killed_at}


FIGURES = {
    "steady": (
        *("jobs a second", "cpu ms a job", "queries a task", "lists a task", "all calls a task"),
        *("429s a task", "delay p50 s", "p95 s"),
    ),
    "kill": ("lost", "failed", "billed twice", "results twice", "silent for s"),
    "lost": ("answers lost", "lost", "failed", "billed twice", "results twice"),
}
WORST = frozenset({"answers lost", "lost", "failed", "billed twice", "results twice"})


async def measure(
    place: Place, scenario: str, jobs: int, rounds: int, contenders: Sequence[Contender] = CONTENDERS
) -> list[Row]:
    """All rounds of one scenario; the contenders side by side."""
    seen: dict[str, list[dict[str, float]]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        async with asyncio.timeout(2 * MAX_SECONDS):
            runs = await asyncio.gather(*(run(place, each, scenario, jobs) for each in contenders))
        for contender, figures in zip(contenders, runs, strict=True):
            seen[contender.name].append(figures)
            print(scenario, contender.name, {name: round(value, 2) for name, value in figures.items()})
    return [_row(scenario, name, figures) for name, figures in seen.items()]


def _row(scenario: str, name: str, rounds: Sequence[Mapping[str, float]]) -> Row:
    figures = {
        figure: (max if figure in WORST else median)(each[figure] for each in rounds)
        for figure in FIGURES[scenario]
    }
    return {"contender": name, **figures}


def main() -> None:
    """Measure on a Kafka of its own, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--libs", type=Path, help="a folder with the packages of the other contenders")
    parser.add_argument("--jobs", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--json", type=Path, help="write the tables to this file too")
    options = parser.parse_args()
    with own_broker() as (bootstrap, folder):
        place = Place(bootstrap, folder, options.libs)
        tables = {
            f"{scenario}: {options.jobs} jobs, {options.rounds} rounds": asyncio.run(
                measure(place, scenario, options.jobs, options.rounds)
            )
            for scenario in options.scenarios
        }
    show(tables, options.json)


if __name__ == "__main__":
    main()
