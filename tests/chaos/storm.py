"""A storm: a fleet that works while a seeded schedule of acts goes on, and the oracle's word on it."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiokafka.errors import KafkaError

from tests.chaos.acts import Stage
from tests.chaos.brokers import Broker
from tests.chaos.evidence import Judgement, Rules
from tests.chaos.fleet import Fleet
from tests.chaos.gaps import feel
from tests.chaos.load import Record
from tests.chaos.oracle import judge
from tests.chaos.probes import Watch, watch
from tests.chaos.schedule import TRACKS, Track, act_at
from tests.chaos.variety import make_batch

PUBLISH_EVERY_SECONDS = 1.0
PUBLISH_BOUND_SECONDS = 20.0
START_SECONDS = 300.0
CALM_SECONDS = 240.0
"""How long the fleet may take to finish once the acts are over: longer than the probes' bounds."""
CLOCK_SECONDS = 60.0
LEVEL_SECONDS = 60.0


@dataclass(frozen=True)
class Storm:
    """What makes a run; the same storm does the same things in the same order."""

    seed: int
    seconds: float
    members: int = 3
    requests_per_second: int = 4
    burners: int = 0


@dataclass
class Report:
    """The judgement, and what the storm met: acts, calls that faults hit, kinds of requests and records."""

    judgement: Judgement
    acts: Mapping[str, int]
    hits: Mapping[str, int]
    kinds: Mapping[str, int]
    peaks: Mapping[str, int]
    gaps: Sequence[tuple[float, float]]
    compacted: Mapping[int, int] = field(default_factory=dict)

    def lines(self, seed: int) -> str:
        """All for a person: the judgement last, in one line."""
        gaps = f"{len(self.gaps)}, {sum(until - since for since, until in self.gaps):.1f} s in all"
        told = {
            "acts": _counted(self.acts),
            "calls that went wrong": _counted(self.hits),
            "requests and records": _counted(self.kinds),
            "most MiB of each worker": " ".join(str(mib) for mib in self.peaks.values()),
            "gaps of the harness": gaps,
            "partitions compacted": str(len(self.compacted)),
        }
        known = [f"known {n}: {each}" for n, those in self.judgement.known.items() for each in those]
        return "\n".join(
            [*(f"{name}: {said}" for name, said in told.items()), *known, self.judgement.line(seed)]
        )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


async def rage(storm: Storm, fleet: Fleet, broker: Broker, rules: Rules) -> Report:
    """Let the storm rage over the fleet, wait until it has finished its work, and judge."""
    stage, watching, kinds = Stage(fleet, broker), Watch(), Counter[str]()
    gaps: list[tuple[float, float]] = []
    print(
        f"chaos: seed {storm.seed}, {storm.seconds:.0f} s, {fleet.setting.broker}",
        file=sys.stderr,
        flush=True,
    )
    async with _burning(storm.burners):
        await stage.start_members(storm.members)
        await fleet.until_ready(START_SECONDS)
        async with asyncio.TaskGroup() as group:
            pulse = feel(fleet.stack.sim.state.clock.wall, gaps)
            around = (watch(stage, watching), pulse, stage.keep_members())
            probing = [group.create_task(each) for each in around]
            async with asyncio.TaskGroup() as raging:
                raging.create_task(_publish(storm, fleet, kinds))
                for track in TRACKS:
                    raging.create_task(_act(storm, stage, track))
            await _finish(stage, watching, believes_clocks="E6" in rules.known)
            for each in probing:
                each.cancel()
        compacted = broker.compacted(fleet.stack.topics["journal"])
        await fleet.end()
    evidence = replace(
        await fleet.evidence(), stalls=watching.stalls, gaps=gaps, peaks=watching.peaks, acts=stage.met
    )
    judgement = judge(evidence, rules)
    return Report(judgement, stage.met, stage.hits(), kinds, watching.peaks, gaps, compacted)


async def _act(storm: Storm, stage: Stage, track: Track) -> None:
    loop, step = asyncio.get_running_loop(), 0
    end = loop.time() + storm.seconds
    while loop.time() < end:
        act = act_at(storm.seed, step, track)
        await asyncio.sleep(act.pause_seconds)
        print(f"chaos: {track}, {act}", file=sys.stderr, flush=True)
        await stage.carry_out(act)
        step += 1


async def _publish(storm: Storm, fleet: Fleet, kinds: Counter[str]) -> None:
    """As many requests as the account's quota can bear, while the acts go on."""
    loop, number = asyncio.get_running_loop(), 0
    end = loop.time() + storm.seconds
    while loop.time() < end:
        batch = make_batch(storm.seed, number, storm.requests_per_second)
        fleet.requests += batch.requests
        kinds.update(batch.kinds)
        await _publish_surely(fleet, batch.records)
        number += 1
        await asyncio.sleep(PUBLISH_EVERY_SECONDS)


async def _publish_surely(fleet: Fleet, records: Sequence[Record]) -> None:
    """Again until the broker has them: a request that comes twice is one."""
    while True:
        try:
            async with asyncio.timeout(PUBLISH_BOUND_SECONDS):
                await fleet.send(records)
                return
        except (KafkaError, TimeoutError):
            await asyncio.sleep(PUBLISH_EVERY_SECONDS)


async def _finish(stage: Stage, watching: Watch, *, believes_clocks: bool) -> None:
    """Wait until all outcomes are there and nothing lags, or something stands still.

    What a worker restored while its clock stood back waits as long as the step: E6 of the engine. Where that
    is known, such workers are replaced, and all must come then.
    """
    fleet = stage.fleet
    if believes_clocks and stage.met["clock_step"] and not await _is_done(fleet, CLOCK_SECONDS):
        watching.stalls.append("clock: not all was done before workers whose clock had stepped were replaced")
        stage.shifting += 1
        async with stage.launching:
            count = len(fleet.alive())
            await fleet.end()
            await stage.start_members(count)
    if not await _is_done(fleet, CALM_SECONDS):
        watching.stalls.append("fleet: it did not finish")
    await fleet.until_level(LEVEL_SECONDS)


async def _is_done(fleet: Fleet, within_seconds: float) -> bool:
    try:
        await fleet.until_done(within_seconds)
    except AssertionError:
        return False
    return True


@asynccontextmanager
async def _burning(count: int) -> AsyncIterator[None]:
    """Processes that take the processors from everybody else."""
    burners = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass") for _ in range(count)
    ]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            await burner.wait()
