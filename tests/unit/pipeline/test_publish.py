"""An owned shard at work: what is decided is written in batches, and what follows waits for them."""

import asyncio

import pytest

from service.core.batch import Unknown
from service.core.entry import CURSOR_KEY, STAMP_HEADER, Stamp
from service.core.events import CancelAsked, Event, Fetched, Intended, Looked, Submitted
from service.core.identity import JobKey
from service.core.job import State
from service.core.record import Cursor
from service.core.task import FileView, TaskStatus, TaskView
from service.pipeline.publish import BEHIND_SECONDS, RETRY_SECONDS, OwnedShard, Receipt
from service.pipeline.tenancy import drain
from tests.fakes.clock import settle
from tests.fakes.writer import Fault, Stage
from tests.unit.core.samples import KEY, job, transcript
from tests.unit.pipeline.world import URL, Limits, World, journalled, state


@pytest.fixture
def limits() -> Limits:
    """Without a budget nothing is submitted but what a test submits."""
    return Limits(share=0.0)


async def running(world: World, shard: OwnedShard) -> None:
    """The job `r/0/0` with its task."""
    shard.apply(KEY, Intended(world.clock.now_ms()))
    shard.apply(KEY, Submitted("t1", 1))
    await settle()


async def finished(world: World, shard: OwnedShard) -> None:
    """The job `r/0/0` with its transcript."""
    shard.apply(KEY, _done())
    shard.apply(KEY, Fetched(transcript()))
    await settle()


def _done() -> Event:
    file = FileView(URL, transcription_url="https://r.example/1")
    return Looked(TaskView("t1", TaskStatus.SUCCEEDED, (file,), billed_seconds=3), file)


async def test_what_is_decided_while_idle_goes_out_at_once(world: World) -> None:
    shard = world.shard(jobs=[job()])
    shard.apply(KEY, Intended(world.clock.now_ms()))
    assert shard.pending_moves == 1
    await settle()
    assert journalled(world.broker, "r/0/0") == ["submitting"]
    assert (shard.pending_moves, world.seen.commits) == (0, [1])


async def test_what_comes_while_a_batch_is_out_is_one_batch_behind_it(world: World) -> None:
    keys = [JobKey(each, 0, 0) for each in "abcd"]
    shard = world.shard()
    writer = world.writers[0]
    writer.gate.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    await world.take(shard, "c", "d")
    assert len(writer.batches) == 1
    assert shard.pending_moves > 0
    writer.gate.set()
    await settle()
    assert [{move.key for move in batch.moves} for batch in writer.batches] == [
        {str(keys[0])},
        {str(key) for key in keys[1:]},
    ]
    assert [batch.number for batch in writer.batches] == [1, 2]


async def test_entries_carry_the_epoch_and_the_number_of_their_batch(world: World) -> None:
    shard = world.shard(epoch=7)
    await world.take(shard, "a")
    await world.take(shard, "b")
    stamps = [dict(record.headers)[STAMP_HEADER] for record in world.broker.journal()]
    assert [Stamp.decode(stamp) for stamp in stamps] == [Stamp(7, 1), Stamp(7, 1), Stamp(7, 2), Stamp(7, 2)]


async def test_steps_wait_until_their_batch_is_durable(world: World) -> None:
    world.budgets.set_share(1.0)
    world.run("poll")
    shard = world.shard(jobs=[job()])
    shard.apply(KEY, Intended(world.clock.now_ms()))
    await settle()
    world.writers[0].gate.clear()
    shard.apply(KEY, Submitted("t1", 1))
    await world.clock.sleep(60)
    assert world.provider.count("query") == 0
    world.writers[0].gate.set()
    await world.clock.sleep(5)
    assert world.provider.count("query") == 1


async def test_steps_that_need_no_batch_are_carried_out_at_once(world: World) -> None:
    world.budgets.set_share(1.0)
    world.run("poll", "collect")
    shard = world.shard(jobs=[job()])
    await running(world, shard)
    commits = len(world.seen.commits)
    world.writers[0].gate.clear()
    shard.apply(KEY, _done())
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
    assert [move.key for move in writer.batches[3].moves] == ["b/0/0"]


async def test_an_unknown_batch_is_sent_again_a_second_later_and_not_before(world: World) -> None:
    shard = world.shard()
    world.writers[0].answers.append(Unknown("no answer"))
    await world.take(shard, "a")
    await world.clock.sleep(0.9 * RETRY_SECONDS)
    assert len(world.writers[0].batches) == 1
    await world.clock.sleep(0.2 * RETRY_SECONDS)
    assert len(world.writers[0].batches) == 2


async def test_an_outcome_is_told_and_its_job_forgotten_only_once_it_is_durable(world: World) -> None:
    shard = world.shard(jobs=[job()])
    await running(world, shard)
    world.writers[0].gate.clear()
    await finished(world, shard)
    assert (state(shard), world.seen.ends()) == (State.FINISHING, {})
    world.writers[0].gate.set()
    await settle()
    assert (state(shard), world.seen.ends()) == (None, {"r/0/0": "result"})
    assert journalled(world.broker, "r/0/0")[-2:] == ["finishing", "done"]


async def test_an_outcome_that_is_published_twice_is_told_once(world: World) -> None:
    shard = world.shard(jobs=[job()])
    await running(world, shard)
    world.broker.break_at(Stage.ENTRIES, Fault.REFUSE)
    await finished(world, shard)
    await world.clock.sleep(2 * RETRY_SECONDS)
    assert len(world.broker.outcomes()) == 2
    assert [outcome.id for outcome in world.seen.outcomes] == ["r/0/0"]


async def test_the_cursor_is_durable_only_with_its_batch(world: World) -> None:
    shard = world.shard()
    world.writers[0].gate.clear()
    await world.take(shard, "a", "b", "c")
    assert shard.state.cursor.next_offset == 3
    assert shard.durable_cursor.next_offset == 0
    world.writers[0].gate.set()
    await settle()
    assert shard.durable_cursor.next_offset == 3


async def test_a_cursor_that_moved_while_its_batch_was_out_is_not_taken_for_durable(world: World) -> None:
    shard = world.shard()
    writer = world.writers[0]
    writer.gate.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    writer.answers.append(Unknown("no answer"))
    writer.gate.set()
    await settle()
    assert shard.durable_cursor.next_offset == 0
    await world.clock.sleep(2)
    assert [batch.cursor and batch.cursor.next_offset for batch in writer.batches] == [1, 1, 2]


async def test_a_record_that_makes_no_job_moves_the_cursor_all_the_same(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "a")
    await world.take(shard, "a")
    assert [move.key for move in world.writers[0].batches[1].moves] == []
    assert shard.durable_cursor.next_offset == 2
    restored = world.broker.restore().cursor
    assert restored is not None
    assert restored.next_offset == 2


async def test_a_batch_without_new_records_leaves_the_cursor_alone(world: World) -> None:
    shard = world.shard(jobs=[job()])
    await running(world, shard)
    assert all(batch.cursor is None for batch in world.writers[0].batches)
    assert CURSOR_KEY.encode() not in [record.key for record in world.broker.journal()]


async def test_the_receipt_is_that_of_the_batch_that_holds_what_was_queued(world: World) -> None:
    shard = world.shard(jobs=[job()])
    shard.apply(KEY, Intended(world.clock.now_ms()))
    receipt = await shard.durable()
    assert receipt == Receipt(0, 5_000.0, world.clock.now_ms())
    assert world.broker.journal()[receipt.journal_offset].key == b"r/0/0"


async def test_a_receipt_tells_when_its_batch_was_sealed_not_when_it_was_acknowledged(world: World) -> None:
    shard = world.shard(jobs=[job()])
    sealed_boot_seconds, sealed_ms = world.clock.boot_seconds(), world.clock.now_ms()
    world.writers[0].gate.clear()
    shard.apply(KEY, Intended(world.clock.now_ms()))
    receipt = shard.durable()
    await world.clock.sleep(1.5)
    world.writers[0].gate.set()
    assert (await receipt).sealed_boot_seconds == pytest.approx(sealed_boot_seconds)
    assert (await receipt).sealed_ms == sealed_ms


async def test_a_batch_that_is_sent_again_keeps_the_time_it_was_first_sealed(world: World) -> None:
    shard = world.shard(jobs=[job()])
    world.writers[0].answers.extend([Unknown("x")] * 3)
    sealed_ms = world.clock.now_ms()
    shard.apply(KEY, Intended(sealed_ms))
    assert (await shard.durable()).sealed_ms == sealed_ms


async def test_what_is_queued_behind_a_batch_waits_for_the_next_receipt(world: World) -> None:
    shard = world.shard()
    world.writers[0].gate.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    receipt = shard.durable()
    world.writers[0].gate.set()
    offset = (await receipt).journal_offset
    assert [record.key for record in world.broker.journal()[: offset + 1]] == [
        b"a/0/0",
        b"~cursor",
        b"b/0/0",
        b"~cursor",
    ]


async def test_closing_drops_what_is_out_and_frees_who_waits(world: World) -> None:
    world.budgets.set_share(1.0)
    world.run("poll")
    shard = world.shard(jobs=[job()])
    shard.apply(KEY, Intended(world.clock.now_ms()))
    await settle()
    world.writers[0].gate.clear()
    first = shard.durable()
    shard.apply(KEY, Submitted("t1", 1))
    await settle()
    shard.apply(KEY, CancelAsked())
    second = shard.durable()
    shard.close()
    assert first.cancelled()
    assert second.cancelled()
    assert shard.durable().cancelled()
    world.writers[0].gate.set()
    await world.clock.sleep(30)
    assert world.seen.outcomes == []
    assert world.provider.calls == []
    assert len(world.writers[0].batches) == 2
    assert world.spawn.named("shard") == []


async def test_a_batch_that_comes_to_its_end_behind_a_close_counts_for_nothing(world: World) -> None:
    shard = world.shard(jobs=[job()])
    await running(world, shard)
    world.writers[0].gate.clear()
    await finished(world, shard)
    shard.close()
    world.writers[0].gate.set()
    await settle()
    assert len(world.broker.outcomes()) == 1
    assert (world.seen.outcomes, state(shard)) == ([], State.FINISHING)


async def test_a_closed_shard_does_not_send_a_batch_again(world: World) -> None:
    shard = world.shard()
    world.writers[0].answers.append(Unknown("no answer"))
    await world.take(shard, "a")
    shard.close()
    await world.clock.sleep(5)
    assert len(world.writers[0].batches) == 1
    assert shard.durable_cursor.next_offset == 0


async def test_an_event_on_a_closed_shard_does_nothing(world: World) -> None:
    shard = world.shard(jobs=[job()])
    shard.close()
    shard.apply(KEY, Intended(world.clock.now_ms()))
    await settle()
    assert (state(shard), shard.pending_moves, world.broker.journal()) == (State.ACCEPTED, 0, [])


async def test_a_task_that_is_cancelled_while_its_batch_is_out_frees_who_waits(world: World) -> None:
    shard = world.shard(jobs=[job()])
    world.writers[0].gate.clear()
    shard.apply(KEY, Intended(world.clock.now_ms()))
    receipt = shard.durable()
    await settle()
    [serving] = world.spawn.named("shard")
    serving.cancel()
    await settle()
    shard.close()
    assert receipt.cancelled()


async def test_a_shard_is_behind_while_a_batch_is_out_for_long(world: World) -> None:
    shard = world.shard()
    seen = [shard.is_behind]
    world.writers[0].gate.clear()
    await world.take(shard, "a")
    seen.append(shard.is_behind)
    await world.clock.sleep(BEHIND_SECONDS + 0.1)
    seen.append(shard.is_behind)
    world.writers[0].gate.set()
    await settle()
    assert [*seen, shard.is_behind] == [False, False, True, False]


async def test_at_rest_everything_is_written(world: World) -> None:
    shard = world.shard()
    world.writers[0].gate.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    resting = asyncio.create_task(shard.rest())
    await world.clock.sleep(60)
    assert not resting.done()
    world.writers[0].gate.set()
    await resting
    assert shard.pending_moves == 0
    assert shard.durable_cursor == shard.state.cursor


async def test_an_idle_shard_is_at_rest_at_once(world: World) -> None:
    shard = world.shard()
    await settle()
    await shard.rest()
    assert world.writers[0].batches == []


async def test_rest_waits_for_the_answer_of_a_call_and_for_what_comes_of_it(world: World) -> None:
    world.budgets.set_share(1.0)
    world.run("submit")
    world.provider.submit_gate.clear()
    shard = world.shard()
    await world.take(shard, "r")
    resting = asyncio.create_task(shard.rest())
    await world.clock.sleep(20)
    assert not resting.done()
    world.provider.submit_gate.set()
    await resting
    assert journalled(world.broker, "r/0/0") == ["submitting", "running"]


async def test_rest_ends_when_the_shard_is_closed(world: World) -> None:
    shard = world.shard()
    world.writers[0].gate.clear()
    await world.take(shard, "a")
    resting = asyncio.create_task(shard.rest())
    await settle()
    shard.close()
    await resting


async def test_rest_ends_when_a_shard_is_closed_whose_call_waits_for_its_batch(world: World) -> None:
    world.budgets.set_share(1.0)
    shard = world.shard()
    world.writers[0].gate.clear()
    await world.take(shard, "a")
    assert len(shard.calls) == 1
    resting = asyncio.create_task(shard.rest())
    await settle()
    shard.close()
    await resting


async def test_a_drain_gives_up_at_its_bound(world: World) -> None:
    shards = [world.shard(partition) for partition in (0, 1)]
    world.writers[1].gate.clear()
    for shard in shards:
        await world.take(shard, "a")
    began = world.clock.boot_seconds()
    await drain(shards, 10.0, 0.0)
    assert world.clock.boot_seconds() - began == pytest.approx(10.0, abs=0.01)
    assert [shard.takes_work for shard in shards] == [False, False]
    assert [shard.is_open for shard in shards] == [True, True]


async def test_what_a_stranger_overwrote_is_written_again(world: World) -> None:
    shard = world.shard(jobs=[job()])
    await running(world, shard)
    entries = journalled(world.broker, "r/0/0")
    shard.mend(["r/0/0", "unknown/0/0"])
    await settle()
    assert journalled(world.broker, "r/0/0") == [*entries, "running"]
    assert journalled(world.broker, "unknown/0/0") == ["forgotten"]
    assert world.broker.restore().jobs()[0].task_id == "t1"


async def test_a_cursor_from_before_the_take_over_is_durable_already(world: World) -> None:
    shard = world.shard()
    shard.close()
    shard.state.cursor = Cursor(41)
    again = OwnedShard(shard.state, world.writer(0, 2), 2, world.around)
    assert again.durable_cursor == Cursor(41)
    world.spawn(again.run_until_closed(), name="again")
    again.wake()
    await settle()
    assert world.writers[0].batches == []


async def test_markers_that_leave_the_window_are_forgotten_with_the_next_batch(world: World) -> None:
    shard = world.shard(jobs=[job()])
    await running(world, shard)
    await finished(world, shard)
    world.clock.suspend(25 * 3600)
    await world.take(shard, "next")
    assert journalled(world.broker, "r/0/0")[-2:] == ["done", "forgotten"]
