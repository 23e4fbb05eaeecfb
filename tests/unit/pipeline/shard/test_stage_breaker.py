"""A stage that fails for one request after the other is stopped: a bug of ours fails nobody's work."""

from typing import Any

import pytest
from pydantic import JsonValue

from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import open_jobs
from service.core.provider.answers import TaskStatus
from service.core.shard import admission, decisions, finishing
from service.core.shard import shard as shard_module
from service.core.shard.admission import AdmissionKind
from service.core.shard.draft import Overlay
from service.pipeline import accept
from service.pipeline.shard.fault_boundary import MAX_FAULTS
from service.pipeline.shard.stage_breaker import FAULTS, RETRY, WITHIN_SECONDS, StageBreaker, StageName
from tests.fakes.clock import FakeClock, settle
from tests.unit.pipeline.member import FakeDelivery, Member
from tests.unit.pipeline.shard.test_fault_boundary import MINUTE, OurFault, fails, spoil
from tests.unit.pipeline.world import World, state

POLL = StageName.POLL
TOLD = list[tuple[StageName, bool]]


@pytest.fixture
async def told() -> TOLD:
    return []


@pytest.fixture
async def breaker(clock: FakeClock, told: TOLD) -> StageBreaker:
    return StageBreaker(clock, lambda stage, is_stopped: told.append((stage, is_stopped)))


def fail_for(breaker: StageBreaker, *requests: str) -> None:
    for request in requests:
        breaker.failed(POLL, request)


async def test_faults_of_different_requests_within_a_minute_stop_their_stage_alone(
    breaker: StageBreaker, told: TOLD
) -> None:
    fail_for(breaker, *"abcd")
    assert not breaker.is_stopped(POLL)
    fail_for(breaker, "e")
    assert breaker.is_stopped(POLL)
    assert not breaker.is_stopped(StageName.SUBMIT)
    assert (breaker.stopped(), told) == ([POLL], [(POLL, True)])


async def test_one_request_that_fails_again_and_again_stops_no_stage(breaker: StageBreaker) -> None:
    fail_for(breaker, *["a"] * 10 * FAULTS)
    assert not breaker.is_stopped(POLL)


async def test_faults_that_come_slowly_stop_no_stage(breaker: StageBreaker, clock: FakeClock) -> None:
    for number in range(3 * FAULTS):
        fail_for(breaker, f"r{number}")
        await clock.sleep(WITHIN_SECONDS / (FAULTS - 1))
    assert not breaker.is_stopped(POLL)


async def test_a_stopped_stage_is_tried_again_ever_more_slowly_and_one_success_lets_it_go_on(
    breaker: StageBreaker, clock: FakeClock, told: TOLD
) -> None:
    fail_for(breaker, *"abcde")
    waits = []
    for number in range(8):
        waits.append(breaker.wait_seconds(POLL))
        breaker.succeeded(POLL)
        assert breaker.is_stopped(POLL), "what comes back late is no trial"
        await clock.sleep(breaker.wait_seconds(POLL))
        assert not breaker.is_stopped(POLL)
        fail_for(breaker, f"x{number}")
    assert waits == sorted(waits)
    assert waits[0] >= RETRY.first_seconds / 2
    assert waits[-1] <= RETRY.longest_seconds
    await clock.sleep(breaker.wait_seconds(POLL))
    breaker.succeeded(POLL)
    fail_for(breaker, *"abcd")
    assert not breaker.is_stopped(POLL)
    assert told == [(POLL, True), (POLL, False)]


async def test_a_trial_is_for_others_first_and_then_for_what_has_failed(
    breaker: StageBreaker, clock: FakeClock
) -> None:
    fail_for(breaker, *"abcde")
    assert breaker.again_seconds(POLL) > breaker.wait_seconds(POLL)
    await clock.sleep(breaker.wait_seconds(POLL))
    assert not breaker.failed(POLL, "a")
    assert not breaker.is_stopped(POLL), "it had failed before: no word on the stage"
    await clock.sleep(breaker.again_seconds(POLL))
    assert breaker.failed(POLL, "a")
    assert breaker.is_stopped(POLL)
    await clock.sleep(breaker.wait_seconds(POLL))
    assert breaker.failed(POLL, "f")
    assert breaker.is_stopped(POLL), "another one failed"
    await clock.sleep(breaker.wait_seconds(POLL))
    breaker.succeeded(POLL)
    assert breaker.again_seconds(POLL) == 0


async def test_a_fault_counts_against_its_request_unless_the_stage_is_at_fault(
    breaker: StageBreaker,
) -> None:
    assert [breaker.failed(POLL, each) for each in "abcdefa"] == [True] * FAULTS + [False] * 2


# In the pipeline.

MANY = tuple(f"r{number}" for number in range(3 * FAULTS))


@pytest.mark.parametrize(
    ("stage", "event"),
    [(StageName.POLL, "Polled"), (StageName.SUBMIT, "Posted"), (StageName.SUBMIT, "Intended")],
)
async def test_a_bug_that_meets_everybody_stops_the_stage_and_ends_no_job(
    world: World, monkeypatch: pytest.MonkeyPatch, stage: StageName, event: str
) -> None:
    world.run()
    shard = world.shard()
    with monkeypatch.context() as patch:
        spoil(patch, decisions, "advance_submission", fails(), event)
        await world.take(shard, *MANY)
        await world.clock.sleep(10 * MINUTE)
        assert world.breaker.stopped() == [stage]
        assert world.seen.ends() == {}
        assert world.seen.stops == [(stage, True)]
        submits = world.provider.count("submit")
    await world.done(30 * MINUTE)
    assert set(world.seen.ends().values()) == {"result"}
    assert len(world.seen.ends()) == len(MANY)
    assert world.seen.stops == [(stage, True), (stage, False)]
    assert submits <= len(MANY)
    assert len(world.provider.submits) == len(MANY), "each task is paid for once"


async def test_a_stopped_stage_begins_nothing_but_its_trials(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    world.provider.statuses = (TaskStatus.RUNNING,)
    shard = world.shard()
    await world.take(shard, *MANY)
    spoil(monkeypatch, decisions, "advance_submission", fails(), "Polled")
    await world.clock.sleep(2.5)
    assert world.breaker.wait_seconds(POLL) > 4
    await world.take(shard, "x", "y", "z")
    before = world.provider.count("query")
    await world.clock.sleep(4)
    assert world.provider.count("query") == before
    await world.clock.sleep(30 * MINUTE)
    assert world.provider.count("query") - before < 3 * len(MANY)


async def test_a_fetch_stage_that_is_stopped_keeps_the_finished_tasks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    shard = world.shard()
    with monkeypatch.context() as patch:
        spoil(patch, decisions, "advance_job", fails(), "Fetched")
        await world.take(shard, *MANY)
        await world.clock.sleep(10 * MINUTE)
        assert (world.breaker.stopped(), world.seen.ends()) == ([StageName.COLLECT], {})
        assert world.provider.count("fetch") < 3 * len(MANY)
    await world.done(30 * MINUTE)
    assert set(world.seen.ends().values()) == {"result"}


async def test_a_deadline_that_cannot_be_handled_does_not_end_the_job_as_internal_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    world.serve(0.0)
    shard = world.shard()
    await world.take(shard, *MANY, ttl_seconds=60)
    with monkeypatch.context() as patch:
        spoil(patch, decisions, "advance_job", fails(), "DeadlinePassed")
        await world.clock.sleep(10 * MINUTE)
        assert (world.breaker.stopped(), world.seen.ends()) == ([StageName.EXPIRE], {})
    await world.done(30 * MINUTE)
    assert set(world.seen.ends().values()) == {"deadline_exceeded"}


PLACES = [
    (decisions, "advance_submission", "Intended"),
    (decisions, "advance_submission", "Posted"),
    (decisions, "advance_submission", "Polled"),
    (decisions, "advance_job", "Fetched"),
    (decisions, "advance_job", "DeadlinePassed"),
    (finishing, "forget_job", ""),
]


def told_of(first: object, *others: object) -> str:
    """The arguments of a decision; of the shard's jobs those of the submission."""
    if isinstance(first, Submission):
        others = tuple(open_jobs(first, each) if isinstance(each, Overlay) else each for each in others)
    return repr((first, *others))


@pytest.mark.parametrize(("owner", "name", "event"), PLACES, ids=lambda each: getattr(each, "__name__", each))
async def test_requests_that_are_at_fault_keep_no_stage_stopped_for_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, event: str
) -> None:
    """They are first in every queue, and come to their own ends at last."""
    begun_ms, is_late = world.clock.now_ms(), event == "DeadlinePassed"

    def ttl() -> dict[str, JsonValue]:
        """Records of the world are all of one time."""
        return {"ttl_seconds": 60 + (world.clock.now_ms() - begun_ms) // 1000} if is_late else {}

    world.run()
    shard = world.shard()
    bad = [f"bad{number}" for number in range(FAULTS)]
    proper = getattr(owner, name)

    def spoilt(*args: Any, **kwargs: Any) -> object:
        told = told_of(*args) if event else str(shard.state.jobs.get(args[1]))
        if event in told and "'bad" in told and "HandlingFailed" not in told:
            raise OurFault
        return proper(*args, **kwargs)

    target = shard_module if name == "forget_job" else owner
    monkeypatch.setattr(target, name, spoilt)
    if is_late:
        world.serve(0.0)
    await world.take(shard, *bad, **ttl())
    await world.clock.sleep(MINUTE + 5)
    for number in range(10):
        await world.take(shard, f"good{number}", **ttl())
        await world.clock.sleep(2 * MINUTE)
    ends = world.seen.ends()
    good = {ends.get(f"good{number}/0/0") for number in range(10)}
    assert good == {"deadline_exceeded" if is_late else "result"}
    assert world.breaker.stopped() == []
    assert world.seen.stops[0][1], "the stage was stopped"
    if name != "forget_job":
        assert {ends.get(f"{each}/0/0") for each in bad} == {"internal_error"}


async def test_restored_jobs_that_are_at_fault_come_to_their_ends_although_nothing_else_is_restored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = world.shard()
    await world.take(left, *(f"bad{number}" for number in range(FAULTS)), "good")
    left.close()
    world.shards.clear()

    def spoilt(*args: Any, **kwargs: Any) -> object:
        if "Restored" in told_of(*args) and "'bad" in told_of(*args):
            raise OurFault
        return proper(*args, **kwargs)

    proper = vars(decisions)["advance_submission"]
    monkeypatch.setattr(decisions, "advance_submission", spoilt)
    world.run()
    member = Member(world)
    [shard] = await member.own(0)
    world.shards.append(shard)
    await world.clock.sleep(10 * MINUTE)
    assert world.seen.ends() == {"good/0/0": "result"}
    assert world.breaker.stopped() == [StageName.RESTORE]
    await world.done(4 * 60 * MINUTE)
    assert len(world.seen.ends()) == FAULTS + 1


# Records.


class Redelivering(FakeDelivery):
    """Delivers a partition's records from where it is released, as a consumer does."""

    def __init__(self, member: Member, *requests: str) -> None:
        super().__init__()
        self.member = member
        self.records = [member.world.record(0, each) for each in requests]

    def deliver_from(self, partition: int, offset: int) -> None:
        super().deliver_from(partition, offset)
        for record in self.records[offset:] if partition == 0 else ():
            if self.stopped and self.stopped[-1] == partition:
                self.stopped.pop()
            self.member.assignment.deliver(partition, [record])
            if self.stopped:
                return


def poison(monkeypatch: pytest.MonkeyPatch, word: bytes) -> None:
    """Let records that hold the word meet a fault of ours."""
    proper = vars(accept)["read_request"]

    def read(value: bytes | None, *args: Any) -> object:
        if word in (value or b""):
            raise OurFault
        return proper(value, *args)

    monkeypatch.setattr(accept, "read_request", read)


async def test_records_that_are_at_fault_are_refused_one_by_one_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them in a row than stop the stage, in one partition: there is nothing else to try it with."""
    world.run()
    member = Member(world)
    await member.own(0)
    bad = [f"bad{number}" for number in range(FAULTS + 2)]
    member.assignment.delivery = Redelivering(member, "before", *bad, "after")
    poison(monkeypatch, b"bad")
    member.assignment.delivery.deliver_from(0, 0)
    world.shards.append(member.shard())
    await world.clock.sleep(60 * MINUTE)
    ends = world.seen.ends()
    assert (ends["before/0/0"], ends["after/0/0"]) == ("result", "result")
    assert list(ends.values()).count("internal_error") == len(bad)
    assert world.breaker.stopped() == []
    assert len(world.seen.faults) <= len(bad) * (MAX_FAULTS + 1)


async def test_a_record_that_is_at_fault_holds_up_no_other_partition_of_a_stage_on_trial(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(world)
    await member.own(*range(FAULTS + 1))
    poison(monkeypatch, b"bad")
    for partition in range(FAULTS):
        world.offsets[partition] = partition
        member.deliver(partition, f"bad{partition}")
    assert world.breaker.stopped() == [StageName.ACCEPT]
    await world.clock.sleep(world.breaker.wait_seconds(StageName.ACCEPT) + 0.1)
    assert not world.accept.accept(member.shard(0), world.record(0, "bad"))
    assert world.accept.accept(member.shard(FAULTS), world.record(FAULTS, "good"))
    assert world.breaker.stopped() == []


async def test_a_bug_that_meets_every_record_refuses_next_to_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    member = Member(world)
    await member.own(0)
    many = [f"r{number}" for number in range(40)]
    delivery = member.assignment.delivery = Redelivering(member, *many)
    with monkeypatch.context() as patch:
        poison(patch, b"")
        delivery.deliver_from(0, 0)
        world.shards.append(member.shard())
        await world.clock.sleep(20 * MINUTE)
        assert world.breaker.stopped() == [StageName.ACCEPT]
        assert len(world.seen.ends()) < 2 * FAULTS
    await world.clock.sleep(30 * MINUTE)
    assert world.breaker.stopped() == []
    assert list(world.seen.ends().values()).count("result") > len(many) - 2 * FAULTS


async def test_a_record_that_cannot_even_be_refused_keeps_its_partition_waiting_and_the_process_alive(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(world)
    await member.own(0, 1)
    poison(monkeypatch, b"bad")
    spoil(monkeypatch, admission, "record_failure", fails())
    delivery = member.assignment.delivery = Redelivering(member, "bad", "after")
    delivery.deliver_from(0, 0)
    await world.clock.sleep(10 * MINUTE)
    member.deliver(1, "other")
    assert [each.kind for each in world.seen.admissions] == [AdmissionKind.ACCEPTED]
    assert member.shard().state.cursor.next_offset == 0
    monkeypatch.undo()
    await world.clock.sleep(2 * MINUTE)
    assert member.shard().state.cursor.next_offset == 2


async def test_a_shard_that_goes_while_its_records_wait_is_not_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(world)
    await member.own(0)
    spoil(monkeypatch, accept, "read_request", fails())
    for number in range(FAULTS):
        member.deliver(0, f"r{number}")
    member.shard().close()
    await world.clock.sleep(20)
    assert (0, FAULTS - 1) not in member.delivery.started[:-1]


async def test_want_of_memory_stops_no_stage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run()
    shard = world.shard()
    await world.take(shard, *MANY)
    with monkeypatch.context() as patch:
        spoil(patch, decisions, "advance_submission", fails(error=MemoryError), "Polled")
        await world.clock.sleep(5 * MINUTE)
    assert world.breaker.stopped() == []
    assert {state(shard, each) for each in MANY} == {SubmissionState.RUNNING}
    await world.clock.sleep(5 * MINUTE)
    await settle()
    assert set(world.seen.ends().values()) == {"result"}
