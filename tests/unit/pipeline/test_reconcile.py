"""Reconcile: what becomes of a submit whose answer was lost, whatever the list and the journals are like."""

import asyncio
from dataclasses import replace

import pytest
from pydantic import JsonValue

from service.core.batch import Batch
from service.core.entry import encode_job
from service.core.events import CancelAsked
from service.core.job import Job, State
from service.core.moment import Doubt, Rules
from service.core.shard import Move, Shard
from service.core.task import Lost, TaskPage, TaskStatus, Trouble
from service.errors import ClusterError
from service.kafka.writer import Writer
from service.pipeline import due, reconcile
from service.pipeline.fetch_memory import SMALL_BYTES, MemoryLimits
from service.pipeline.publish import OwnedShard
from tests.fakes.clock import settle
from tests.fakes.provider import TIMEOUT, AfterWork, FakeProvider
from tests.unit.core.samples import KEY, job
from tests.unit.pipeline.world import THROTTLED, URL, Limits, World, job_of, journalled, state, urls

RULES = Rules()
LONG = 900.0
SOON = 5.0
"""Time for a first look, not for a submit to settle."""


def posted(world: World) -> int:
    return world.provider.count("submit")


async def lost(
    world: World, *requests: str, made: bool = True, offset_ms: int = 0, **fields: JsonValue
) -> OwnedShard:
    """A shard whose submits of these requests were lost, after or before they made a task.

    A task is over at once, unless the test has said otherwise: the fake's list shows no progress.
    """
    world.provider.offset_ms = offset_ms
    if world.provider.statuses == FakeProvider().statuses:
        world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run()
    shard = world.shard()
    for each in requests:
        world.provider.next_submits.append(AfterWork.LOSE_ANSWER if made else Lost(TIMEOUT))
        await world.take(shard, each, **fields)
    return shard


# A task that was made is found, and one that was not is known not to be there.


async def test_a_task_that_was_made_is_adopted_once_it_is_over(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    shard = await lost(world, "r")
    await world.clock.sleep(LONG)
    assert state(shard) is State.UNCERTAIN
    world.provider.submits[0].statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(60)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert world.seen.doubts == [Doubt.BEGUN, Doubt.ADOPTED]
    assert posted(world) == 1
    assert journalled(world.broker, "r/0/0") == ["submitting", "uncertain", "running", "finishing", "done"]


async def test_a_submit_that_made_no_task_is_made_again_when_it_has_settled(world: World) -> None:
    shard = await lost(world, "r", made=False)
    await world.clock.sleep(RULES.settle_seconds)
    assert state(shard) is State.UNCERTAIN
    await world.clock.sleep(60)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert world.seen.doubts == [Doubt.BEGUN, Doubt.RESUBMITTED]
    assert (posted(world), len(world.provider.submits)) == (2, 1)


async def test_files_that_shared_the_submit_share_the_task(world: World) -> None:
    await lost(world, "r", file_urls=urls("a", "b"))
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result", "r/0/1": "result"}
    assert posted(world) == 1


FILETRANS = "qwen3-asr-flash-filetrans"


async def test_a_task_that_names_its_file_in_the_result_alone_is_adopted(world: World) -> None:
    await lost(world, "a", "b", file_urls=urls("same"), model=FILETRANS)
    world.provider.stranger("https://h.example/other.wav").model = FILETRANS
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result"}
    assert posted(world) == 2


@pytest.mark.parametrize("body", [Trouble("http_error", "gone", 404), b"{", b"[]", b"{}", b'{"file_url":7}'])
async def test_a_task_whose_result_does_not_tell_its_file_may_be_anybodys(
    world: World, body: Trouble | bytes
) -> None:
    shard = await lost(world, "r", model=FILETRANS)
    world.provider.next_fetches.extend([body] * 50)
    await world.clock.sleep(LONG)
    assert state(shard) is State.UNCERTAIN
    assert posted(world) == 1
    world.provider.next_fetches.clear()
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert posted(world) == 1


@pytest.mark.parametrize("limits", [Limits(memory=MemoryLimits(16 * 1024**2, SMALL_BYTES))])
async def test_a_result_that_takes_more_memory_than_there_is_is_not_read_for_its_name(world: World) -> None:
    shard = await lost(world, "r", model=FILETRANS)
    world.provider.next_fetches.extend([b"[" * 100_000] * 50)
    await world.clock.sleep(LONG)
    assert (state(shard), posted(world)) == (State.UNCERTAIN, 1)


async def test_a_strangers_file_that_failed_without_a_name_keeps_nobody_uncertain(world: World) -> None:
    await lost(world, "r")
    stranger = world.provider.stranger("", status=TaskStatus.FAILED)
    world.provider.file_troubles[""] = Trouble("FILE_DOWNLOAD_FAILED", "no")
    await world.clock.sleep(LONG)
    assert ("query", stranger.task_id) in world.provider.calls
    assert world.seen.ends() == {"r/0/0": "result"}
    assert (posted(world), world.provider.count("fetch")) == (1, 1)


async def test_of_two_equal_submits_and_one_task_one_is_adopted(world: World) -> None:
    shard = await lost(world, "a")
    world.provider.next_submits.append(Lost(TIMEOUT))
    await world.take(shard, "b")
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result"}
    assert sorted(world.seen.doubts) == sorted([Doubt.BEGUN, Doubt.BEGUN, Doubt.ADOPTED, Doubt.RESUBMITTED])
    assert len(world.provider.submits) == 2


async def test_a_file_whose_sibling_was_cancelled_meanwhile_still_finds_their_task(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    shard = await lost(world, "r", file_urls=urls("a", "b"))
    shard.apply(KEY, CancelAsked())
    world.provider.submits[0].statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "cancelled", "r/0/1": "result"}
    assert posted(world) == 1


# After a crash.


async def test_a_new_owner_waits_until_the_former_ones_post_is_over_and_adopts_its_task(world: World) -> None:
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.submit_gate.clear()
    former = world.shard()
    await world.take(former, "r")
    former.close()
    world.run()
    shard = restored(world)
    await world.clock.sleep(2 + RULES.submit_seconds - 1)
    assert world.provider.count("list") == 0
    await world.clock.sleep(SOON)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert posted(world) == 1
    assert state(shard) is None


def restored(world: World, partition: int = 0) -> OwnedShard:
    """The next owner of a shard, at work."""
    shard = OwnedShard(Shard(partition), world.writer(partition, 2), 2, world.around)
    world.shards.append(shard)
    shard.put(shard.state.load(world.broker.restore(partition), shard.moment()))
    world.spawn(shard.run_until_closed(), name=f"shard {partition}")
    return shard


async def test_a_shard_that_closes_takes_its_doubts_along(world: World) -> None:
    shard = await lost(world, "r")
    shard.close()
    await world.clock.sleep(LONG)
    assert world.provider.count("list") == 0


# Tasks of others.


async def test_a_task_that_runs_and_may_be_ours_keeps_the_job_waiting(world: World) -> None:
    shard = await lost(world, "r", made=False)
    stranger = world.provider.stranger("https://other/x.wav", status=TaskStatus.RUNNING)
    await world.clock.sleep(LONG)
    assert state(shard) is State.UNCERTAIN
    stranger.statuses = (TaskStatus.FAILED,)
    await world.clock.sleep(120)
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_strangers_task_is_looked_at_once(world: World) -> None:
    shard = await lost(world, "r", made=False)
    over = world.provider.stranger("https://other/x.wav")
    world.provider.stranger("https://other/y.wav", status=TaskStatus.RUNNING)
    await world.clock.sleep(LONG)
    assert state(shard) is State.UNCERTAIN
    assert world.provider.calls.count(("query", over.task_id)) == 1


async def test_a_task_that_another_members_journal_knows_is_not_looked_at(world: World) -> None:
    shard = await lost(world, "r", made=False)
    theirs = world.provider.stranger(URL)
    foreign(world, job(State.RUNNING, task_id=theirs.task_id))
    await world.clock.sleep(LONG)
    assert world.provider.calls.count(("query", theirs.task_id)) == 0
    assert world.seen.ends() == {"r/0/0": "result"}
    assert state(shard) is None
    assert len(world.provider.submits) == 1


@pytest.mark.parametrize("standing", [State.SUBMITTING, State.UNCERTAIN])
async def test_a_task_that_another_members_submit_may_have_made_is_not_taken_from_it(
    world: World, standing: State
) -> None:
    shard = await lost(world, "r", made=False)
    world.provider.stranger(URL)
    foreign(world, job(standing, sealed_ms=world.clock.now_ms() - 1_000, vendor_offset_ms=0))
    await world.clock.sleep(SOON)
    assert state(shard) is State.UNCERTAIN
    assert Doubt.ADOPTED not in world.seen.doubts
    await world.clock.sleep(LONG)
    # Whose it is is clear once both are uncertain: it is taken by the one that was first.
    assert world.seen.ends() == ({} if standing is State.SUBMITTING else {"r/0/0": "result"})


def foreign(world: World, theirs: Job, partition: int = 7) -> None:
    """Write a job into a journal partition, which is another member's."""
    origin = replace(theirs.spec.origin, partition=partition)
    theirs = theirs.with_spec(replace(theirs.spec, request_id="theirs", origin=origin))
    writer = world.broker.writer(partition)
    batch = Batch(99, (Move(str(theirs.key), encode_job(theirs)),))
    world.spawn(_append(writer, batch), name="foreign")


async def _append(writer: Writer, batch: Batch) -> None:
    await writer.append(batch)


async def test_a_synchronous_call_of_another_member_cannot_have_made_the_task(world: World) -> None:
    """Its URL is the same and its answer is awaited; it does not keep the job from its own task."""
    await lost(world, "r")
    call = job(State.SUBMITTING, sealed_ms=world.clock.now_ms(), file_url=URL)
    foreign(world, call.with_spec(replace(call.spec, model="qwen3-asr-flash")))
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert posted(world) == 1


async def test_a_task_of_ours_whose_id_is_not_written_down_yet_is_known(world: World) -> None:
    """Its shard cannot write: the journal still says that its answer is awaited."""
    await lost(world, "r", made=False)
    world.provider.submit_gate.clear()
    other = world.shard(1)
    await world.take(other, "q")
    world.writers[1].gate.clear()
    world.provider.submit_gate.set()
    await settle()
    assert (state(other, "q"), journalled(world.broker, "q/0/0", 1)) == (State.RUNNING, ["submitting"])
    await world.clock.sleep(LONG)
    assert world.seen.doubts == [Doubt.BEGUN, Doubt.RESUBMITTED]


async def test_a_job_of_ours_that_ended_since_its_journal_was_read_may_have_the_task(world: World) -> None:
    shard = await lost(world, "r", made=False)
    world.provider.stranger(URL)
    foreign(world, job(State.SUBMITTING, sealed_ms=world.clock.now_ms()), partition=0)
    await world.clock.sleep(LONG)
    assert state(shard) is State.UNCERTAIN


async def test_of_an_answer_that_a_crash_left_half_written_down_the_other_job_gets_its_task(
    world: World,
) -> None:
    """The entries of a batch become durable one after the other."""
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    former = world.shard()
    await world.take(former, "r", file_urls=urls("a", "b"))
    former.close()
    journal = world.broker.journal()
    last = max(at for at, each in enumerate(journal) if each.key == b"r/0/1")
    del journal[last]
    world.run()
    restored(world)
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result", "r/0/1": "result"}
    assert world.seen.doubts == [Doubt.BEGUN, Doubt.ADOPTED]
    assert posted(world) == 1


# The list is not to be relied on.


async def test_a_list_that_is_down_leads_to_no_second_submit(world: World) -> None:
    world.provider.next_lists.extend([Trouble("http_error", "bad gateway", 502)] * 2_000)
    shard = await lost(world, "r", made=False)
    await world.clock.sleep(LONG)
    assert (state(shard), posted(world)) == (State.UNCERTAIN, 1)
    world.provider.next_lists.clear()
    await world.clock.sleep(120)
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_page_that_failed_is_asked_for_again(world: World) -> None:
    world.provider.next_lists.append(THROTTLED)
    await lost(world, "r")
    await world.clock.sleep(SOON)
    assert world.provider.calls.count(("list", "1")) == 2
    assert world.seen.ends() == {"r/0/0": "result"}
    assert world.budgets.listing.rate_per_second < world.budgets.listing.share_per_second


async def test_a_list_without_an_end_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MAX_PAGES", 2)
    world.provider.page_size = 1
    for number in range(3):
        world.provider.stranger(f"https://other/{number}.wav")
    shard = await lost(world, "r", made=False)
    await world.clock.sleep(LONG)
    assert (state(shard), posted(world)) == (State.UNCERTAIN, 1)


async def test_a_list_that_hides_a_running_task_of_ours_is_not_believed(world: World) -> None:
    shard = world.shard()
    world.provider.statuses = (TaskStatus.RUNNING,)
    await world.take(shard, "running")
    await world.clock.sleep(RULES.settle_seconds + 1)
    world.provider.submits[0].is_unlisted = True
    world.provider.offset_ms = 0
    world.provider.next_submits.append(Lost(TIMEOUT))
    world.run()
    await world.take(shard, "r")
    await world.clock.sleep(LONG)
    assert state(shard) is State.UNCERTAIN
    world.provider.submits[0].is_unlisted = False
    await world.clock.sleep(120)
    assert state(shard) is State.RUNNING


async def test_a_task_that_the_list_shows_only_later_is_adopted(world: World) -> None:
    shard = await lost(world, "r")
    world.provider.submits[0].is_unlisted = True
    await world.clock.sleep(RULES.settle_seconds - 10)
    assert state(shard) is State.UNCERTAIN
    world.provider.submits[0].is_unlisted = False
    await world.clock.sleep(60)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert posted(world) == 1


async def test_a_task_that_the_query_does_not_know_may_be_ours(world: World) -> None:
    shard = await lost(world, "r")
    world.provider.submits[0].is_forgotten = True
    world.provider.submits[0].statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(LONG)
    assert (state(shard), posted(world)) == (State.UNCERTAIN, 1)


async def test_a_query_that_fails_is_repeated_with_the_next_pass(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.next_queries.append(THROTTLED)
    await lost(world, "r")
    await world.clock.sleep(20)
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_list_of_the_future_leads_to_no_second_submit(world: World) -> None:
    shard = await lost(world, "r", made=False)
    row = world.provider.stranger("https://other/x.wav")
    row.created_ms += 3_600_000
    await world.clock.sleep(LONG)
    assert (state(shard), posted(world)) == (State.UNCERTAIN, 1)


async def test_the_vendors_clock_counts_for_its_tasks(world: World) -> None:
    world.provider.vendor_ahead_ms = 7 * 60_000
    shard = await lost(world, "r", offset_ms=7 * 60_000)
    assert job_of(shard).vendor_offset_ms == 7 * 60_000
    await world.clock.sleep(SOON)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert posted(world) == 1


async def test_without_the_vendors_clock_a_task_is_adopted_but_none_counts_as_lost(world: World) -> None:
    world.run()
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    shard = world.shard()
    world.provider.next_submits.extend([AfterWork.LOSE_ANSWER, Lost(TIMEOUT)])
    await world.take(shard, "a")
    await world.take(shard, "b", file_urls=urls("b"))
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"a/0/0": "result"}
    assert state(shard, "b") is State.UNCERTAIN


# The journals.


async def test_while_the_journals_are_read_the_loop_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is away keeps a reader waiting within its bounds; nobody must take that for a stall."""
    monkeypatch.setattr(due, "TURN_SECONDS", 0.001)
    world.surveyor.gate.clear()
    await lost(world, "r")
    while not world.surveyor.asked:
        await world.clock.sleep(1)
    turns = world.turns["reconcile"]
    async with asyncio.timeout(10):
        while world.turns["reconcile"] < turns + 5:
            await asyncio.sleep(0.001)
    world.surveyor.gate.set()
    while world.seen.ends() != {"r/0/0": "result"}:
        await world.clock.sleep(1)
        await asyncio.sleep(0.001)


async def test_while_a_journal_cannot_be_read_nothing_is_decided(world: World) -> None:
    world.surveyor.troubles.extend([ClusterError("away")] * 200)
    shard = await lost(world, "r")
    await world.clock.sleep(LONG)
    assert state(shard) is State.UNCERTAIN
    world.surveyor.troubles.clear()
    await world.clock.sleep(60)
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_the_journals_are_read_only_for_tasks_that_may_be_a_submits(world: World) -> None:
    await lost(world, "r", made=False)
    await world.clock.sleep(LONG)
    assert world.surveyor.asked == []


# Bounds.


@pytest.mark.parametrize("limits", [Limits(calls_per_second=2.0)])
async def test_lists_keep_to_their_budget_and_the_loop_turns_meanwhile(world: World) -> None:
    world.provider.page_size = 1
    for number in range(60):
        world.provider.stranger(f"https://other/{number}.wav")
    await lost(world, "r", made=False)
    turns = world.turns["reconcile"]
    await world.clock.sleep(30)
    assert world.provider.count("list") <= 31
    assert world.turns["reconcile"] >= turns + 20


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_without_a_budget_a_pass_ends_with_the_last_doubt(world: World) -> None:
    world.provider.offset_ms = 0
    shard = world.shard(jobs=[job(State.UNCERTAIN)])
    world.run("reconcile")
    now_ms = world.clock.now_ms()
    world.reconcile.queue(shard, KEY, now_ms, now_ms)
    await world.clock.sleep(10)
    shard.apply(KEY, CancelAsked())
    await world.clock.sleep(10)
    assert (world.provider.calls, state(shard)) == ([], None)


async def test_only_so_many_unknown_tasks_are_looked_at_in_a_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_LOOKS", 2)
    await lost(world, "r", made=False)
    for number in range(5):
        world.provider.stranger(f"https://other/{number}.wav")
    await world.clock.sleep(2.5)
    assert world.provider.count("query") == 2
    await world.clock.sleep(LONG)
    assert world.provider.count("query") >= 5
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_one_pass_serves_all_uncertain_jobs(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    await lost(world, *(f"r{number}" for number in range(20)))
    await world.clock.sleep(3)
    assert world.provider.count("list") <= 4


async def test_a_wall_clock_that_jumps_lets_no_submit_settle_early(world: World) -> None:
    shard = await lost(world, "r", made=False)
    world.clock.jump(3_600)
    await world.clock.sleep(RULES.settle_seconds - 5)
    assert state(shard) is State.UNCERTAIN


async def test_an_empty_page_is_asked_for_once_each_pass(world: World) -> None:
    world.provider.next_lists.append(TaskPage((), 0))
    await lost(world, "r", made=False)
    await world.clock.sleep(3)
    assert world.provider.count("list") == 1
    await settle()
