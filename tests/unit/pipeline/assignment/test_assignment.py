"""Assignment: shards are taken over when they are assigned, served, given back, and never served by two."""

import asyncio
import gc
import sys
import threading
from itertools import pairwise

import pytest

from service.core.job.events import Intended
from service.core.job.request_record import Cursor
from service.core.job.submission import SubmissionState
from service.core.job.transition_context import Boundary, Context
from service.core.job.uncertainty import UncertainOutcome
from service.core.journal.replay import Restore
from service.core.limits.slot_share import Predecessor
from service.core.provider.answers import ProviderError
from service.core.provider.answers import Refused as TaskRefused
from service.core.shard.batches import BatchRefused, Change, Group, JournalRecord, Unknown
from service.core.shard.shard import Shard
from service.errors import ClusterError, RestoreError
from service.pipeline.assignment import assigned_partition
from service.pipeline.assignment.assigned_partition import ENDING_SECONDS, REVOCATION_SECONDS, PartitionState
from service.pipeline.assignment.assignment import RESUME_SECONDS, RETAKE
from service.pipeline.shard.backlog import SHARD_BYTES
from service.pipeline.shard.observer import ShardChange
from service.pipeline.shard.shard_runner import ShardRunner
from tests.fakes.clock import settle
from tests.unit.pipeline.member import OPEN_JOBS, Member
from tests.unit.pipeline.world import Limits, World, job_of, journalled, state


@pytest.fixture
async def member(world: World) -> Member:
    world.run("submit")
    return Member(world)


# Taking over.


async def test_an_assigned_partition_is_taken_over_and_then_delivers(member: Member) -> None:
    member.assignment.assigned([0, 1])
    assert [member.state(0), member.state(1)] == [PartitionState.RESTORING] * 2
    assert member.delivery.started == []
    await member.world.clock.sleep(0.1)
    assert [member.state(0), member.state(1)] == [PartitionState.READY] * 2
    assert sorted(member.delivery.started) == [(0, 0), (1, 0)]
    assert (member.words(0), member.slots.served) == (["taken"], dict.fromkeys((0, 1), Predecessor.NONE))
    assert {shard.partition for shard in member.assignment.open_shards()} == {0, 1}


async def test_take_overs_and_resumptions_are_timed_and_assignments_counted(member: Member) -> None:
    gate = member.journal.hang(0)
    member.assignment.assigned([0])
    await member.world.clock.sleep(5)
    gate.set()
    await member.world.clock.sleep(0.1)
    await member.assignment.revoked([0])
    await member.own(0)
    [(taken, restored_seconds), (resumed, resumed_seconds)] = member.world.seen.takeovers
    assert (taken, resumed) == (ShardChange.TAKEN, ShardChange.RESUMED)
    assert restored_seconds == pytest.approx(5, abs=0.1)
    assert resumed_seconds < 1
    assert member.world.seen.rebalances == 2


async def test_being_assigned_waits_for_nothing(member: Member) -> None:
    member.journal.hang(0)
    member.assignment.assigned([0])
    await member.world.clock.sleep(60)
    assert (member.state(), member.assignment.open_shards()) == (PartitionState.RESTORING, [])
    assert not member.assignment.has_room(0)


async def test_what_is_assigned_beyond_the_bound_waits_and_says_so(world: World) -> None:
    member = Member(world, max_shards=2)
    await member.own(0, 1)
    await member.assignment.revoked([0, 1])
    await member.own(2, 1, 0)
    assert [member.state(each) for each in range(3)] == [
        PartitionState.READY,
        PartitionState.READY,
        PartitionState.REFUSED,
    ]
    assert "add members to the group" in member.assignment.partitions[2].detail
    assert len(member.assignment.open_shards()) == 2
    assert not member.assignment.has_room(2)
    await member.assignment.revoked([0, 1, 2])
    await member.own(2)
    assert member.state(2) is PartitionState.READY


async def test_an_assignment_of_nothing_is_one_too(member: Member) -> None:
    member.assignment.assigned([])
    assert (member.assignment.assignments, member.slots.served) == (1, {})


async def test_delivery_begins_at_the_cursor_whatever_the_group_says(member: Member) -> None:
    member.delivery.offsets[0] = 1
    [shard] = await member.own(0)
    member.deliver(0, "a", "b", "c")
    await settle()
    await member.assignment.revoked([0])
    await member.own(0)
    assert member.delivery.started == [(0, 0), (0, 3)]
    assert member.shard().state.cursor == shard.state.cursor


async def test_a_large_journal_leaves_the_loop_its_turns(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a shard in a thread, and its steps go out in slices; the collector stands still."""
    monkeypatch.setattr(assigned_partition, "INLINE_ENTRIES", 10)
    monkeypatch.setattr(assigned_partition, "SLICE", 7)
    left = await member.world.accepted(*(f"r{n}" for n in range(20)))
    left.close()
    frozen = gc.get_freeze_count()
    slices: list[int] = []
    released: list[object] = []
    proper, proper_load = ShardRunner.put, Shard.load

    def put(shard: ShardRunner, change: Change) -> None:
        if change.steps:
            slices.append(len(change.steps))
        proper(shard, change)

    def load(shard: Shard, restored: Restore, at: Context, boundary: Boundary) -> Change:
        assert not gc.isenabled()
        assert threading.current_thread() is not threading.main_thread()
        released.append(restored.entries)
        return proper_load(shard, restored, at, boundary)

    monkeypatch.setattr(ShardRunner, "put", put)
    monkeypatch.setattr(Shard, "load", load)
    member.assignment.assigned([0])
    while member.state() is not PartitionState.READY:
        await member.world.clock.sleep(0.1)
        await asyncio.sleep(0.001)  # the thread's own time
    await settle()
    assert (slices, released) == ([7, 7, 6], [{}])
    assert len(member.shard().state.jobs) == 20
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen


async def test_a_former_owner_is_waited_for_from_the_claim_and_not_from_the_end_of_the_load(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    proper_load = assigned_partition.load

    async def load(shard: ShardRunner, restored: Restore) -> Change:
        await member.world.clock.sleep(8)
        return await proper_load(shard, restored)

    monkeypatch.setattr(assigned_partition, "load", load)
    began = member.world.clock.boot_seconds()
    await member.own(0)
    assert member.slots.served == {}
    await member.world.clock.sleep(8)
    assert member.slots.claimed == {0: pytest.approx(began, abs=0.1)}


async def test_open_jobs_are_resumed_by_their_tasks(member: Member) -> None:
    await member.own(0)
    member.deliver(0, "r")
    await settle()
    await member.assignment.revoked([0])
    [shard] = await member.own(0)
    assert state(shard) is SubmissionState.RUNNING
    member.world.run("poll", "collect")
    await member.world.clock.sleep(30)
    assert member.world.seen.ends() == {"r/0/0": "result"}
    assert member.world.provider.count("submit") == 1


async def test_no_call_leaves_in_the_slots_of_a_partition_from_its_revocation_on(member: Member) -> None:
    await member.own(0, 1)
    member.world.writers[0].guards.clear()
    revoking = asyncio.create_task(member.assignment.revoked([0]))
    await settle()
    assert member.slots.served == {1: Predecessor.NONE}
    member.world.writers[0].guards.set()
    await revoking


async def test_a_revoked_shard_journals_that_it_has_stopped_calling(member: Member) -> None:
    await member.own(0)
    member.deliver(0, "r")
    await settle()
    said = [member.world.broker.restore(0).predecessor]
    await member.assignment.revoked([0])
    said.append(member.world.broker.restore(0).predecessor)
    await member.own(0)
    said.append(member.world.broker.restore(0).predecessor)
    assert said == [Predecessor.UNKNOWN, Predecessor.RELEASED, Predecessor.UNKNOWN]
    assert member.slots.served == {0: "resumed"}


async def test_what_a_crash_left_is_taken_over_as_one_that_may_still_be_called_for(member: Member) -> None:
    await member.own(0)
    writer = member.world.broker.writer(0, 1)
    await writer.prove()
    other = Member(member.world)
    await other.own(0)
    assert other.slots.served == {0: Predecessor.UNKNOWN}
    await other.assignment.drain(5, 5)
    assert other.slots.served == {}
    assert member.world.broker.restore(0).predecessor is Predecessor.RELEASED


@pytest.mark.parametrize("is_for_good", [True, False])
async def test_an_owner_with_an_unknown_predecessor_does_not_mark_its_claim_released(
    member: Member, is_for_good: bool
) -> None:
    await member.own(0)
    await member.world.broker.writer(0, 1).prove()
    member.slots.is_sure = False
    await (member.assignment.drain(5, 5) if is_for_good else member.assignment.revoked([0]))
    assert member.world.broker.restore(0).predecessor is Predecessor.UNKNOWN


async def test_a_shard_that_is_fenced_has_no_slots(member: Member) -> None:
    await member.own(0)
    member.delivery.is_owner = False
    member.journal.tail.followed[0].fence()
    await member.world.clock.sleep(0.1)
    assert member.slots.served == {}


async def test_a_displaced_shard_makes_no_call_while_it_stops(member: Member) -> None:
    await member.own(0)
    member.assignment.cursor_invalid(0)
    assert member.slots.served == {}


async def test_requests_that_were_lost_to_retention_are_said(member: Member) -> None:
    member.journal.lost_requests = 7
    await member.own(0)
    assert member.world.seen.lost == [(0, 7)]


async def test_the_membership_is_proven_before_the_claim(member: Member) -> None:
    member.delivery.offsets[0] = 5
    await member.own(0, 1)
    assert sorted(member.delivery.proofs) == [(0, 5), (1, 0)]


@pytest.mark.parametrize("offset", [None, 5])
async def test_a_stale_owner_that_resumes_does_not_claim(member: Member, offset: int | None) -> None:
    if offset is not None:
        member.delivery.offsets[0] = offset
    member.delivery.is_owner = False
    member.assignment.assigned([0])
    await member.world.clock.sleep(600)
    assert (member.state(), member.words()) == (PartitionState.LOST, ["lost"])
    assert (member.journal.taken, member.delivery.started) == ([], [])
    assert not member.assignment.has_room(0)


async def test_one_that_was_lost_is_served_again_after_the_next_assignment(member: Member) -> None:
    member.delivery.is_owner = False
    member.assignment.assigned([0])
    await member.world.clock.sleep(1)
    member.delivery.is_owner = True
    await member.assignment.revoked([0])
    await member.own(0)
    assert member.state() is PartitionState.READY


@pytest.mark.parametrize("error", [RestoreError("the journal is not this topic's"), ClusterError("away")])
async def test_a_shard_that_is_refused_says_why_and_is_tried_ever_more_slowly(
    member: Member, error: RestoreError | ClusterError
) -> None:
    member.world.clock.draw_always = 1.0
    member.journal.refusals.extend([error] * 9)
    member.assignment.assigned([0])
    await member.world.clock.sleep(0.1)
    assert (member.state(), member.assignment.partitions[0].detail) == (PartitionState.REFUSED, str(error))
    await member.world.clock.sleep(180)
    tries = [at for _, at in member.journal.taken]
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert [round(gap, 0) for gap in gaps[:4]] == [1.0, 1.0, 2.0, 4.0]
    assert max(gaps) == pytest.approx(RETAKE.longest_seconds, abs=0.1)
    assert member.state() is PartitionState.READY
    assert member.assignment.partitions[0].detail == ""
    assert member.words() == [*["refused"] * 9, "taken"]


async def test_a_group_that_does_not_answer_refuses_the_shard_for_now(member: Member) -> None:
    member.delivery.provider_error.append(ClusterError("no answer in time"))
    member.assignment.assigned([0])
    await member.world.clock.sleep(5)
    assert (member.words(), member.state()) == (["refused", "taken"], PartitionState.READY)


async def test_a_refused_shard_stops_no_other(member: Member) -> None:
    member.journal.refusals.append(RestoreError("x"))
    member.assignment.assigned([0, 1])
    await member.world.clock.sleep(0.05)
    assert {member.state(0), member.state(1)} == {PartitionState.REFUSED, PartitionState.READY}


async def test_what_a_crash_left_on_the_wire_is_uncertain_and_not_submitted_again(member: Member) -> None:
    left = await member.world.accepted()
    left.on_submission(job_of(left).submission, Intended(member.world.clock.now_ms()))
    await settle()
    left.close()
    [shard] = await member.own(0)
    assert state(shard) is SubmissionState.UNCERTAIN
    assert member.world.seen.uncertainties == [UncertainOutcome.BEGUN]
    assert member.world.provider.calls == []


# Serving.


async def test_records_reach_their_shard(member: Member) -> None:
    shards = await member.own(0, 1)
    member.deliver(1, "r")
    assert [len(shard.state.jobs) for shard in shards] == [0, 1]


async def test_records_for_a_shard_that_is_not_there_are_ignored(member: Member) -> None:
    await member.own(0)
    member.deliver(5, "r")
    member.shard().close()
    member.deliver(0, "r")
    await settle()
    assert member.world.seen.admissions == []


async def test_a_shard_is_full_at_its_part_of_the_limit_and_takes_again_well_below(member: Member) -> None:
    shard, _ = await member.own(0, 1)
    for number in range(OPEN_JOBS // 2 - 1):
        member.deliver(0, f"r{number}")
    assert member.assignment.has_room(0)
    member.deliver(0, "last")
    assert not member.assignment.has_room(0)
    assert member.assignment.has_room(1)
    keys = list(shard.state.jobs)
    room = []
    for key in keys[:5]:
        del shard.state.jobs[key]
        room.append(member.assignment.has_room(0))
    assert room == [False, False, False, False, True]


async def test_a_shard_whose_writes_pile_up_takes_no_more(member: Member) -> None:
    [shard] = await member.own(0)
    member.world.writers[0].guards.clear()
    member.deliver(0, "r")
    await settle()
    shard.put(Change((Group((JournalRecord("r/9.1", b"x" * (SHARD_BYTES - 20_000)),)),)))
    assert member.assignment.has_room(0)
    shard.put(Change((Group((JournalRecord("r/9.2", b"x" * 20_000),)),)))
    assert not member.assignment.has_room(0)
    member.world.writers[0].guards.set()
    await member.world.clock.sleep(1)
    assert member.assignment.has_room(0)


async def test_even_one_open_job_is_room_where_the_limit_is_tiny(member: Member) -> None:
    await member.own(*range(OPEN_JOBS + 10))
    assert all(member.assignment.has_room(partition) for partition in range(OPEN_JOBS + 10))


async def test_the_offsets_for_the_group_are_those_in_the_journal(member: Member) -> None:
    await member.own(0, 1)
    member.deliver(0, "a", "b")
    await settle()
    member.world.writers[0].guards.clear()
    member.deliver(0, "c")
    await settle()
    assert member.assignment.durable_offsets() == {0: 2, 1: 0}
    member.shard(1).close()
    assert member.assignment.durable_offsets() == {0: 2}


async def test_a_stale_owners_write_behind_the_claim_is_rewritten(member: Member) -> None:
    await member.own(0)
    member.deliver(0, "r")
    await settle()
    member.journal.tail.followed[0].on_foreign_write("s/1.1")
    await settle()
    assert journalled(member.world.broker, "r/0/0") == ["accepted", "intended", "running", "running"]


# Being fenced.


async def test_a_fenced_shard_stops_at_once_and_is_taken_again(member: Member) -> None:
    member.world.clock.draw_always = 1.0
    [shard] = await member.own(0)
    member.journal.tail.followed[0].fence()
    assert not shard.is_open
    assert not member.assignment.has_room(0)
    await settle()
    assert member.delivery.stopped == [0]
    assert (member.state(), member.journal.tail.left) == (PartitionState.RESTORING, [0])
    await member.world.clock.sleep(1)
    assert member.words() == ["taken", "fenced", "closed", "taken"]
    assert member.shard() is not shard
    assert member.delivery.started == [(0, 0), (0, 0)]


async def test_a_fenced_shard_whose_member_the_group_has_dropped_is_lost(member: Member) -> None:
    await member.own(0)
    member.delivery.is_owner = False
    member.journal.tail.followed[0].fence()
    await member.world.clock.sleep(60)
    assert member.words() == ["taken", "fenced", "closed", "lost"]
    assert len(member.journal.taken) == 1


async def test_a_shard_that_is_fenced_again_and_again_is_taken_ever_more_slowly(member: Member) -> None:
    member.world.clock.draw_always = 1.0
    member.assignment.assigned([0])
    for _ in range(8):
        while 0 not in member.journal.tail.followed:
            await member.world.clock.sleep(0.1)
        member.journal.tail.followed[0].fence()
        await settle()
    tries = [at for _, at in member.journal.taken]
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[-1] > 20
    assert gaps == sorted(gaps)


async def test_a_shard_that_was_served_for_long_is_taken_again_soon(member: Member) -> None:
    member.world.clock.draw_always = 1.0
    await member.own(0)
    for _ in range(6):
        await member.world.clock.sleep(RETAKE.longest_seconds + 1)
        member.journal.tail.followed[0].fence()
        await member.world.clock.sleep(1)
        assert member.state() is PartitionState.READY


async def test_a_stale_owners_write_is_not_rewritten_on_a_closed_shard(member: Member) -> None:
    [shard] = await member.own(0)
    followed = member.journal.tail.followed[0]
    shard.close()
    followed.on_foreign_write("r/0/0")
    followed.fence()
    assert shard.pending_bytes == 0
    assert "fenced" not in member.words()


# Giving back.


async def test_a_revoked_shard_is_suspended_and_closed_when_it_does_not_come_back(member: Member) -> None:
    [shard] = await member.own(0)
    await member.assignment.revoked([0])
    assert (shard.is_open, shard.takes_work, member.assignment.partitions) == (True, False, {})
    await member.own()
    assert not shard.is_open
    assert (member.words(), member.assignment.suspended) == (["taken", "closed"], {})
    assert member.world.spawn.named("shard") == []
    assert member.journal.tail.followed == {}
    assert member.world.writers[0].is_closed


async def test_only_what_is_revoked_is_suspended(member: Member) -> None:
    first, second = await member.own(0, 1)
    await member.assignment.revoked([0, 7])
    assert (first.takes_work, second.takes_work) == (False, True)


async def test_a_shard_that_comes_back_goes_on_without_a_restore(member: Member) -> None:
    """Every rebalance takes everything away from everybody, and gives most of it back."""
    [shard] = await member.own(0)
    member.deliver(0, "a")
    await member.world.clock.sleep(1)
    await member.assignment.revoked([0])
    assert await member.own(0) == [shard]
    assert (shard.takes_work, member.words()) == (True, ["taken", "resumed"])
    assert len(member.journal.taken) == 1
    assert member.delivery.started == [(0, 0), (0, 1)]
    member.deliver(0, "b")
    await member.world.clock.sleep(1)
    assert member.world.provider.count("submit") == 2


@pytest.mark.parametrize("why", ["fenced", "refused", "unknown", "claimed", "closed"])
async def test_a_shard_that_comes_back_and_cannot_prove_itself_is_taken_over(
    member: Member, why: str
) -> None:
    [shard] = await member.own(0)
    await member.assignment.revoked([0])
    if why == "claimed":
        member.journal.tail.says = False
    elif why == "fenced":
        member.journal.tail.followed[0].fence()
    elif why == "closed":
        shard.close()
    else:
        answer = BatchRefused("fenced") if why == "refused" else Unknown("no answer")
        member.world.writers[0].answers.append(answer)
    await member.own(0)
    await member.world.clock.sleep(2)
    assert not shard.is_open
    assert member.shard().takes_work
    assert member.state() is PartitionState.READY
    assert len(member.journal.taken) == 2
    assert member.journal.tail.followed.keys() == {0}


async def test_a_writer_that_hangs_does_not_keep_a_shard_from_being_taken_over(member: Member) -> None:
    [shard] = await member.own(0)
    member.world.writers[0].guards.clear()
    member.world.writers[0].ending_seconds = 60
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    began = member.world.clock.boot_seconds()
    await member.assignment.revoked([0])
    assert member.world.clock.boot_seconds() - began <= REVOCATION_SECONDS + ENDING_SECONDS
    await member.own(0)
    await member.world.clock.sleep(RESUME_SECONDS + 1)
    assert not shard.is_open
    assert member.shard().is_open
    await member.world.clock.sleep(60)
    assert member.journal.tail.followed.keys() == {0}
    assert member.shard().is_open


async def test_a_batch_on_its_way_is_awaited_before_a_shard_is_given_back(member: Member) -> None:
    """And an intent in it begins nothing once the shard is suspended."""
    [shard] = await member.own(0)
    member.world.writers[0].guards.clear()
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    revoking = asyncio.create_task(member.assignment.revoked([0]))
    await settle()
    assert (revoking.done(), shard.takes_work, shard.durable_cursor.next_offset) == (False, False, 0)
    member.world.writers[0].guards.set()
    await revoking
    assert (shard.is_open, shard.durable_cursor.next_offset) == (True, 1)
    await member.world.clock.sleep(30)
    assert member.world.provider.count("submit") == 0
    assert await member.own(0) == [shard]
    await member.world.clock.sleep(1)
    assert member.world.provider.count("submit") == 1


async def test_a_rebalance_during_the_proof_leaves_the_decision_to_the_next(member: Member) -> None:
    [shard] = await member.own(0)
    await member.assignment.revoked([0])
    member.world.writers[0].guards.clear()
    member.assignment.assigned([0])
    await settle()
    revoking = asyncio.create_task(member.assignment.revoked([0]))
    await settle()
    member.world.writers[0].guards.set()
    await revoking
    await settle()
    assert (shard.is_open, shard.takes_work) == (True, False)
    assert await member.own(0) == [shard]
    assert shard.takes_work


async def test_the_proof_for_an_earlier_suspension_does_not_resume_a_later_one(member: Member) -> None:
    """Another member may have claimed the shard between the two."""
    [shard] = await member.own(0)
    proofs: list[asyncio.Event] = []
    for _ in range(2):
        await member.assignment.revoked([0])
        member.journal.tail.guards = asyncio.Event()
        proofs.append(member.journal.tail.guards)
        member.assignment.assigned([0])
        await settle()
    proofs[0].set()
    await settle()
    assert (shard.takes_work, member.slots.served, member.words()) == (False, {}, ["taken"])
    proofs[1].set()
    await settle()
    assert (shard.takes_work, member.slots.served) == (True, {0: "resumed"})
    assert member.words() == ["taken", "resumed"]


async def test_an_answer_on_the_wire_holds_up_no_rebalance_and_is_written_down(member: Member) -> None:
    """A task that was paid for is known to the journal, whoever owns the shard next."""
    member.world.provider.submit_gate.clear()
    await member.own(0)
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    began = member.world.clock.boot_seconds()
    await member.assignment.revoked([0])
    assert member.world.clock.boot_seconds() == began
    member.world.provider.submit_gate.set()
    await settle()
    assert journalled(member.world.broker, "r/0/0") == ["accepted", "intended", "running"]


async def test_what_would_end_a_job_waits_until_the_shard_is_back(member: Member) -> None:
    """Another member may own it, and may end the job in another way."""
    member.world.provider.next_submits.append(TaskRefused(ProviderError("InvalidParameter", "no", 400)))
    member.world.provider.submit_gate.clear()
    await member.own(0)
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    await member.assignment.revoked([0])
    member.world.provider.submit_gate.set()
    await settle()
    assert member.world.seen.ends() == {}
    assert journalled(member.world.broker, "r/0/0") == ["accepted", "intended"]
    await member.own(0)
    await member.world.clock.sleep(1)
    assert member.world.seen.ends() == {"r/0/0": "submit_rejected"}


async def test_a_suspended_shard_is_not_reconciled_until_it_resumes(
    member: Member,
) -> None:
    member.world.run("poll", "collect", "expire")
    await member.own(0)
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    await member.assignment.revoked([0])
    looks = member.world.provider.count("query")
    await member.world.clock.sleep(60)
    assert member.world.provider.count("query") == looks
    await member.own(0)
    await member.world.clock.sleep(60)
    assert member.world.seen.ends() == {"r/0/0": "result"}


async def test_a_job_that_waits_for_its_submit_waits_for_its_shard_too(member: Member) -> None:
    member.world.run("poll", "collect", "expire")
    await member.own(0)
    await member.assignment.revoked([0])
    shard = member.assignment.suspended[0].runner
    assert shard is not None
    await member.world.take(shard, "r")
    await member.world.clock.sleep(30)
    assert member.world.provider.count("submit") == 0
    await member.own(0)
    await member.world.clock.sleep(60)
    assert member.world.seen.ends() == {"r/0/0": "result"}


async def test_a_broker_that_is_away_does_not_hold_up_the_group(member: Member) -> None:
    await member.own(0)
    member.world.writers[0].guards.clear()
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    began = member.world.clock.boot_seconds()
    await member.assignment.revoked([0])
    assert member.world.clock.boot_seconds() - began <= REVOCATION_SECONDS + ENDING_SECONDS


async def test_leaving_waits_for_suspended_shards_too(member: Member) -> None:
    member.world.provider.submit_gate.clear()
    await member.own(0)
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    await member.assignment.revoked([0])
    leaving = asyncio.create_task(member.assignment.drain(20.0, 20.0))
    await member.world.clock.sleep(1)
    assert not leaving.done()
    member.world.provider.submit_gate.set()
    await leaving
    assert journalled(member.world.broker, "r/0/0") == ["accepted", "intended", "running"]


async def test_no_intent_is_begun_while_a_shard_is_given_back(member: Member) -> None:
    member.world.provider.submit_gate.clear()
    [shard] = await member.own(0)
    member.deliver(0, "a")
    await member.world.clock.sleep(1)
    revoking = asyncio.create_task(member.assignment.revoked([0]))
    await settle()
    member.deliver(0, "b")
    await member.world.take(shard, "c")
    await revoking
    assert member.world.provider.count("submit") == 1
    assert (state(shard, "b"), state(shard, "c")) == (None, SubmissionState.WAITING)


async def test_a_shard_that_is_still_being_restored_is_given_back_without_beginning_anything(
    member: Member,
) -> None:
    left = await member.world.accepted(partition=1)
    left.close()
    member.world.provider.submit_gate.clear()
    guards = member.journal.hang(1)
    await member.own(0, 1)
    member.deliver(0, "a")
    await member.world.clock.sleep(1)
    revoking = asyncio.create_task(member.assignment.revoked([0, 1]))
    await settle()
    guards.set()
    await revoking
    assert member.words(1) == []
    assert member.world.provider.count("submit") == 1


async def test_records_that_come_after_the_revocation_are_left_to_the_next_owner(member: Member) -> None:
    [shard] = await member.own(0)
    await member.assignment.revoked([0])
    member.deliver(0, "r")
    assert member.world.seen.admissions == []
    assert shard.state.cursor == Cursor(0)


async def test_an_assignment_without_a_revocation_before_it_drops_what_was_served(member: Member) -> None:
    first, second = await member.own(0, 1)
    [again] = await member.own(1)
    assert (first.is_open, second.is_open, again.is_open) == (False, False, True)
    assert member.journal.tail.followed.keys() == {1}
    assert len(member.world.spawn.named("shard")) == 1


# A cursor that has nothing behind it any more.


async def test_a_displaced_shard_is_taken_over_again(member: Member) -> None:
    [shard] = await member.own(0)
    member.assignment.cursor_invalid(0)
    await member.world.clock.sleep(2)
    assert (shard.is_open, member.state()) == (False, PartitionState.READY)
    assert member.words() == ["taken", "closed", "taken"]


async def test_a_displaced_shard_waits_for_the_answer_on_its_wire(member: Member) -> None:
    """What is dropped here would be a paid task that nobody knows of."""
    member.world.provider.submit_gate.clear()
    await member.own(0)
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    member.assignment.cursor_invalid(0)
    await member.world.clock.sleep(1)
    member.world.provider.submit_gate.set()
    await member.world.clock.sleep(2)
    assert journalled(member.world.broker, "r/0/0") == ["accepted", "intended", "running"]
    assert state(member.shard()) is SubmissionState.RUNNING


async def test_a_partition_that_is_not_served_cannot_be_displaced(member: Member) -> None:
    member.assignment.cursor_invalid(3)
    await member.own(0)
    member.shard().close()
    member.assignment.cursor_invalid(0)
    assert member.world.spawn.named("retire") == []


async def test_a_displaced_shard_that_comes_back_before_it_is_at_rest_is_not_resumed(member: Member) -> None:
    """It is about to write that nobody calls in its slots, and to close."""
    member.world.provider.submit_gate.clear()
    [shard] = await member.own(0)
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    member.assignment.cursor_invalid(0)
    await member.assignment.revoked([0])
    await member.own(0)
    assert (shard.takes_work, "resumed" in member.words()) == (False, False)
    await member.world.clock.sleep(2)
    assert (member.shard() is shard, member.state()) == (False, PartitionState.READY)


# Stopping for good.


async def test_leaving_writes_everything_and_keeps_the_shards_for_the_last_commit(member: Member) -> None:
    member.world.provider.submit_gate.clear()
    [shard] = await member.own(0)
    member.deliver(0, "r")
    await settle()
    leaving = asyncio.create_task(member.assignment.drain(20.0, 20.0))
    await member.world.clock.sleep(5)
    assert not leaving.done()
    member.world.provider.submit_gate.set()
    await leaving
    assert shard.is_open
    assert journalled(member.world.broker, "r/0/0")[-1] == "running"
    assert member.assignment.durable_offsets() == {0: 1}


async def test_records_that_come_on_the_way_out_are_left_to_the_next_owner(member: Member) -> None:
    [shard] = await member.own(0)
    await member.assignment.drain(20.0, 20.0)
    member.deliver(0, "r")
    assert member.world.seen.admissions == []
    assert shard.state.cursor == Cursor(0)


async def test_leaving_is_bounded(member: Member) -> None:
    member.world.provider.submit_gate.clear()
    await member.own(0)
    member.deliver(0, "r")
    await member.world.clock.sleep(1)
    began = member.world.clock.boot_seconds()
    await member.assignment.drain(20.0, 20.0)
    assert member.world.clock.boot_seconds() - began == pytest.approx(20.0, abs=0.1)


async def test_a_shard_that_is_still_being_restored_is_not_begun_on_the_way_out(member: Member) -> None:
    guards = member.journal.hang(0)
    member.assignment.assigned([0])
    await member.world.clock.sleep(1)
    await member.assignment.drain(20.0, 20.0)
    guards.set()
    await member.world.clock.sleep(60)
    assert member.words() == []


async def test_a_rebalance_on_the_way_out_begins_nothing(member: Member) -> None:
    await member.own(0)
    await member.assignment.drain(20.0, 20.0)
    await member.assignment.revoked([0])
    member.assignment.assigned([0, 1])
    await member.world.clock.sleep(60)
    assert (member.assignment.partitions, member.slots.served) == ({}, {})
    assert len(member.journal.taken) == 1


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_proof_that_comes_on_the_way_out_resumes_nothing_and_takes_nothing_over(
    member: Member, is_ours: bool
) -> None:
    [shard] = await member.own(0)
    member.world.limiter.share.served.clear()
    member.deliver(0, "r")
    await settle()
    await member.assignment.revoked([0])
    member.journal.tail.guards.clear()
    member.journal.tail.says = is_ours
    member.assignment.assigned([0])
    await settle()
    await member.assignment.drain(5, 5)
    member.world.serve(1.0)
    member.journal.tail.guards.set()
    await member.world.clock.sleep(RESUME_SECONDS + 1)
    assert (shard.takes_work, member.slots.served, len(member.journal.taken)) == (False, {}, 1)
    assert member.world.provider.count("submit") == 0
    assert member.world.broker.restore(0).predecessor is Predecessor.RELEASED
    assert [each for each, _ in member.delivery.started] == [0]


async def test_a_shard_that_is_fenced_on_the_way_out_is_not_taken_over_again(member: Member) -> None:
    await member.own(0)
    await member.assignment.drain(5, 5)
    member.journal.tail.followed[0].fence()
    await member.world.clock.sleep(60)
    assert (member.words(), len(member.journal.taken)) == (["taken", "fenced", "closed"], 1)


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_a_bug_in_a_shard_ends_its_task_with_the_error(member: Member) -> None:
    await member.own(0)
    [serving] = member.world.spawn.named("shard")
    member.world.seen.bug = ZeroDivisionError()
    member.deliver(0, "r")
    await settle()
    assert isinstance(serving.exception(), ZeroDivisionError)
    assert not member.assignment.open_shards()
    [crash] = member.world.spawn.crashes
    member.world.spawn.crashes.clear()
    assert isinstance(crash, ZeroDivisionError)


async def test_a_closed_shard_keeps_nothing_in_memory_though_the_collector_never_visits_it(
    member: Member,
) -> None:
    """Its runner is part of reference cycles, which `gc.freeze` after a restore keeps for good."""
    await member.own(0, 1)
    runner = member.assignment.partitions[0].runner
    assert runner is not None
    gc.disable()
    try:
        shard = runner.state
        await member.assignment.revoked([0, 1])
        member.assignment.assigned([1])
        await member.world.clock.sleep(60)
        assert runner.state is not shard
        # This name, and the argument of the call.
        assert sys.getrefcount(shard) == 2
    finally:
        gc.enable()
