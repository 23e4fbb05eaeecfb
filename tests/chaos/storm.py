"""A storm: a fleet that works while a seeded schedule of acts goes on, and the oracle's word on it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.errors import KafkaError

from tests.chaos.acts import Stage
from tests.chaos.brokers import Broker
from tests.chaos.fleet import Fleet
from tests.chaos.load import Request, make_requests
from tests.chaos.oracle import Rules, Verdict, judge
from tests.chaos.probes import Watch, watch
from tests.chaos.schedule import act_at

RUN_SECONDS = (0.1, 0.1, 1.0, 5.0)
PUBLISH_EVERY_SECONDS = 1.0
PUBLISH_BOUND_SECONDS = 20.0
START_SECONDS = 300.0
CALM_SECONDS = 240.0
"""How long the fleet may take to finish once the acts are over: longer than the probes' bounds."""


@dataclass(frozen=True)
class Storm:
    """What makes a run; the same storm does the same things in the same order."""

    seed: int
    seconds: float
    members: int = 3
    requests_per_second: int = 4
    burners: int = 0


async def rage(storm: Storm, fleet: Fleet, broker: Broker, rules: Rules) -> Verdict:
    """Let the storm rage over the fleet, wait until it has finished its work, and judge."""
    stage, watching = Stage(fleet, broker), Watch()
    print(
        f"chaos: seed {storm.seed}, {storm.seconds:.0f} s, {fleet.setting.broker}",
        file=sys.stderr,
        flush=True,
    )
    async with _burning(storm.burners):
        await stage.start_members(storm.members)
        await fleet.until_ready(START_SECONDS)
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(watch(stage, watching))
            async with asyncio.TaskGroup() as raging:
                raging.create_task(_publish(storm, fleet))
                raging.create_task(_act(storm, stage))
            await _finish(stage, watching)
            probing.cancel()
        await fleet.end()
    return judge(await fleet.evidence(watching.stalls), rules)


async def _act(storm: Storm, stage: Stage) -> None:
    loop, step = asyncio.get_running_loop(), 0
    end = loop.time() + storm.seconds
    while loop.time() < end:
        act = act_at(storm.seed, step)
        await asyncio.sleep(act.pause_seconds)
        print(f"chaos: {act}", file=sys.stderr, flush=True)
        await stage.carry_out(act)
        step += 1


async def _publish(storm: Storm, fleet: Fleet) -> None:
    """As many requests as the account's quota can bear, while the acts go on."""
    loop, number = asyncio.get_running_loop(), 0
    end = loop.time() + storm.seconds
    while loop.time() < end:
        requests = make_requests(f"s{number}", storm.requests_per_second, RUN_SECONDS, storm.seed)
        await _publish_surely(fleet, requests)
        number += 1
        await asyncio.sleep(PUBLISH_EVERY_SECONDS)


async def _publish_surely(fleet: Fleet, requests: Sequence[Request]) -> None:
    """Again until the broker has them: a request that comes twice is one."""
    fleet.requests += requests
    while True:
        try:
            async with asyncio.timeout(PUBLISH_BOUND_SECONDS):
                await fleet.send(requests)
                return
        except (KafkaError, TimeoutError):
            await asyncio.sleep(PUBLISH_EVERY_SECONDS)


async def _finish(stage: Stage, watching: Watch) -> None:
    """Wait until all outcomes are there, or something stands still."""
    fleet = stage.fleet
    try:
        await fleet.until_done(CALM_SECONDS)
    except AssertionError:
        watching.stalls.append("fleet: it did not finish")


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
