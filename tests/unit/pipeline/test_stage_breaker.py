"""A stage that fails for one request after the other is stopped: a bug of ours fails nobody's work."""

import pytest

from service.core import decisions
from service.core.submission import SubmissionState
from service.core.task import TaskStatus
from service.pipeline import accept
from service.pipeline.stage_breaker import FAULTS, RETRY, WITHIN_SECONDS, StageBreaker, StageName
from tests.fakes.clock import FakeClock, settle
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.test_isolation import MINUTE, fails, spoil
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
    for _ in range(8):
        waits.append(breaker.wait_seconds(POLL))
        breaker.succeeded(POLL)
        assert breaker.is_stopped(POLL), "what comes back late is no trial"
        await clock.sleep(breaker.wait_seconds(POLL))
        assert not breaker.is_stopped(POLL)
        fail_for(breaker, "x")
    assert waits == sorted(waits)
    assert waits[0] >= RETRY.first_seconds / 2
    assert waits[-1] <= RETRY.longest_seconds
    await clock.sleep(breaker.wait_seconds(POLL))
    breaker.succeeded(POLL)
    fail_for(breaker, *"abcd")
    assert not breaker.is_stopped(POLL)
    assert told == [(POLL, True), (POLL, False)]


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
        await world.clock.sleep(30 * MINUTE)
        assert world.breaker.stopped() == [stage]
        assert world.seen.ends() == {}
        assert world.seen.stops == [(stage, True)]
        submits = world.provider.count("submit")
    await world.clock.sleep(30 * MINUTE)
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
        await world.clock.sleep(30 * MINUTE)
        assert (world.breaker.stopped(), world.seen.ends()) == ([StageName.COLLECT], {})
        assert world.provider.count("fetch") < 3 * len(MANY)
    await world.clock.sleep(30 * MINUTE)
    assert set(world.seen.ends().values()) == {"result"}


async def test_a_deadline_that_nobody_can_be_told_of_ends_no_job_as_a_fault_of_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    world.budgets.set_share(0.0)
    shard = world.shard()
    await world.take(shard, *MANY, ttl_seconds=60)
    with monkeypatch.context() as patch:
        spoil(patch, decisions, "advance_job", fails(), "DeadlinePassed")
        await world.clock.sleep(30 * MINUTE)
        assert (world.breaker.stopped(), world.seen.ends()) == ([StageName.EXPIRE], {})
    await world.clock.sleep(30 * MINUTE)
    assert set(world.seen.ends().values()) == {"deadline_exceeded"}


async def test_records_that_all_meet_a_fault_are_read_again_once_the_stage_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few are failures with their bytes; then it is no word on the records any more."""
    world.run()
    member = Member(world)
    await member.own(0)
    with monkeypatch.context() as patch:
        spoil(patch, accept, "read_request", fails())
        for number in range(FAULTS - 1):
            member.deliver(0, f"failed{number}")
        [record] = member.deliver(0, "kept")
        assert world.breaker.stopped() == [StageName.ACCEPT]
        assert member.delivery.withheld == [0]
        assert not member.assignment.has_room(0)
        assert not world.accept.accept(member.shard(), record)
        await world.clock.sleep(5)
        assert member.delivery.released == [(0, 0)]
    await world.clock.sleep(15)
    assert member.delivery.released == [(0, 0), (0, FAULTS - 1)]
    member.assignment.deliver(0, [record])
    await world.clock.sleep(MINUTE)
    assert world.seen.ends()["kept/0/0"] == "result"
    assert world.breaker.stopped() == []


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
    assert (0, FAULTS - 1) not in member.delivery.released[:-1]


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
