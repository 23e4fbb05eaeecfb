"""A submission whose answer was lost, from its POST to its jobs' outcomes: the whole pipeline together."""

import pytest
from pydantic import JsonValue

from service.core.job.events import CancelAsked
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Rules
from service.core.job.uncertainty import UncertainOutcome
from service.core.journal.entries import encode_submission
from service.core.limits.slot_share import Predecessor
from service.core.provider.answers import Lost, TaskStatus
from service.core.shard.batches import Batch, Group, JournalRecord
from service.core.shard.shard import Shard
from service.pipeline.shard.shard_runner import ShardRunner
from tests.fakes.provider import TIMEOUT, AfterWork, FakeProvider
from tests.unit.pipeline.world import PARTITIONS, URL, World, journalled, ref, state, submission_of, urls

RULES = Rules()
LONG = 900.0
SOON = 5.0
UNCERTAIN = SubmissionState.UNCERTAIN


def posted(world: World) -> int:
    return world.provider.count("submit")


async def lost(
    world: World, *requests: str, made: bool = True, shard: ShardRunner | None = None, **fields: JsonValue
) -> ShardRunner:
    """A shard whose submissions of these requests were lost, after or before they made a task.

    A task is over at once, unless the test has said otherwise: the fake's list shows no progress.
    """
    world.provider.offset_ms = 0
    if world.provider.statuses == FakeProvider().statuses:
        world.provider.statuses = (TaskStatus.SUCCEEDED,)
    if shard is None:
        world.run()
        shard = world.shard()
    for each in requests:
        world.provider.next_submits.append(AfterWork.LOSE_ANSWER if made else Lost(TIMEOUT))
        await world.take(shard, each, **fields)
    return shard


async def test_a_task_that_was_made_is_adopted_and_nothing_is_posted_again(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    shard = await lost(world, "r")
    await world.clock.sleep(LONG)
    assert state(shard) is UNCERTAIN
    world.provider.submits[0].statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(60)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert world.seen.uncertainties == [UncertainOutcome.BEGUN, UncertainOutcome.ADOPTED]
    assert posted(world) == 1
    words = ["accepted", "intended", "uncertain", "running", "finished"]
    assert [word for word in journalled(world.broker, "r/0/0") if word in words] == words


async def test_a_submission_that_made_no_task_is_made_again_when_it_has_settled(world: World) -> None:
    shard = await lost(world, "r", made=False)
    await world.clock.sleep(RULES.settle_seconds)
    assert state(shard) is UNCERTAIN
    await world.clock.sleep(60)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert world.seen.uncertainties == [UncertainOutcome.BEGUN, UncertainOutcome.RESUBMITTED]
    assert (posted(world), len(world.provider.submits)) == (2, 1)


async def test_a_request_that_names_a_file_twice_is_billed_for_its_own_tasks_alone(world: World) -> None:
    """Two POSTs, [a, b] and [a]; the answer to the first is lost, and the task of the second ends first."""
    world.provider.statuses = (TaskStatus.RUNNING,)
    await lost(world, "r", file_urls=urls("a", "b", "a"))
    await world.clock.sleep(SOON)
    first, second = world.provider.submits
    assert sorted(len(each.file_urls) for each in (first, second)) == [1, 2]
    second.statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(2 * RULES.settle_seconds)
    first.statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result", "r/0/1": "result", "r/0/2": "result"}
    assert posted(world) == 2


async def test_a_file_whose_sibling_was_cancelled_meanwhile_still_finds_their_task(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    shard = await lost(world, "r", file_urls=urls("a", "b"))
    shard.on_job(ref(shard), CancelAsked())
    world.provider.submits[0].statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "cancelled", "r/0/1": "result"}
    assert posted(world) == 1


async def test_a_new_owner_waits_until_the_former_ones_post_is_over_and_adopts_its_task(world: World) -> None:
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.submit_gate.clear()
    former = world.shard()
    world.run()
    await world.take(former, "r")
    former.close()
    shard = restored(world)
    await world.clock.sleep(2 + RULES.submit_seconds - 1)
    assert world.provider.count("list") == 0
    await world.clock.sleep(SOON)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert posted(world) == 1
    assert state(shard) is None


async def test_an_intent_whose_slot_had_not_come_when_its_owner_went_is_posted_once_it_has_settled(
    world: World,
) -> None:
    """The next owner cannot know that nothing was sent, and has to wait for slots of its own besides."""
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.fence.guards.clear()
    former = world.shard()
    world.run()
    await world.take(former, "r")
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended"]
    former.close()
    world.serve(0.0)
    world.fence.guards.set()
    restored(world)
    for partition in range(PARTITIONS):
        world.limiter.taken(partition, Predecessor.UNKNOWN, world.clock.boot_seconds())
    await world.clock.sleep(2 + RULES.submit_seconds + RULES.settle_seconds)
    assert posted(world) == 0
    await world.clock.sleep(60)
    assert (world.seen.ends(), posted(world)) == ({"r/0/0": "result"}, 1)


def restored(world: World) -> ShardRunner:
    """The next owner of the shard, at work."""
    state = Shard(0, 2)
    runner = ShardRunner(state, world.writer(0, 2), 2, world.runner_deps)
    world.shards.append(runner)
    runner.put(state.load(world.broker.restore(0), runner.context()))
    world.spawn(runner.run_until_closed(), name="shard 0")
    return runner


async def test_a_submission_of_another_member_that_may_have_made_the_task_keeps_it(world: World) -> None:
    shard = await lost(world, "r", made=False)
    world.provider.stranger(URL)
    intent = submission_of(shard).intent
    theirs = Submission(
        SubmissionKey(1, 1),
        "fun-asr",
        (JobRef(Origin(0, 1), 0),),
        world.clock.now_ms(),
        state=SubmissionState.INTENDED,
        intent=intent,
    )
    record = JournalRecord(str(theirs.key), encode_submission(theirs))
    await world.broker.writer(7).append(Batch(1, (Group((record,)),)))
    await world.clock.sleep(LONG)
    assert (state(shard), posted(world)) == (UNCERTAIN, 1)


@pytest.mark.parametrize("made", [True, False])
async def test_a_call_of_a_synchronous_model_is_never_searched_in_the_list(world: World, made: bool) -> None:
    await lost(world, "r", made=made, model="qwen3-asr-flash")
    await world.clock.sleep(LONG)
    assert world.provider.count("list") == 0
    assert world.seen.ends() == {"r/0/0": "result"}
