"""The result hold: a setting that is wrong costs two tasks and no job, and one odd URL stops nobody."""

import pytest

from service.core.job.job import JobState
from service.core.job.on_fetch import HELD_RETRY_MS
from service.core.job.submission import SubmissionState
from service.core.provider.answers import TaskStatus
from service.pipeline.guards.result_hold import HeldResults
from service.pipeline.shard.shard_runner import ShardRunner
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import World, journalled, state

MODEL = "fun-asr"
OTHER_MODEL = "fun-asr-mtl"
HOST, OTHER_HOST, GOOD = "r.elsewhere.example", "r.third.example", "results.example"
DAY = 24 * 3600


async def serving(world: World, host: str = HOST) -> ShardRunner:
    """A shard at work whose results will lie on a host that is not allowed."""
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.refused_hosts = {HOST, OTHER_HOST}
    world.provider.result_host = host
    world.run()
    return world.shard()


async def finished(
    world: World, shard: ShardRunner, *requests: str, host: str = HOST, model: str = MODEL
) -> None:
    """Let tasks be made whose results lie there, and be looked at."""
    world.provider.result_host = host
    await world.take(shard, *requests, model=model)
    await world.clock.sleep(5)


def stops(world: World) -> list[tuple[str, str, str]]:
    """When submits were said to stop and to go on."""
    return [each for each in world.seen.result_hosts if each[2] != "refused"]


def found(world: World, *tasks: str) -> None:
    """Results of these tasks, of a shard of their own, are found on the host."""
    shard = world.shard(partition=9)
    for number, task_id in enumerate(tasks):
        target = world.collecting(shard, f"{task_id}-{number}", task_id=task_id)
        world.results.refused(shard, target, HOST)


def posted(world: World) -> int:
    return world.provider.count("submit")


async def test_after_two_tasks_submits_of_the_model_stop_and_every_job_keeps_its_task(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, "a")
    assert stops(world) == []
    await finished(world, shard, "b")
    assert stops(world) == [(MODEL, HOST, "stopped")]
    began_ms = world.clock.now_ms()
    await finished(world, shard, "c", "d", "e")
    await world.clock.sleep(3000)
    assert posted(world) == 2
    # Nor is an intent journalled again and again for a POST that may not leave.
    assert journalled(world.broker, "c/0/0") == ["accepted"]
    assert [state(shard, each) for each in "abcde"] == [JobState.COLLECTING] * 2 + [
        SubmissionState.WAITING
    ] * 3
    [held] = world.results.held()
    assert (held.model, held.host, held.jobs) == (MODEL, HOST, 2)
    assert held.since_ms is not None
    assert held.since_ms <= began_ms
    assert world.seen.outcomes == []


async def test_what_runs_when_submits_stop_costs_no_job(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, *(f"r{number}" for number in range(30)))
    await finished(world, shard, "more")
    assert posted(world) == 30
    assert world.results.held()[0].jobs == 30
    assert stops(world) == [(MODEL, HOST, "stopped")]
    assert world.seen.outcomes == []


async def test_one_odd_result_url_stops_no_model_and_only_its_job_waits(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, "odd")
    for number in range(10):
        await finished(world, shard, f"r{number}", host=GOOD)
    assert list(world.seen.ends().values()) == ["result"] * 10
    assert world.seen.result_hosts == [(MODEL, HOST, "refused")]
    assert state(shard, "odd") is JobState.COLLECTING
    assert world.results.held() == [HeldResults(MODEL, HOST, 1, None)]


async def test_odd_result_urls_with_a_good_one_between_them_stop_no_model(world: World) -> None:
    shard = await serving(world)
    for number in range(5):
        await finished(world, shard, f"odd{number}")
        await finished(world, shard, f"good{number}", host=GOOD)
    assert stops(world) == []
    assert posted(world) == 10
    await world.clock.sleep(3 * HELD_RETRY_MS / 1000)
    await finished(world, shard, "more", host=GOOD)
    assert stops(world) == []
    assert posted(world) == 11


async def test_the_files_of_one_task_are_one_odd_url(world: World) -> None:
    await serving(world)
    found(world, "t1", "t1", "t1", "t1")
    assert (stops(world), world.results.held()[0].jobs) == ([], 4)
    found(world, "t2")
    assert stops(world) == [(MODEL, HOST, "stopped")]


async def test_two_odd_hosts_are_two_odd_urls(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, "a")
    await finished(world, shard, "b", host=OTHER_HOST)
    assert stops(world) == []
    await finished(world, shard, "c", host=OTHER_HOST)
    assert stops(world) == [(MODEL, OTHER_HOST, "stopped")]
    assert [(held.host, held.jobs) for held in world.results.held()] == [(HOST, 1), (OTHER_HOST, 2)]


async def test_a_hold_of_one_model_stops_no_other(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, "a", "b")
    await finished(world, shard, "c", host=GOOD, model=OTHER_MODEL)
    assert world.seen.ends() == {"c/0/0": "result"}
    assert stops(world) == [(MODEL, HOST, "stopped")]
    await finished(world, shard, "d")
    assert posted(world) == 3


async def test_a_result_of_the_model_that_can_be_fetched_ends_the_hold(world: World) -> None:
    shard = await serving(world)
    world.provider.result_host = GOOD
    world.provider.statuses = (TaskStatus.RUNNING,)
    await world.take(shard, "slow")
    slow = world.provider.submits[0]
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    await finished(world, shard, "a", "b")
    await finished(world, shard, "c", host=GOOD)
    assert posted(world) == 3
    slow.statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(60)
    assert stops(world) == [(MODEL, HOST, "stopped"), (MODEL, HOST, "resumed")]
    assert world.seen.ends() == {"slow/0/0": "result", "c/0/0": "result"}
    assert world.results.held() == [HeldResults(MODEL, HOST, 2, None)]
    await world.clock.sleep(3 * HELD_RETRY_MS / 1000)
    assert len(stops(world)) == 2


async def test_the_hold_ends_with_the_last_job_that_waits(world: World) -> None:
    shard = await serving(world)
    await world.take(shard, "a", "b", ttl_seconds=60)
    await world.clock.sleep(5)
    await finished(world, shard, "c")
    assert (posted(world), stops(world)) == (2, [(MODEL, HOST, "stopped")])
    world.provider.result_host = GOOD
    await world.clock.sleep(70)
    assert world.seen.ends() == {"a/0/0": "result_refused", "b/0/0": "result_refused", "c/0/0": "result"}
    assert stops(world)[1:] == [(MODEL, HOST, "resumed")]
    assert world.results.held() == []


async def test_a_job_whose_deadline_passes_meanwhile_says_host_and_setting(world: World) -> None:
    shard = await serving(world)
    await world.take(shard, "r", ttl_seconds=60)
    await world.clock.sleep(70)
    [outcome] = world.seen.outcomes
    said = outcome.body.model_dump()
    assert (said["code"], said["retryable"], said["stage"]) == ("result_refused", True, "collect")
    assert HOST in said["message"]
    assert "SCRIBE_FETCH__HOSTS" in said["message"]
    assert said["attempts"]["fetch"] == 1


async def test_a_cancel_ends_a_job_that_waits(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, "r")
    await world.take(shard, "r", action="cancel")
    await world.clock.sleep(2)
    assert world.seen.ends() == {"r/0/0": "cancelled"}
    assert world.results.held() == []


async def test_behind_the_edge_a_job_that_waits_is_expired(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, "r")
    world.clock.jump(DAY)
    await world.clock.sleep(HELD_RETRY_MS / 1000)
    assert world.seen.ends() == {"r/0/0": "result_expired"}


async def test_it_goes_on_from_the_journal_once_the_setting_is_right(world: World) -> None:
    shard_at_work = await serving(world)
    shard_at_work.close()
    member = Member(world)
    await member.own(0)
    member.deliver(0, "a", "b")
    await world.clock.sleep(5)
    member.deliver(0, "c")
    await world.clock.sleep(5)
    assert (posted(world), stops(world)) == (2, [(MODEL, HOST, "stopped")])
    # The next owner is a process with the right setting.
    world.provider.refused_hosts = set()
    world.provider.result_host = GOOD
    await member.own(0)
    await world.clock.sleep(30)
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result", "c/0/0": "result"}
    assert posted(world) == 3
    assert world.results.held() == []


async def test_the_next_owner_with_the_same_setting_holds_again_and_loses_nothing(world: World) -> None:
    shard_at_work = await serving(world)
    shard_at_work.close()
    member = Member(world)
    await member.own(0)
    member.deliver(0, "a", "b", "c")
    await world.clock.sleep(5)
    await member.own(0)
    await world.clock.sleep(10)
    member.deliver(0, "d")
    await world.clock.sleep(600)
    assert posted(world) == 3
    assert world.results.held()[0].jobs == 3
    assert world.seen.outcomes == []


async def test_a_shard_that_goes_takes_those_that_wait_along(world: World) -> None:
    shard = await serving(world)
    await finished(world, shard, "a", "b")
    shard.close()
    await world.clock.sleep(3)
    assert world.results.held() == []
    assert stops(world) == [(MODEL, HOST, "stopped"), (MODEL, HOST, "resumed")]
    await world.clock.sleep(HELD_RETRY_MS / 1000 + 2)
    assert len(world.collect._due) == 0


async def test_no_submit_goes_out_that_had_leave_when_the_hold_began(world: World) -> None:
    shard = await serving(world)
    world.fence.guards.clear()
    await world.take(shard, "late")
    found(world, "t1", "t2")
    world.fence.guards.set()
    await world.clock.sleep(1)
    assert (posted(world), state(shard, "late")) == (0, SubmissionState.WAITING)


@pytest.mark.parametrize("closed", [True, False])
async def test_a_job_that_waits_no_more_is_not_counted(world: World, closed: bool) -> None:
    shard = await serving(world)
    await world.take(shard, "r")
    [running] = shard.state.jobs.values()
    if closed:
        shard.close()
    world.results.refused(shard, running.ref, HOST)
    assert world.results.held() == []
