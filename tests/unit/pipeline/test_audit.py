"""The audit: what no timer, call or queue holds is found within two minutes, counted and restored."""

from collections.abc import Callable

import pytest

from service.core.job.events import CancelAsked
from service.core.job.submission import SubmissionState
from service.core.provider.answers import TaskStatus
from service.pipeline.audit import AUDIT_SECONDS
from tests.fakes.clock import settle
from tests.fakes.provider import AfterWork
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import Limits, World, ref, state

TWO_AUDITS = 2 * AUDIT_SECONDS + 5


async def test_work_that_goes_its_way_is_never_taken_for_lost(world: World) -> None:
    """Jobs in every place: without budget, in calls, with tasks at work, uncertain, being fetched, held."""
    world.run()
    world.run("audit")
    world.provider.statuses = (TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.RUNNING)
    world.provider.next_submits.append(AfterWork.LOSE_ANSWER)
    shard = world.shard()
    for number in range(60):
        await world.take(shard, f"r{number}")
        await world.clock.sleep(7)
    assert world.turns["audit"] > 300
    assert world.seen.restored == []


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_submissions_that_wait_for_budget_are_not_lost(world: World) -> None:
    world.run()
    world.run("audit")
    await world.take(world.shard(), "a", "b")
    await world.clock.sleep(5 * AUDIT_SECONDS)
    assert world.seen.restored == []


def forget_submits(world: World) -> None:
    world.submit._ready.clear()
    world.submit._queued._counts.clear()
    world.submit._due._timers._queue.__init__()  # type: ignore[misc]


def forget_polls(world: World) -> None:
    world.poll._requests._valid.clear()


def forget_fetches(world: World) -> None:
    world.collect._due._queue.__init__()  # type: ignore[misc]
    world.collect._held._counts.clear()


def forget_uncertain(world: World) -> None:
    world.reconcile._asked.clear()


LOST: list[tuple[str, Callable[[World], None], Callable[[World], object]]] = [
    ("waiting", lambda world: world.serve(0.0), forget_submits),
    ("running", lambda world: None, forget_polls),
    (
        "uncertain",
        lambda world: world.provider.next_submits.append(AfterWork.LOSE_ANSWER),
        forget_uncertain,
    ),
]


@pytest.mark.parametrize(("standing", "prepare", "forget"), LOST, ids=[each[0] for each in LOST])
async def test_a_submission_that_its_stage_has_forgotten_is_restored_and_counted(
    world: World,
    standing: str,
    prepare: Callable[[World], None],
    forget: Callable[[World], object],
) -> None:
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    prepare(world)
    shard = world.shard()
    await world.take(shard, "r")
    assert state(shard) is SubmissionState(standing)
    forget(world)
    world.serve(1.0)
    world.run()
    world.run("audit")
    await world.clock.sleep(AUDIT_SECONDS - 5)
    assert world.seen.restored == []
    await world.clock.sleep(TWO_AUDITS + 20 * 60)
    assert world.seen.restored == [1]
    assert world.seen.ends() == {"r/0/0": "result"}
    assert len(world.provider.submits) == 1


async def test_a_result_that_its_stage_has_forgotten_is_fetched_again(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "r")
    await world.clock.sleep(3)
    forget_fetches(world)
    world.run("collect", "audit")
    await world.clock.sleep(TWO_AUDITS + 10)
    assert world.seen.restored == [1]
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_job_without_its_submission_is_restored(world: World) -> None:
    world.serve(0.0)
    shard = world.shard()
    await world.take(shard, "r")
    shard.state.submissions.clear()
    world.run("audit")
    await world.clock.sleep(TWO_AUDITS)
    assert world.seen.restored[:1] == [1]


async def test_what_waits_for_the_broker_is_not_lost(world: World) -> None:
    world.run("audit")
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "r")
    await world.clock.sleep(5 * AUDIT_SECONDS)
    assert world.seen.restored == []


async def test_an_outcome_that_waits_for_the_broker_is_not_lost(world: World) -> None:
    world.serve(0.0)
    shard = world.shard()
    await world.take(shard, "r")
    forget_submits(world)
    world.writers[0].guards.clear()
    shard.on_job(ref(shard), CancelAsked())
    world.run("audit")
    await world.clock.sleep(5 * AUDIT_SECONDS)
    assert world.seen.restored == []
    world.writers[0].guards.set()
    await settle()
    assert world.seen.ends() == {"r/0/0": "cancelled"}


async def test_a_suspended_shard_is_left_alone(world: World) -> None:
    world.run("audit")
    member = Member(world)
    [shard] = await member.own(0)
    world.shards.append(shard)
    member.deliver(0, "r")
    await settle()
    await member.assignment.revoked([0])
    forget_polls(world)
    await world.clock.sleep(5 * AUDIT_SECONDS)
    assert world.seen.restored == []
