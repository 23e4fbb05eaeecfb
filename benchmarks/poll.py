"""How late a finished task is seen, and what seeing it costs, by the policy that decides when to poll.

    python -m benchmarks.poll [--in-flight 10 100 1300] [--replicas 4 12] [--runs tail queue] [--json FILE]

All in virtual time: a year of waiting costs nothing, and the load of the machine changes no figure. Tasks
arrive evenly, at most 10 a second, and end after a time whose mean keeps the wanted number in flight:

- `--runs tail`: drawn from a distribution with a long tail (log-normal, sigma 0.7). There is little to learn.
- `--runs queue`: nine tenths are time in a queue, as the vendor says of its own, which rises and falls slowly
  by a half; one tenth is drawn from the other distribution.

All policies have one account: 20 queries a second, of which this process uses 0.75, and 50 ms for an answer.

- `sdk`: the wait of the vendor's own SDK: 1 s, doubled after each three polls, at most 5 s.
- `lro`: the defaults of Google's clients for long-running operations: 1 s, each wait 1.5 times the last, at
  most 20 s.
- `scribe`: the poll stage and the list sweeps of the service itself, with its call limiter, its shard and its
  journal in memory; pages of 100 tasks.
- `no list`, `pages of 10`: the same without the list, and with the vendor's default page.
- `4 replicas` and the like, if asked for: so many, each with its part of the tasks and the quotas, which tell
  each other what a page of the list showed; a record takes 50 to 100 ms.
- `1 of 4, alone`: one of so many that tell each other nothing. Its own tasks alone are measured, and the list
  shows those of all.
- `oracle`: polls each task once, when it has finished: no policy can be better with one query a task.

For `sdk`, `lro` and `oracle` a poll that finds no slot waits in the order in which polls became due. Delays
are from a task's end to the answer that shows it, of all tasks that ended in the measured time: after two
mean run times, and before the last one. A task that is not seen at all counts as late as the end. Queries are
those of the measured time, per task that ended in it.
"""

import argparse
import asyncio
import heapq
import json
import math
import random
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import quantiles

from pydantic import JsonValue

from benchmarks.report import Row, show
from service.core.limits.time_slots import grid_of
from service.core.provider.answers import ListedTask, ProviderError, TaskPage, TaskStatus, TaskView
from service.provider.api import NO_SLOT, Permit, at_once
from tests.fakes.clock import FakeClock, LeapingLoop
from tests.fakes.provider import FakeProvider, FakeTask
from tests.unit.pipeline.polling.fleet import Fleet
from tests.unit.pipeline.world import Limits, World

ACCOUNT_PER_SECOND = 20.0
PART = 0.75
ANSWER_SECONDS = 0.05
MOST_ARRIVALS_PER_SECOND = 10.0
MEAN_SECONDS = 130.0
SIGMA = 0.7
SHORTEST_SECONDS = 3.0
WARM_UP_MEANS, MEASURED_MEANS = 2.0, 2.0
MEASURED_TASKS = 200
"""At least so many are measured, however few are in flight."""
MOST_MEASURED_TASKS = 5_000
"""More of them would cost time and change no figure."""
SEED = 7
QUEUE_PART, QUEUE_SWING, QUEUE_SWING_MEANS = 0.9, 0.5, 8.0


@dataclass(frozen=True)
class Load:
    """Tasks that arrive evenly; `runs` are their run times in order."""

    in_flight: int
    arrivals_per_second: float
    begin_seconds: float
    """The measured time: tasks that end between `begin_seconds` and `until_seconds`."""
    until_seconds: float
    end_seconds: float
    runs: Sequence[float]

    def is_measured(self, at: float) -> bool:
        """Whether this moment is in the measured time."""
        return self.begin_seconds <= at < self.until_seconds

    def ends(self) -> Iterator[float]:
        """When each task ends."""
        for number, run in enumerate(self.runs):
            yield number / self.arrivals_per_second + run


Runs = Callable[[random.Random, float], float]
"""Draws a run time, not yet scaled, of a task submitted so many mean run times after the first."""


def tail(dice: random.Random, _means: float) -> float:
    """A distribution with a long tail."""
    return dice.lognormvariate(0.0, SIGMA)


def queue(dice: random.Random, means: float) -> float:
    """A long time in a queue and a short run."""
    swing = 1 + QUEUE_SWING * math.sin(2 * math.pi * means / QUEUE_SWING_MEANS)
    return QUEUE_PART * swing + (1 - QUEUE_PART) * tail(dice, means)


RUNS: dict[str, Runs] = {"tail": tail, "queue": queue}


def load_of(in_flight: int, draw: Runs = tail) -> Load:
    """Arrivals and run times that keep so many tasks in flight."""
    rate = min(MOST_ARRIVALS_PER_SECOND, in_flight / MEAN_SECONDS)
    mean = in_flight / rate
    begin = WARM_UP_MEANS * mean
    tasks = min(MEASURED_MEANS * in_flight, MOST_MEASURED_TASKS)
    until = begin + max(tasks, MEASURED_TASKS) / rate
    end = until + mean
    dice = random.Random(SEED)  # noqa: S311 - not for secrets
    unscaled = [draw(dice, number / in_flight) for number in range(round(end * rate))]
    scale = mean / (sum(unscaled) / len(unscaled))
    runs = [max(SHORTEST_SECONDS, scale * each) for each in unscaled]
    return Load(in_flight, rate, begin, until, end, runs)


@dataclass
class Seen:
    """What a policy did: the delay of each task that ended in the measured time, and the queries of then."""

    load: Load
    found_at: dict[int, float] = field(default_factory=dict)
    """When an answer first showed each task, by its number, as ended."""
    queries: int = 0
    lists: int = 0
    replicas: int = 1
    """Only every such task is ours."""

    def listed(self, now: float) -> None:
        """Count a list call."""
        self.lists += self.load.is_measured(now)

    def queried(self, now: float) -> None:
        """Count a query."""
        self.queries += self.load.is_measured(now)

    def row(self, policy: str) -> Row:
        """The line of the table."""
        load = self.load
        ends = list(enumerate(load.ends()))[:: self.replicas]
        measured = [(number, ended) for number, ended in ends if load.is_measured(ended)]
        delays = [self.found_at.get(number, load.end_seconds) - ended for number, ended in measured]
        cuts = quantiles(delays, n=20)
        return {
            "policy": policy,
            "in flight": load.in_flight,
            "delay p50 s": cuts[9],
            "p95 s": cuts[18],
            "max s": max(delays),
            "queries a task": self.queries / len(delays),
            "lists a task": self.lists / len(delays),
            "tasks": len(delays),
            "unseen": sum(number not in self.found_at for number, _ in measured),
        }


Waits = Callable[[float], Iterator[float]]
"""The waits of one task, given its run time: before its first poll, and after each."""


def sdk(_run: float) -> Iterator[float]:
    """The vendor's SDK (`dashscope`, `base_api.wait`)."""
    wait, step = 1.0, 0
    while True:
        step += 1
        if wait < 5.0 and step % 3 == 0:
            wait = min(wait * 2, 5.0)
        yield wait


def lro(_run: float) -> Iterator[float]:
    """Google's long-running operations (`google-api-core`, `future.polling`)."""
    wait = 1.0
    while True:
        yield wait
        wait = min(wait * 1.5, 20.0)


def oracle(run: float) -> Iterator[float]:
    """Knows when the task ends."""
    yield run
    while True:
        yield ANSWER_SECONDS


def simulate(load: Load, waits: Waits) -> Seen:
    """Serve polls in the order in which they become due, one in each slot."""
    seen = Seen(load)
    slot_seconds = grid_of(ACCOUNT_PER_SECOND, PART).spacing_seconds
    due: list[tuple[float, int, float, Iterator[float]]] = []
    for number, run in enumerate(load.runs):
        begun = number / load.arrivals_per_second
        schedule = waits(run)
        heapq.heappush(due, (begun + next(schedule), number, begun + run, schedule))
    slot = 0.0
    while due:
        at, number, ended, schedule = heapq.heappop(due)
        slot = max(slot + slot_seconds, at)
        answered = slot + ANSWER_SECONDS
        if answered > load.end_seconds:
            break
        seen.queried(slot)
        if ended <= slot:
            seen.found_at[number] = answered
        else:
            heapq.heappush(due, (answered + next(schedule), number, ended, schedule))
    return seen


@dataclass
class RunningTasks:
    """The tasks that run, in the order in which they were made. A call takes no time that grows with them."""

    tasks: list[FakeTask] = field(default_factory=list)
    """All that were ever made."""
    places: list[int] = field(default_factory=list)
    """Where in `tasks` those lie that run."""
    ends: list[tuple[float, int]] = field(default_factory=list)
    """A heap of the ends and places of those that run."""

    def add(self, task: FakeTask, ends: float) -> None:
        """Begin a task."""
        place = len(self.tasks)
        self.tasks.append(task)
        self.places.append(place)
        heapq.heappush(self.ends, (ends, place))

    def page(self, now: float, page_no: int, size: int) -> tuple[list[FakeTask], int]:
        """One page of those that still run, newest first, and how many run."""
        while self.ends and self.ends[0][0] <= now:
            del self.places[bisect_left(self.places, heapq.heappop(self.ends)[1])]
        last = max(0, len(self.places) - (page_no - 1) * size)
        places = self.places[max(0, last - size) : last]
        return [self.tasks[place] for place in reversed(places)], len(self.places)


@dataclass
class TimedTasks(FakeProvider):
    """Tasks that end when the load says so."""

    seen: Seen = field(kw_only=True)
    begin_ms: int = 0
    ends: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    running: RunningTasks = field(default_factory=RunningTasks)

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return (self.now_ms() - self.begin_ms) / 1000

    def _make(self, model: str, file_urls: tuple[str, ...], options: dict[str, JsonValue]) -> FakeTask:
        task = super()._make(model, file_urls, options)
        number = (len(self.submits) - 1) * self.seen.replicas
        self.ends[task.task_id] = self.now + self.seen.load.runs[number]
        self.numbers[task.task_id] = number
        self.running.add(task, self.ends[task.task_id])
        return task

    def make_of_another(self, number: int) -> None:
        """Another replica submits its task."""
        task = FakeTask(f"other-{number}", "fun-asr", (), {}, (TaskStatus.RUNNING,))
        task.created_ms = self.now_ms()
        self.running.add(task, self.now + self.seen.load.runs[number])

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """The task's state, as it was when the query was sent."""
        if not await permit():
            return NO_SLOT
        sent, ended, number = self.now, self.ends[task_id], self.numbers[task_id]
        task = self.submits[number // self.seen.replicas]
        self.seen.queried(sent)
        await asyncio.sleep(ANSWER_SECONDS)
        if ended > sent:
            return self._view(task, TaskStatus.RUNNING)
        self.seen.found_at.setdefault(number, self.now)
        begun = datetime.fromtimestamp(task.created_ms / 1000, UTC).replace(tzinfo=None)
        took = timedelta(seconds=ended - (task.created_ms - self.begin_ms) / 1000)
        seen = self._view(task, TaskStatus.SUCCEEDED)
        return replace(seen, submit_time=str(begun), end_time=str(begun + took))

    async def list_tasks(
        self, page_no: int, permit: Permit = at_once, status: TaskStatus | None = None
    ) -> TaskPage | ProviderError:
        """A page of the running tasks, newest first, as it was when the call was sent."""
        if not await permit():
            return NO_SLOT
        self.seen.listed(self.now)
        is_running = status is not TaskStatus.PENDING
        page, total = self.running.page(self.now, page_no, self.page_size) if is_running else ([], 0)
        await asyncio.sleep(ANSWER_SECONDS)
        rows = (ListedTask(each.task_id, TaskStatus.RUNNING, each.created_ms) for each in page)
        return TaskPage(tuple(rows), total)

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """The same small result for each."""
        del transcription_url, max_bytes
        return self._result(self.submits[0].file_urls[0])


async def _serve(load: Load, page_size: int | None, replicas: int) -> Seen:
    """The service's own stages, from the record of a request to its outcome; without a page size, no list."""
    seen, clock = Seen(load, replicas=replicas), FakeClock()
    provider = TimedTasks(seen=seen, begin_ms=clock.now_ms(), now_ms=clock.now_ms, page_size=page_size or 100)
    limits = Limits(calls_per_second=ACCOUNT_PER_SECOND, part=PART, queries=256, share=1 / replicas)
    world = World(limits, clock=clock, provider=provider)
    runner = world.shard()
    world.run("submit", "vocabulary", "poll", "collect", *(("sweep",) if page_size else ()))
    for number in range(len(load.runs)):
        begun = number / load.arrivals_per_second
        await clock.sleep(max(0.0, begun - provider.now))
        if number % replicas:
            provider.make_of_another(number)
        else:
            await world.take(runner, f"r{number}", ttl_seconds=86_000)
    await clock.sleep(max(0.0, load.end_seconds - provider.now))
    await world.end()
    return seen


async def _serve_together(load: Load, replicas: int) -> Seen:
    """So many replicas that share the pages of the list."""
    seen, clock = Seen(load), FakeClock()
    provider = TimedTasks(seen=seen, begin_ms=clock.now_ms(), now_ms=clock.now_ms, page_size=100)
    fleet = Fleet(replicas, Limits(calls_per_second=ACCOUNT_PER_SECOND, part=PART, queries=256), provider)
    fleet.run("submit", "vocabulary", "poll", "collect", "sweep")
    for number in range(len(load.runs)):
        await clock.sleep(max(0.0, number / load.arrivals_per_second - provider.now))
        await fleet.take(number)
    await clock.sleep(max(0.0, load.end_seconds - provider.now))
    await fleet.end()
    return seen


def serve_together(load: Load, replicas: int) -> Seen:
    """Run the stages of so many replicas on a loop whose time leaps."""
    with asyncio.Runner(loop_factory=LeapingLoop) as loop:
        return loop.run(_serve_together(load, replicas))


def serve(load: Load, page_size: int | None = None, replicas: int = 1) -> Seen:
    """Run the service's stages on a loop whose time leaps."""
    with asyncio.Runner(loop_factory=LeapingLoop) as loop:
        return loop.run(_serve(load, page_size, replicas))


def policies(replicas: Sequence[int]) -> dict[str, Callable[[Load], Seen]]:
    """What is compared, by its name."""
    return {
        "sdk": partial(simulate, waits=sdk),
        "lro": partial(simulate, waits=lro),
        "no list": serve,
        "scribe": partial(serve, page_size=100),
        "pages of 10": partial(serve, page_size=10),
        **{
            f"1 of {each}, alone": partial(serve, page_size=100, replicas=each)
            for each in replicas
            if each > 1
        },
        **{f"{each} replicas": partial(serve_together, replicas=each) for each in replicas},
        "oracle": partial(simulate, waits=oracle),
    }


def _row(policy: Callable[[Load], Seen], name: str, in_flight: int, kind: str) -> Row:
    row = policy(load_of(in_flight, RUNS[kind])).row(name)
    print(json.dumps(row), file=sys.stderr)
    return row


def main(sizes: Sequence[int], replicas: Sequence[int], kinds: Sequence[str], path: Path | None) -> None:
    """Run, each policy in a process of its own; print, write."""
    with ProcessPoolExecutor() as pool:
        tables = {
            f"detection of finished tasks (virtual time, run times: {kind})": [
                pool.submit(_row, policy, name, in_flight, kind)
                for in_flight in sizes
                for name, policy in policies(replicas).items()
            ]
            for kind in kinds
        }
        show({title: [row.result() for row in rows] for title, rows in tables.items()}, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.poll", description="How late finished tasks are seen.")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[10, 100, 1_300])
    parser.add_argument("--replicas", type=int, nargs="*", default=[])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=["tail"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    main(given.in_flight, given.replicas, given.runs, given.json)
