"""Why accepted jobs wait: each reason of the closed list is seen where it holds."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from service.core.job.job import JobState
from service.core.provider.answers import Lost, NotSent, ProviderError, Refused
from service.pipeline.guards.call_limiter import CallKind
from service.pipeline.guards.submit_guards import SubmitKind
from service.pipeline.guards.wait_reasons import WaitReason
from service.pipeline.shard.stage_breaker import FAULTS, StageName
from tests.fakes.provider import NO_CONNECTION, TIMEOUT
from tests.unit.pipeline.world import ARREARS, THROTTLED, Limits, World

MODEL = "fun-asr"
LONG_SECONDS = 600.0
Scene = Callable[[World], Awaitable[None]]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(Limits(posts=1, spend_per_day=10))
    yield made
    await made.end()


def reasons(world: World) -> dict[str, int]:
    """The jobs that wait for a task, by reason."""
    jobs: Counter[str] = Counter()
    settling = 0
    for runner in world.open_shards():
        jobs.update(runner.state.jobs.waiting)
        settling += runner.state.submissions.uncertain_jobs[MODEL]
    found = world.submit.waiting(jobs)
    assert found.total() == jobs.total()
    assert {model for model, _ in found} <= {MODEL}
    return {reason.value: count for (_, reason), count in found.items()} | (
        {WaitReason.SETTLE.value: settling} if settling else {}
    )


async def quota(world: World) -> None:
    await world.accepted("a", "b")
    world.run("submit")
    world.limiter.penalise(CallKind.SUBMIT, MODEL)


async def slots(world: World) -> None:
    await world.accepted("a", "b")
    world.limiter.share._proved_at = 0.0


async def hold(world: World) -> None:
    world.hold.judge(ARREARS)
    await world.accepted("a", "b")


async def hold_of_the_model(world: World) -> None:
    unpurchased = Refused(ProviderError("AccessDenied.Unpurchased", "Buy it.", 403))
    world.guards.judge(unpurchased, world.guards.acquire(SubmitKind(MODEL)))
    await world.accepted("a", "b")


async def spend_limit(world: World) -> None:
    shard = await world.accepted("a", "b")
    shard.state.spend = shard.state.spend.count(world.clock.now_ms(), 10)


async def outage(world: World) -> None:
    for _ in range(3):
        world.guards.judge(NotSent(NO_CONNECTION), world.guards.acquire(SubmitKind(MODEL)))
    await world.accepted("a", "b")


async def result_host(world: World) -> None:
    for task in ("t1", "t2"):
        shard = world.shard(int(task[1:]))
        ref = world.collecting(shard, f"r-{task}", task_id=task)
        world.guards.results.refused(shard, ref, "results.example")
    await world.accepted("a", "b")


async def stage_stopped(world: World) -> None:
    for number in range(FAULTS):
        world.breaker.failed(StageName.SUBMIT, f"r-{number}")
    await world.accepted("a", "b")


async def in_flight(world: World) -> None:
    world.provider.submit_gate.clear()
    shard = world.shard()
    await world.take(shard, "first", "a", "b")
    assert shard.state.jobs.by_state[JobState.SUBMITTED] == 1


async def backoff(world: World) -> None:
    world.provider.next_submits.extend([Refused(THROTTLED)])
    await world.take(world.shard(), "a")
    await world.accepted("b", partition=1)


async def retry_budget(world: World) -> None:
    world.provider.next_submits.append(Refused(THROTTLED))
    world.run("submit")
    await world.take(world.shard(), "a")
    retries, now = world.guards.health[MODEL].retries, world.clock.boot_seconds()
    while retries.wait_seconds(now) < LONG_SECONDS:
        retries.take(now)
    await world.clock.sleep(LONG_SECONDS / 2)
    await world.accepted("b", partition=1)


async def journal(world: World) -> None:
    shard = await world.accepted("a", "b")
    shard.takes_work = False
    world.run("submit")
    await world.clock.sleep(0.1)


async def hotwords(world: World) -> None:
    world.vocabularies.guards.clear()
    await world.accepted("a", "b", options={"hotwords": [{"text": "Kafka"}]})
    world.run("submit", "vocabulary")
    await world.clock.sleep(0.1)


async def settle(world: World) -> None:
    world.provider.next_submits.append(Lost(TIMEOUT))
    await world.take(world.shard(), "a")


SCENES: dict[Scene, dict[WaitReason, int]] = {
    quota: {WaitReason.QUOTA: 2},
    slots: {WaitReason.SLOTS: 2},
    hold: {WaitReason.HOLD: 2},
    hold_of_the_model: {WaitReason.HOLD: 2},
    spend_limit: {WaitReason.SPEND_LIMIT: 2},
    outage: {WaitReason.OUTAGE: 2},
    result_host: {WaitReason.RESULT_HOST: 2},
    stage_stopped: {WaitReason.STAGE_STOPPED: 2},
    in_flight: {WaitReason.IN_FLIGHT: 2},
    backoff: {WaitReason.BACKOFF: 1, WaitReason.QUOTA: 1},
    retry_budget: {WaitReason.RETRY_BUDGET: 1, WaitReason.QUOTA: 1},
    journal: {WaitReason.JOURNAL: 2},
    hotwords: {WaitReason.HOTWORDS: 2},
    settle: {WaitReason.SETTLE: 1},
}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_each_reason_is_named_where_it_holds(world: World, scene: Scene) -> None:
    await scene(world)
    assert reasons(world) == SCENES[scene]


def test_no_reason_is_without_a_scene() -> None:
    seen = {reason for found in SCENES.values() for reason in found}
    assert seen == set(WaitReason)


async def test_what_was_delayed_is_counted_until_it_is_due(world: World) -> None:
    world.provider.next_submits.extend([Refused(THROTTLED)])
    world.run("submit")
    await world.take(world.shard(), "a")
    assert world.submit._due.jobs == {(MODEL, WaitReason.BACKOFF): 1}
    await world.clock.sleep(120)
    assert (world.submit._due.jobs, reasons(world)) == ({}, {})


async def test_calls_in_flight_are_shown_with_their_limits(world: World) -> None:
    await in_flight(world)
    assert [tuple(each) for each in world.stages.calls()] == [
        ("submit", 1, 1),
        ("synchronous", 0, 1),
        ("query", 0, 32),
        ("fetch", 0, 8),
    ]
