"""A wall clock that steps by days, for two seconds or for ever, ends and forgets nothing (N13)."""

from collections.abc import AsyncIterator

import pytest

from service.core.job.events import CancelAsked
from service.core.job.identity import Origin
from service.core.job.submission import SubmissionState
from service.core.limits.spend_limit import SPEND_LIMIT
from service.core.provider.answers import TaskStatus
from service.core.shard.admission import AdmissionKind
from service.core.time.trusted_time import TimeEvent
from tests.fakes.stepped_clock import SteppedClock
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import Limits, World, job_of, ref, state

DAY = 86_400.0
WHILE = 600.0
"""Ten times what the clock waits for before it believes anything."""
either_way = pytest.mark.parametrize("step", [-3 * DAY, 3 * DAY])


@pytest.fixture
async def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def limits() -> Limits:
    return Limits(spend_per_day=1)


@pytest.fixture
async def world(limits: Limits, clock: SteppedClock) -> AsyncIterator[World]:
    made = World(limits, clock=clock)
    yield made
    await made.end()


async def at_work(world: World, clock: SteppedClock) -> None:
    """One request is finished and has used up the day's limit, one has a running task, one waits."""
    clock.answer()
    world.run()
    shard = world.shard()
    world.provider.statuses = (TaskStatus.RUNNING,)
    await world.take(shard, "running", ttl_seconds=2 * int(WHILE))
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    await world.take(shard, "finished")
    await clock.answering(10)
    await world.take(shard, "waiting", ttl_seconds=2 * int(WHILE))
    assert world.seen.ends() == {"finished/0/0": "result"}
    assert (state(shard, "running"), state(shard, "waiting")) == (
        SubmissionState.RUNNING,
        SubmissionState.WAITING,
    )
    assert world.spend_guard.code == SPEND_LIMIT


def is_journalled(world: World, origin: Origin) -> bool:
    """Whether the journal still knows a request."""
    values = [each.value for each in world.broker.journal(0) if each.key == str(origin).encode()]
    return values[-1] is not None


async def nothing_has_changed(world: World) -> None:
    """The jobs are open, the finished request is known, and the limit holds."""
    [shard] = world.shards
    await world.clock.sleep(1)
    await world.take(shard, "finished")
    assert [each.kind for each in world.seen.admissions][-1] is AdmissionKind.FINISHED
    assert is_journalled(world, shard.state.by_id["finished"])
    assert state(shard, "running") is SubmissionState.RUNNING
    assert state(shard, "waiting") is SubmissionState.WAITING
    assert world.spend_guard.code == SPEND_LIMIT
    assert len(world.provider.submits) == 2


@either_way
@pytest.mark.parametrize("answers", [True, False])
async def test_a_step_for_two_seconds_ends_and_forgets_nothing(
    world: World, clock: SteppedClock, step: float, answers: bool
) -> None:
    await at_work(world, clock)
    clock.jump(step)
    await (clock.answering(2) if answers else clock.sleep(2))
    await nothing_has_changed(world)
    clock.jump(-step)
    await clock.sleep(90)
    await nothing_has_changed(world)
    assert clock.events == [TimeEvent.CONFIRMED, TimeEvent.STEPPED, TimeEvent.RETURNED]


@either_way
@pytest.mark.parametrize("answers", [True, False])
async def test_a_step_for_ever_ends_and_forgets_nothing_but_what_ends_by_the_true_time(
    world: World, clock: SteppedClock, step: float, answers: bool
) -> None:
    await at_work(world, clock)
    clock.jump(step)
    await (clock.answering(WHILE) if answers else clock.sleep(WHILE))
    await nothing_has_changed(world)
    await clock.sleep(WHILE + 5)
    ends = world.seen.ends()
    assert (ends["running/0/0"], ends["waiting/0/0"]) == ("deadline_exceeded", "deadline_exceeded")
    assert clock.events == [TimeEvent.CONFIRMED, TimeEvent.STEPPED]


async def test_without_a_date_no_deadline_ends_a_job_and_the_first_date_does(
    world: World, clock: SteppedClock
) -> None:
    world.serve(0.0)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=60)
    await clock.sleep(WHILE)
    assert world.seen.ends() == {}
    clock.answer()
    await clock.sleep(2)
    assert world.seen.ends() == {"r/0/0": "deadline_exceeded"}


async def test_a_request_whose_deadline_is_over_is_not_refused_before_the_first_date(
    world: World, clock: SteppedClock
) -> None:
    world.serve(0.0)
    shard = world.shard()
    await world.take(shard, "late", deadline="2020-01-01T00:00:00Z")
    assert world.seen.ends() == {}
    clock.answer()
    await world.take(shard, "later", deadline="2020-01-01T00:00:00Z")
    assert world.seen.ends() == {"later/0/0": "deadline_exceeded"}


async def finished(world: World) -> None:
    """A request that ended before the first `Date`."""
    shard = world.shard()
    await world.take(shard, "r")
    shard.on_job(ref(shard), CancelAsked())
    await world.clock.sleep(0.1)
    assert world.seen.ends() == {"r/0/0": "cancelled"}


async def test_before_the_first_date_no_finished_request_is_forgotten(
    world: World, clock: SteppedClock
) -> None:
    await finished(world)
    [shard] = world.shards
    clock.suspend(2 * DAY)
    await world.take(shard, "other")
    origin = shard.state.by_id["r"]
    assert is_journalled(world, origin)
    clock.answer()
    await world.take(shard, "another")
    assert "r" not in shard.state.by_id
    assert not is_journalled(world, origin)


async def test_before_the_first_date_no_spending_day_ends(world: World, clock: SteppedClock) -> None:
    shard = world.shard()
    shard.state.spend = shard.state.spend.count(clock.now_ms(), 1)
    assert world.spend_guard.wait_seconds() > 0
    clock.suspend(2 * DAY)
    assert world.spend_guard.wait_seconds() > 0
    clock.answer()
    assert world.spend_guard.wait_seconds() == 0


async def test_a_process_whose_wall_clock_is_behind_begins_at_its_journals_latest_record(
    world: World, clock: SteppedClock
) -> None:
    clock.jump(-3 * DAY)
    member = Member(world)
    member.journal.latest_ms = clock.true_ms()
    await member.own(0)
    await world.take(member.shard(), "r", ttl_seconds=60)
    assert abs(job_of(member.shard()).request.accepted_ms - clock.true_ms()) < 1000
    clock.answer()
    assert abs(clock.confirmed_ms() - clock.true_ms()) < 1000
    assert clock.events == [TimeEvent.STEPPED, TimeEvent.CONFIRMED]


async def test_a_vendor_without_any_date_lets_deadlines_end_by_the_brokers_time(
    world: World, clock: SteppedClock
) -> None:
    world.serve(0.0)
    world.run()
    member = Member(world)
    member.journal.broker_ms = clock.true_ms()
    world.shards += await member.own(0)
    await world.take(member.shard(), "r", ttl_seconds=600)
    for _ in range(10):
        clock.answer_without_date()
        await clock.sleep(30)
    assert world.seen.ends() == {}
    await clock.sleep(310)
    assert world.seen.ends() == {"r/0/0": "deadline_exceeded"}


@pytest.mark.parametrize("step", [5.0, 3 * DAY])
async def test_an_intent_is_invalid_after_a_step_of_the_wall_clock(
    world: World, clock: SteppedClock, step: float
) -> None:
    """By the raw clocks: one that cannot be trusted must not let a POST out late."""
    clock.answer()
    world.run("submit")
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "r")
    clock.jump(step)
    world.writers[0].guards.set()
    await world.clock.sleep(0.1)
    assert world.provider.submits == []
