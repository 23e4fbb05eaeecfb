"""The spend guard: the day's limit stops submitting, keeps the jobs, and ends by itself."""

from dataclasses import replace

import pytest

from service.core.job.submission import SubmissionState
from service.core.limits.price import Price
from service.core.limits.spend_limit import DAY_MS, SpendLimit
from service.core.provider.answers import Bill, TaskStatus
from service.pipeline.shard.shard_runner import ShardRunner
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import ARREARS, Limits, World, state

limited = pytest.mark.parametrize("limits", [Limits(spend_per_day=3)])
"""Each job costs a second."""


PRICED = Limits(cost_per_day=0.75, prices={"fun-asr": Price(per_second=0.25)})
"""Three jobs make the day's cost; no limit of seconds is set."""


async def spending(world: World, count: int = 3) -> ShardRunner:
    """A shard whose jobs have cost so much, and every stage at work."""
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run()
    shard = world.shard()
    await world.take(shard, *(f"paid{number}" for number in range(count)))
    await world.clock.sleep(5)
    assert set(world.seen.ends().values()) <= {"result"}
    assert len(world.seen.ends()) == count
    return shard


async def until_midnight(world: World) -> None:
    """By the wall clock alone: a day of the loop's time is too long for a test."""
    world.clock.jump((DAY_MS - world.clock.now_ms() % DAY_MS) / 1000)


@limited
async def test_what_comes_after_the_limit_is_kept_and_not_submitted(world: World) -> None:
    shard = await spending(world)
    await world.take(shard, "r")
    await world.clock.sleep(60)
    assert (world.provider.count("submit"), state(shard)) == (3, SubmissionState.WAITING)
    assert world.seen.holds == ["spend_limit"]
    assert world.spend_guard.code == "spend_limit"


@limited
async def test_below_the_limit_nothing_is_held(world: World) -> None:
    shard = await spending(world, count=2)
    await world.take(shard, "r")
    assert world.provider.count("submit") == 3
    assert world.seen.holds == []


@limited
async def test_added_partitions_take_their_part_of_the_limit_at_once(world: World) -> None:
    world.spend_guard._shards = lambda: 2 * Limits().partitions
    shard = await spending(world, count=2)
    await world.take(shard, "r")
    await world.clock.sleep(60)
    assert (world.provider.count("submit"), state(shard)) == (2, SubmissionState.WAITING)


async def test_without_a_setting_there_is_no_limit(world: World) -> None:
    shard = await spending(world, count=30)
    await world.take(shard, "r")
    assert world.provider.count("submit") == 31


@limited
async def test_a_spend_stop_ends_at_midnight_utc(world: World) -> None:
    shard = await spending(world)
    await world.take(shard, "r")
    await until_midnight(world)
    await world.clock.sleep(2)
    assert world.provider.count("submit") == 4
    assert world.seen.holds == ["spend_limit", None]
    assert (world.spend_guard.code, world.spend_guard.since_ms) == (None, None)


@limited
async def test_it_is_said_also_where_nothing_waits(world: World) -> None:
    await spending(world)
    began_ms = world.spend_guard.since_ms
    await world.clock.sleep(30)
    assert (world.seen.holds, world.spend_guard.since_ms) == (["spend_limit"], began_ms)


@limited
async def test_no_probe_goes_through_it(world: World) -> None:
    shard = await spending(world)
    world.provider.next_submits.append(ARREARS)
    await world.take(shard, "a", "b")
    await world.clock.sleep(600)
    assert world.provider.count("submit") == 3


@limited
async def test_a_deadline_passes_during_it(world: World) -> None:
    shard = await spending(world)
    await world.take(shard, "r", ttl_seconds=60)
    await world.clock.sleep(65)
    assert world.seen.ends()["r/0/0"] == "deadline_exceeded"


@pytest.mark.parametrize("limits", [Limits(spend_per_day=6, partitions=2)])
async def test_a_spend_stop_ends_when_the_share_grows(world: World) -> None:
    shard = await spending(world)
    await world.take(shard, "r")
    await world.clock.sleep(5)
    assert world.provider.count("submit") == 3
    world.shard(partition=1)
    await world.clock.sleep(2)
    assert world.provider.count("submit") == 4


async def next_owner(world: World) -> ShardRunner:
    """The shard's next owner, with one more request, after three jobs have ended."""
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run()
    member = Member(world)
    [first] = await member.own(0)
    world.shards.append(first)
    member.deliver(0, "a", "b", "c")
    await world.clock.sleep(5)
    assert len(world.seen.ends()) == 3
    [second] = await member.own(0)
    world.shards[:] = [second]
    member.deliver(0, "d")
    await world.clock.sleep(60)
    return second


@limited
async def test_the_next_owner_counts_what_the_day_has_cost(world: World) -> None:
    second = await next_owner(world)
    assert second.state.spend.on(world.clock.now_ms()) == 3
    assert (world.provider.count("submit"), state(second, "d")) == (3, SubmissionState.WAITING)
    await until_midnight(world)
    await world.clock.sleep(2)
    assert world.provider.count("submit") == 4


@pytest.mark.parametrize("limits", [PRICED])
async def test_a_day_that_has_cost_enough_keeps_its_jobs_until_midnight(world: World) -> None:
    shard = await spending(world)
    await world.take(shard, "r")
    await world.clock.sleep(60)
    assert (world.provider.count("submit"), state(shard)) == (3, SubmissionState.WAITING)
    assert world.spend_guard.code == "spend_limit"
    await until_midnight(world)
    await world.clock.sleep(2)
    assert world.provider.count("submit") == 4
    assert world.seen.holds == ["spend_limit", None]


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(spend_per_day=3), [SpendLimit.SECONDS]),
        (PRICED, [SpendLimit.COST]),
        (replace(PRICED, spend_per_day=3), [SpendLimit.SECONDS]),
        (replace(PRICED, spend_per_day=4), [SpendLimit.COST]),
        (replace(PRICED, spend_per_day=3, cost_per_day=0.8), [SpendLimit.SECONDS]),
    ],
)
async def test_only_the_reached_limit_is_reported(world: World, reached: list[SpendLimit | None]) -> None:
    await spending(world)
    assert world.seen.limits == reached


@pytest.mark.parametrize("limits", [replace(PRICED, spend_per_day=4)])
async def test_the_limit_that_was_reached_first_stays_the_reason_when_the_other_follows(world: World) -> None:
    shard = await spending(world)
    shard.state.spend = shard.state.spend.count(world.clock.now_ms(), 9)
    await world.clock.sleep(5)
    assert world.spend_guard.limit is SpendLimit.COST
    shard.state.spend = replace(shard.state.spend, cost=0.0)
    await world.clock.sleep(5)
    assert world.seen.limits == [SpendLimit.COST, SpendLimit.SECONDS]


@pytest.mark.parametrize("limits", [PRICED])
async def test_below_the_limit_of_cost_nothing_is_held(world: World) -> None:
    shard = await spending(world, count=2)
    await world.take(shard, "r")
    assert (world.provider.count("submit"), world.seen.holds) == (3, [])


@pytest.mark.parametrize("limits", [PRICED])
async def test_a_model_without_a_price_is_seen_by_no_limit_of_cost_and_stopped_by_it(world: World) -> None:
    shard = await spending(world, count=0)
    for number in range(9):
        await world.take(shard, f"free{number}", model="fun-asr-mtl")
    await world.clock.sleep(5)
    assert (len(world.seen.ends()), world.spend_guard.code) == (9, None)
    await world.take(shard, "a", "b", "c")
    await world.clock.sleep(5)
    await world.take(shard, "r", model="fun-asr-mtl")
    assert (world.provider.count("submit"), world.spend_guard.code) == (12, "spend_limit")


@pytest.mark.parametrize(
    "limits",
    [
        Limits(
            cost_per_day=1.0, prices={"qwen3-asr-flash": Price(per_input_token=0.001, per_output_token=0.1)}
        )
    ],
)
async def test_what_is_billed_by_tokens_alone_reaches_the_limit_of_cost(world: World) -> None:
    world.provider.bill = Bill(input_tokens=300, output_tokens=2)
    shard = await spending(world, count=0)
    await world.take(shard, "a", "b", model="qwen3-asr-flash")
    await world.clock.sleep(5)
    await world.take(shard, "r", model="qwen3-asr-flash")
    await world.clock.sleep(5)
    assert (world.provider.count("submit"), state(shard)) == (2, SubmissionState.WAITING)
    assert shard.state.spend.on(world.clock.now_ms()) == 0


@pytest.mark.parametrize("limits", [PRICED])
async def test_the_next_owner_counts_what_the_day_has_cost_in_money_too(world: World) -> None:
    second = await next_owner(world)
    assert second.state.spend.cost_on(world.clock.now_ms()) == 0.75
    assert (world.provider.count("submit"), state(second, "d")) == (3, SubmissionState.WAITING)


@limited
async def test_asking_for_the_wait_begins_and_ends_nothing(world: World) -> None:
    state_of = world.shard().state
    state_of.spend = state_of.spend.count(world.clock.confirmed_ms(), 3)
    assert world.spend_guard.wait_seconds() > 0
    assert (world.spend_guard.limit, world.seen.holds) == (None, [])
    world.spend_guard.update()
    assert (world.spend_guard.limit, world.seen.holds) == (SpendLimit.SECONDS, ["spend_limit"])
