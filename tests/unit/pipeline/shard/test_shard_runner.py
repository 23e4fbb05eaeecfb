"""An owned shard at work: what is decided is written in batches, and what follows waits for them."""

import asyncio

import pytest

from service.core.job.events import CancelAsked, Fetched, Intended, Polled, Posted
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.job import JobState
from service.core.job.request_record import Cursor
from service.core.job.submission import SubmissionState
from service.core.journal.stamp import STAMP_HEADER, Stamp, cursor_key
from service.core.provider.answers import FileView, TaskStatus, TaskView
from service.core.shard.batches import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    Change,
    Group,
    JournalRecord,
    Unknown,
)
from service.pipeline.assignment.assigned_partition import drain
from service.pipeline.shard.publish import RETRY_SECONDS
from service.pipeline.shard.shard_runner import BEHIND_SECONDS, ShardRunner
from tests.fakes.clock import settle
from tests.fakes.writer import Fault, Stage
from tests.unit.core.samples import transcript
from tests.unit.pipeline.world import URL, Limits, World, journalled, state

KEY = SubmissionKey(1, 1)
REF = JobRef(Origin(0, 0), 0)
"""The submission and the job of the first request of a shard."""


@pytest.fixture
def limits() -> Limits:
    """Without a budget nothing is submitted but what a test submits."""
    return Limits(share=0.0)


async def running(world: World, shard: ShardRunner) -> None:
    """The job `r/0/0` with its task."""
    shard.on_submission(KEY, Intended(world.clock.now_ms()))
    shard.on_submission(KEY, Posted("t1"))
    await settle()


async def finished(world: World, shard: ShardRunner) -> None:
    """The job `r/0/0` with its transcript."""
    shard.on_submission(KEY, _done())
    shard.on_job(REF, Fetched(transcript()))
    await settle()


def _done() -> Polled:
    file = FileView(URL, transcription_url="https://r.example/1")
    return Polled(TaskView("t1", TaskStatus.SUCCEEDED, (file,), billed_seconds=3), asked_ms=0)


async def test_what_is_decided_while_idle_goes_out_at_once(world: World) -> None:
    shard = await world.accepted()
    shard.on_submission(KEY, Intended(world.clock.now_ms()))
    assert shard.pending_bytes > 0
    await settle()
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended"]
    assert (shard.pending_bytes, world.seen.commits) == (0, [1, 1])


async def test_what_comes_while_a_batch_is_out_is_one_batch_behind_it(world: World) -> None:
    shard = world.shard()
    writer = world.writers[0]
    writer.guards.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    await world.take(shard, "c", "d")
    assert len(writer.batches) == 1
    assert shard.pending_bytes > 0
    writer.guards.set()
    await settle()
    assert [[record.key for record in batch.records] for batch in writer.batches] == [
        ["r/0.0"],
        ["r/0.1", "r/0.2", "r/0.3"],
    ]
    assert [batch.number for batch in writer.batches] == [1, 2]


async def test_entries_carry_the_epoch_and_the_number_of_their_batch(world: World) -> None:
    shard = world.shard(epoch=7)
    await world.take(shard, "a")
    await world.take(shard, "b")
    stamps = [dict(record.headers)[STAMP_HEADER] for record in world.broker.journal()]
    assert [Stamp.decode(stamp) for stamp in stamps] == [Stamp(7, 1), Stamp(7, 1), Stamp(7, 2), Stamp(7, 2)]


async def test_steps_wait_until_their_batch_is_durable(world: World) -> None:
    world.serve(1.0)
    world.run("poll")
    shard = await world.accepted()
    shard.on_submission(KEY, Intended(world.clock.now_ms()))
    await settle()
    world.writers[0].guards.clear()
    shard.on_submission(KEY, Posted("t1"))
    await world.clock.sleep(60)
    assert world.provider.count("query") == 0
    world.writers[0].guards.set()
    await world.clock.sleep(5)
    assert world.provider.count("query") == 1


async def test_steps_that_need_no_batch_are_carried_out_at_once(world: World) -> None:
    world.serve(1.0)
    world.run("poll", "collect")
    shard = await world.accepted()
    await running(world, shard)
    commits = len(world.seen.commits)
    world.writers[0].guards.clear()
    shard.on_submission(KEY, _done())
    await settle()
    assert world.provider.calls == [("fetch", "https://r.example/1")]
    assert len(world.seen.commits) == commits


async def test_an_unknown_batch_is_sent_again_as_it_is(world: World) -> None:
    shard = world.shard()
    writer = world.writers[0]
    writer.answers.extend([Unknown("no answer"), Unknown("still none")])
    await world.take(shard, "a")
    await world.take(shard, "b")
    await world.clock.sleep(3 * RETRY_SECONDS)
    assert writer.batches[0] is writer.batches[1] is writer.batches[2]
    assert [batch.number for batch in writer.batches] == [1, 1, 1, 2]
    assert world.seen.retries == [(0, "no answer"), (0, "still none")]
    assert [record.key for record in writer.batches[3].records] == ["r/0.1"]


async def test_an_unknown_batch_is_sent_again_a_second_later_and_not_before(world: World) -> None:
    shard = world.shard()
    world.writers[0].answers.append(Unknown("no answer"))
    await world.take(shard, "a")
    await world.clock.sleep(0.9 * RETRY_SECONDS)
    assert len(world.writers[0].batches) == 1
    await world.clock.sleep(0.2 * RETRY_SECONDS)
    assert len(world.writers[0].batches) == 2


async def test_an_outcome_is_reported_and_its_job_forgotten_only_once_it_is_durable(world: World) -> None:
    shard = await world.accepted()
    await running(world, shard)
    world.writers[0].guards.clear()
    await finished(world, shard)
    assert (state(shard), world.seen.ends()) == (JobState.FINISHING, {})
    world.writers[0].guards.set()
    await settle()
    assert (state(shard), world.seen.ends()) == (None, {"r/0/0": "result"})
    assert journalled(world.broker, "r/0/0")[-2:] == ["finishing", "finished"]


async def test_an_outcome_published_twice_is_counted_once(world: World) -> None:
    shard = await world.accepted()
    await running(world, shard)
    world.broker.break_at(Stage.OUTCOMES, Fault.LOSE_ANSWER)
    await finished(world, shard)
    await world.clock.sleep(2 * RETRY_SECONDS)
    assert len(world.broker.outcomes()) == 2
    assert [outcome.id for outcome in world.seen.outcomes] == ["r/0/0"]


async def test_the_cursor_is_durable_only_with_its_batch(world: World) -> None:
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "a", "b", "c")
    assert shard.state.cursor.next_offset == 3
    assert shard.durable_cursor.next_offset == 0
    world.writers[0].guards.set()
    await settle()
    assert shard.durable_cursor.next_offset == 3


async def test_a_cursor_that_moved_while_its_batch_was_out_is_not_taken_for_durable(world: World) -> None:
    shard = world.shard()
    writer = world.writers[0]
    writer.guards.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    writer.answers.append(Unknown("no answer"))
    writer.guards.set()
    await settle()
    assert shard.durable_cursor.next_offset == 0
    await world.clock.sleep(2)
    assert [batch.cursor and batch.cursor.next_offset for batch in writer.batches] == [1, 1, 2]


async def test_a_record_that_makes_no_job_moves_the_cursor_all_the_same(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "a")
    await world.take(shard, "a")
    assert world.writers[0].batches[1].records == ()
    assert shard.durable_cursor.next_offset == 2
    restored = world.broker.restore().cursor
    assert restored is not None
    assert restored.next_offset == 2


async def test_a_batch_without_new_records_leaves_the_cursor_alone(world: World) -> None:
    shard = await world.accepted()
    await running(world, shard)
    [_, *others] = world.writers[0].batches
    assert all(batch.cursor is None for batch in others)
    assert [record.key for record in world.broker.journal()].count(cursor_key(1).encode()) == 1


async def test_the_receipt_is_that_of_the_batch_that_holds_what_was_queued(world: World) -> None:
    shard = await world.accepted()
    change = shard.on_submission(KEY, Intended(world.clock.now_ms()))
    receipt = await shard.durable(change, KEY)
    assert (receipt.journal_offset, receipt.sealed_wall_ms) == (2, world.clock.now_ms())
    assert receipt.sealed_boot_seconds == pytest.approx(world.clock.boot_seconds())
    assert world.broker.journal()[receipt.journal_offset].key == b"s/1.1"


async def test_a_receipt_tells_when_its_batch_was_sealed_not_when_it_was_acknowledged(world: World) -> None:
    shard = await world.accepted()
    sealed_boot_seconds, intended_ms = world.clock.boot_seconds(), world.clock.now_ms()
    world.writers[0].guards.clear()
    change = shard.on_submission(KEY, Intended(world.clock.now_ms()))
    receipt = shard.durable(change, KEY)
    await world.clock.sleep(1.5)
    world.writers[0].guards.set()
    assert (await receipt).sealed_boot_seconds == pytest.approx(sealed_boot_seconds)
    assert (await receipt).sealed_wall_ms == intended_ms


async def test_a_batch_that_is_sent_again_keeps_the_time_it_was_first_sealed(world: World) -> None:
    shard = await world.accepted()
    world.writers[0].answers.extend([Unknown("x")] * 3)
    intended_ms = world.clock.now_ms()
    change = shard.on_submission(KEY, Intended(intended_ms))
    assert (await shard.durable(change, KEY)).sealed_wall_ms == intended_ms


async def test_an_intents_receipt_is_that_of_the_batch_that_holds_it_not_of_all_that_is_queued(
    world: World,
) -> None:
    """One batch takes a bounded number of records: what is queued by now may need several."""
    shard = await world.accepted()
    world.writers[0].guards.clear()
    await world.take(shard, "ahead")
    change = shard.on_submission(KEY, Intended(world.clock.now_ms()))
    shard.put(Change(tuple(Group((JournalRecord(f"r/9.{n}", None),)) for n in range(2 * MAX_BATCH_RECORDS))))
    receipt = shard.durable(change, KEY)
    world.writers[0].guards.set()
    number = (await receipt).journal_offset
    first, second = world.writers[0].batches[1:3]
    assert "s/1.1" not in [record.key for record in first.records]
    assert second.records[0].key == "s/1.1"
    assert number == 3 + MAX_BATCH_RECORDS
    await settle()
    assert len(world.writers[0].batches) > 3


async def test_batches_are_bounded_in_bytes_and_in_records_and_keep_their_order(world: World) -> None:
    shard = await world.accepted()
    large = tuple(Group((JournalRecord(f"r/9.{n}", b"x" * (MAX_BATCH_BYTES // 3)),)) for n in range(10))
    small = tuple(Group((JournalRecord(f"r/8.{n}", b"x"),)) for n in range(2 * MAX_BATCH_RECORDS))
    shard.put(Change((*large, *small)))
    await settle()
    batches = world.writers[0].batches
    assert max(batch.size_bytes for batch in batches) <= MAX_BATCH_BYTES
    assert max(len(batch.records) for batch in batches) <= MAX_BATCH_RECORDS
    keys = [record.key for batch in batches[1:] for record in batch.records]
    assert keys == [record.key for group in (*large, *small) for record in group.records]


@pytest.mark.parametrize("limits", [Limits(share=0.0, backlog_bytes=10_000)])
async def test_a_full_backlog_takes_no_more_until_the_broker_has_caught_up(world: World) -> None:
    shard = await world.accepted()
    world.writers[0].guards.clear()
    shard.put(Change((Group((JournalRecord("r/9.1", b"x" * 20_000),)),)))
    await settle()
    assert (shard.has_room, shard.pending_bytes > 20_000, world.backlog.size_bytes) == (
        False,
        True,
        shard.pending_bytes,
    )
    world.writers[0].guards.set()
    await settle()
    assert (shard.has_room, shard.pending_bytes, world.backlog.size_bytes) == (True, 0, 0)


async def test_shards_that_wait_for_the_broker_together_fill_the_process(world: World) -> None:
    shards = [world.shard(partition) for partition in range(6)]
    for shard in shards[:5]:
        world.writers[shard.partition].guards.clear()
        shard.put(Change((Group((JournalRecord("r/9.1", b"x" * (3_500 * 1024)),)),)))
    await settle()
    assert [shard.has_room for shard in shards] == [False] * 6
    shards[0].close()
    shards[1].close()
    assert [shard.has_room for shard in shards[2:]] == [True] * 4


async def test_closing_drops_what_is_out_and_frees_who_waits(world: World) -> None:
    world.serve(1.0)
    world.run("poll")
    shard = await world.accepted()
    shard.on_submission(KEY, Intended(world.clock.now_ms()))
    await settle()
    world.writers[0].guards.clear()
    first = shard.durable(shard.on_submission(KEY, Posted("t1")))
    await settle()
    change = shard.on_job(REF, CancelAsked())
    second = shard.durable(change)
    shard.close()
    assert first.cancelled()
    assert second.cancelled()
    assert shard.durable(change).cancelled()
    world.writers[0].guards.set()
    await world.clock.sleep(30)
    assert world.seen.outcomes == []
    assert world.provider.calls == []
    assert len(world.writers[0].batches) == 3
    assert world.spawn.named("shard") == []


async def test_a_batch_that_comes_to_its_end_behind_a_close_counts_for_nothing(world: World) -> None:
    shard = await world.accepted()
    await running(world, shard)
    world.writers[0].guards.clear()
    await finished(world, shard)
    shard.close()
    world.writers[0].guards.set()
    await settle()
    assert len(world.broker.outcomes()) == 1
    assert (world.seen.outcomes, state(shard)) == ([], JobState.FINISHING)


async def test_a_closed_shard_does_not_send_a_batch_again(world: World) -> None:
    shard = world.shard()
    world.writers[0].answers.append(Unknown("no answer"))
    await world.take(shard, "a")
    shard.close()
    await world.clock.sleep(5)
    assert len(world.writers[0].batches) == 1
    assert shard.durable_cursor.next_offset == 0


async def test_an_event_on_a_closed_shard_does_nothing(world: World) -> None:
    shard = await world.accepted()
    shard.close()
    shard.on_submission(KEY, Intended(world.clock.now_ms()))
    await settle()
    assert (state(shard), shard.pending_bytes) == (SubmissionState.WAITING, 0)
    assert journalled(world.broker, "r/0/0") == ["accepted"]


async def test_a_task_that_is_cancelled_while_its_batch_is_out_frees_who_waits(world: World) -> None:
    shard = await world.accepted()
    world.writers[0].guards.clear()
    receipt = shard.durable(shard.on_submission(KEY, Intended(world.clock.now_ms())))
    await settle()
    [serving] = world.spawn.named("shard")
    serving.cancel()
    await settle()
    shard.close()
    assert receipt.cancelled()


async def test_a_shard_is_behind_while_a_batch_is_out_for_long(world: World) -> None:
    shard = world.shard()
    seen = [shard.is_behind]
    world.writers[0].guards.clear()
    await world.take(shard, "a")
    seen.append(shard.is_behind)
    await world.clock.sleep(BEHIND_SECONDS + 0.1)
    seen.append(shard.is_behind)
    world.writers[0].guards.set()
    await settle()
    assert [*seen, shard.is_behind] == [False, False, True, False]


async def test_at_rest_everything_is_written(world: World) -> None:
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    resting = asyncio.create_task(shard.wait_for_calls())
    await world.clock.sleep(60)
    assert not resting.done()
    world.writers[0].guards.set()
    await resting
    assert shard.pending_bytes == 0
    assert shard.durable_cursor == shard.state.cursor


async def test_an_idle_shard_is_at_rest_at_once(world: World) -> None:
    shard = world.shard()
    await settle()
    await shard.wait_for_calls()
    assert world.writers[0].batches == []


async def test_rest_waits_for_the_answer_of_a_call_and_for_what_comes_of_it(world: World) -> None:
    world.serve(1.0)
    world.run("submit")
    world.provider.submit_gate.clear()
    shard = world.shard()
    await world.take(shard, "r")
    resting = asyncio.create_task(shard.wait_for_calls())
    await world.clock.sleep(20)
    assert not resting.done()
    world.provider.submit_gate.set()
    await resting
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended", "running"]


async def test_rest_ends_when_the_shard_is_closed(world: World) -> None:
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "a")
    resting = asyncio.create_task(shard.wait_for_calls())
    await settle()
    shard.close()
    await resting


async def test_rest_ends_when_a_shard_is_closed_whose_call_waits_for_its_batch(world: World) -> None:
    world.serve(1.0)
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "a")
    assert len(shard.calls) == 1
    resting = asyncio.create_task(shard.wait_for_calls())
    await settle()
    shard.close()
    await resting


async def test_a_drain_gives_up_at_its_bound(world: World) -> None:
    shards = [world.shard(partition) for partition in (0, 1)]
    world.writers[1].guards.clear()
    for shard in shards:
        await world.take(shard, "a")
    began = world.clock.boot_seconds()
    await drain(shards, 10.0, 0.0, world.limiter.may_release)
    assert world.clock.boot_seconds() - began == pytest.approx(10.0, abs=0.01)
    assert [shard.takes_work for shard in shards] == [False, False]
    assert [shard.is_open for shard in shards] == [True, True]


async def test_what_a_stale_owner_overwrote_is_rewritten(world: World) -> None:
    shard = await world.accepted()
    await running(world, shard)
    entries = journalled(world.broker, "r/0/0")
    shard.rewrite(["s/1.1", "r/0.77"])
    await settle()
    assert journalled(world.broker, "r/0/0") == [*entries, "running"]
    [unknown] = [record for record in world.broker.journal() if record.key == b"r/0.77"]
    assert unknown.value is None


async def test_a_cursor_from_before_the_take_over_is_durable_already(world: World) -> None:
    shard = world.shard()
    shard.close()
    shard.state.cursor = Cursor(41)
    again = ShardRunner(shard.state, world.writer(0, 2), 2, world.runner_deps)
    assert again.durable_cursor == Cursor(41)
    world.spawn(again.run_until_closed(), name="again")
    await settle()
    assert world.writers[0].batches == []


async def test_finished_requests_that_leave_the_window_are_forgotten_with_the_next_batch(
    world: World,
) -> None:
    shard = await world.accepted()
    await running(world, shard)
    await finished(world, shard)
    world.clock.suspend(25 * 3600)
    await world.take(shard, "next")
    await settle()
    tombstones = [record.key for record in world.broker.journal() if record.value is None]
    assert tombstones[-2:] == [b"r/0.0", b"s/1.1"]
