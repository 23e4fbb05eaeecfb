"""Calls of synchronous models: a bound of their own, and time of their own when a shard is given back."""

import asyncio

import pytest

from service.contract.outcome import Result
from service.core.job.submission import SubmissionState
from service.core.job.uncertainty import UncertainOutcome
from service.core.limits.slot_share import Predecessor
from service.pipeline.assignment.assigned_partition import UNSENT_SECONDS, drain, suspend
from service.pipeline.guards.call_limiter import CallKind
from tests.fakes.clock import settle
from tests.fakes.provider import AfterWork
from tests.unit.pipeline.world import Limits, World, state

MODEL = "qwen3-asr-flash"


async def test_the_answer_is_published_in_one_go(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "r", model=MODEL)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert [kind for kind, _ in world.provider.calls] == ["submit"]
    body = world.seen.outcomes[0].body
    assert isinstance(body, Result)
    assert body.transcript.channels[0].text.startswith("Transcript of ")
    assert body.transcript.channels[0].emotion == "neutral"
    assert body.usage.billed_seconds == 3


@pytest.mark.parametrize("limits", [Limits(posts=1)])
async def test_long_calls_take_no_place_from_submits(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.submit_gate.clear()
    await world.take(shard, "a", "b", model=MODEL)
    assert world.provider.count("submit") == 1
    await world.take(shard, "c")
    assert world.provider.count("submit") == 2
    world.provider.submit_gate.set()
    await world.clock.sleep(1)
    assert world.provider.count("submit") == 3
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result"}


async def test_a_drain_gives_long_calls_their_own_time(world: World) -> None:
    shard = world.shard()
    world.provider.submit_gate.clear()
    await world.take(shard, "r", model=MODEL)
    draining = asyncio.create_task(drain([shard], 1.0, 30.0, world.limiter.may_release))
    await world.clock.sleep(20)
    assert not draining.done()
    world.provider.submit_gate.set()
    await draining
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_drain_waits_for_long_calls_no_longer_than_its_bound(world: World) -> None:
    shard = world.shard()
    world.provider.submit_gate.clear()
    await world.take(shard, "r", model=MODEL)
    began = world.clock.boot_seconds()
    await drain([shard], 1.0, 30.0, world.limiter.may_release)
    assert 30 <= world.clock.boot_seconds() - began < 32
    assert state(shard) is SubmissionState.INTENDED


async def test_a_revoked_shard_publishes_what_is_answered_before_it_is_given_back(world: World) -> None:
    shard = world.shard()
    world.provider.submit_gate.clear()
    await world.take(shard, "r", model=MODEL)
    suspending = asyncio.create_task(suspend([shard], 10.0, 8.0, world.limiter.may_release))
    await world.clock.sleep(3)
    world.provider.submit_gate.set()
    await suspending
    assert world.seen.ends() == {"r/0/0": "result"}
    assert shard.is_suspended


async def test_an_answer_that_comes_too_late_waits_for_the_shard_to_come_back(world: World) -> None:
    shard = world.shard()
    world.provider.submit_gate.clear()
    await world.take(shard, "r", model=MODEL)
    await suspend([shard], 10.0, 8.0, world.limiter.may_release)
    world.provider.submit_gate.set()
    await settle()
    assert world.seen.ends() == {}
    shard.resume()
    await settle()
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_lost_call_is_made_again_and_counted(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.next_submits.append(AfterWork.LOSE_ANSWER)
    await world.take(shard, "r", model=MODEL)
    assert state(shard) is SubmissionState.WAITING
    await world.clock.sleep(5)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert len(world.provider.submits) == 2
    assert world.seen.uncertainties == [UncertainOutcome.BEGUN, UncertainOutcome.RESUBMITTED]
    assert world.provider.count("list") == 0


@pytest.mark.parametrize("limits", [Limits(share=0.1, submits_per_minute=60)])
async def test_a_submission_that_waits_for_its_slot_is_no_uncertain_one_when_its_shard_is_given_back(
    world: World,
) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "r")
    while state(shard) is SubmissionState.WAITING:
        await world.clock.sleep(0.05)
    assert (state(shard), world.provider.count("submit")) == (SubmissionState.INTENDED, 0)
    await suspend([shard], 10.0, 8.0, world.limiter.may_release)
    shard.close()
    assert world.provider.count("submit") == 0
    [submission] = world.broker.restore(0).submissions().values()
    assert submission.state is SubmissionState.WAITING


@pytest.mark.parametrize("slow", ["broker", "proof"])
async def test_a_post_that_has_not_left_is_no_uncertain_one_however_slow_the_broker_is(
    world: World, slow: str
) -> None:
    shard = world.shard()
    slowed = world.writers[0].guards if slow == "broker" else world.fence.guards
    slowed.clear()
    world.fence.guards.clear()
    await world.take(shard, "r")
    suspending = asyncio.create_task(suspend([shard], 10.0, 8.0, world.limiter.may_release))
    await world.clock.sleep(5.0 if slow == "broker" else 1.5)
    slowed.set()
    await suspending
    shard.close()
    assert world.provider.count("submit") == 0
    restored = world.broker.restore(0)
    [submission] = restored.submissions().values()
    assert submission.state is SubmissionState.WAITING
    assert restored.predecessor is Predecessor.RELEASED


async def test_a_shard_is_given_back_once_its_unsent_posts_are_written_as_not_sent(world: World) -> None:
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r")
    suspending = asyncio.create_task(suspend([shard], 10.0, 8.0, lambda _: False))
    await settle()
    world.writers[0].guards.clear()
    world.fence.guards.set()
    await world.clock.sleep(3)
    assert not suspending.done()
    world.writers[0].guards.set()
    await suspending
    [submission] = world.broker.restore(0).submissions().values()
    assert submission.state is SubmissionState.WAITING


async def test_a_connection_that_hangs_does_not_keep_a_shard_from_being_given_back(world: World) -> None:
    shard = world.shard()
    hanging = asyncio.create_task(world.clock.sleep(60))
    shard.calls[hanging] = world.limiter.begin(CallKind.SUBMIT, "fun-asr")
    began = world.clock.boot_seconds()
    await suspend([shard], 10.0, 8.0, world.limiter.may_release)
    assert world.clock.boot_seconds() - began == pytest.approx(UNSENT_SECONDS)
    assert world.broker.restore(0).predecessor is Predecessor.RELEASED
    hanging.cancel()
