"""Jobs of several requests share a POST while submits wait for quota, and each gets its own outcome."""

import asyncio
from collections import Counter

import pytest
from pydantic import JsonValue

from service.contract.outcome import Result
from service.core.job.events import Intended
from service.core.job.submission import SubmissionState
from service.core.provider.answers import Lost, ProviderError, Refused, TaskStatus
from service.core.shard.shard import Shard
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.submit import FORGET_SECONDS
from tests.fakes.clock import settle
from tests.fakes.provider import TIMEOUT, AfterWork
from tests.unit.pipeline.world import THROTTLED, Limits, World, journalled, state, submission_of, urls

LONG = 300.0
BAD_FILE = ProviderError("FILE_404_NOT_FOUND", "no such file")
few_a_minute = pytest.mark.parametrize("limits", [Limits(submits_per_minute=120.0)])
one_file = pytest.mark.parametrize("limits", [Limits(files_per_task=1), Limits(files_per_task=None)])


async def waiting(world: World, *names: str, partition: int = 0) -> ShardRunner:
    """One request for each of these files in a new shard; all wait for quota. `go` lets it come."""
    if not world.shards:
        world.run()
    world.serve(0.0)
    shard = world.shard(partition)
    await ask(world, shard, *names)
    return shard


async def go(world: World) -> None:
    """Let quota come, once all that waits is in the queue."""
    await world.clock.sleep(1.1)
    world.serve(1.0)


async def ask(world: World, shard: ShardRunner, *names: str, **fields: JsonValue) -> None:
    for name in names:
        await world.take(shard, name, file_urls=urls(name), **fields)


def posted(world: World) -> list[str]:
    """The files of each POST, tasks or not."""
    calls = (subject.split() for kind, subject in world.provider.calls if kind == "submit")
    return [
        " ".join(url.removeprefix("https://h.example/").removesuffix(".wav") for url in each)
        for each in calls
    ]


def entries(world: World) -> int:
    """How many entries the submit stage keeps."""
    stage = world.submit
    places = sum(len(each._places) + len(each._alike) for each in stage._ready.values())
    return len(stage._due) + places + sum(map(len, stage._ready.values()))


# Which share.


async def test_what_waits_shares_a_post_and_each_request_gets_its_own_result(world: World) -> None:
    shard = await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["a b c"]
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result", "c/0/0": "result"}
    assert {each.id: each.body.file_url for each in world.seen.outcomes} == {
        f"{name}/0/0": urls(name)[0] for name in "abc"
    }
    assert journalled(world.broker, "b/0/0")[:3] == ["accepted", "intended", "running"]
    assert len(shard.state.jobs) == entries(world) == 0


async def test_the_bill_that_requests_share_is_an_estimate_and_adds_up(world: World) -> None:
    await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(60)
    bodies = [each.body for each in world.seen.outcomes]
    assert all(isinstance(body, Result) and body.usage.estimated for body in bodies)


async def test_a_submit_that_need_not_wait_goes_alone_and_at_once(world: World) -> None:
    world.run()
    shard = world.shard()
    await ask(world, shard, *"abc")
    assert posted(world) == ["a", "b", "c"]


@one_file
async def test_where_a_task_takes_one_file_nothing_is_packed(world: World) -> None:
    await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["a", "b", "c"]


@pytest.mark.parametrize("limits", [Limits(files_per_task=2)])
async def test_a_post_holds_no_more_files_than_is_set(world: World) -> None:
    await waiting(world, *"abcde")
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["a b", "c d", "e"]


async def test_a_post_holds_no_more_files_than_the_provider_was_seen_to_take(world: World) -> None:
    world.files.learn(Refused(world.provider.too_many), "fun-asr", 5)
    await waiting(world, *"abcde")
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["a b", "c d", "e"]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "fun-asr-mtl"},
        {"options": {"channel_id": [1]}},
        {"options": {"hotwords": [{"text": "etcd"}]}},
    ],
)
async def test_only_what_would_be_sent_alike_shares_a_post(
    world: World, fields: dict[str, JsonValue]
) -> None:
    shard = await waiting(world, "a")
    await ask(world, shard, "b", **fields)
    await ask(world, shard, "c")
    await ask(world, shard, "d", **fields)
    await go(world)
    await world.clock.sleep(120)
    assert sorted(posted(world)) == ["a c", "b d"]
    assert Counter(world.seen.ends().values()) == {"result": 4}


async def test_equal_urls_never_share_a_post_percent_escapes_aside(world: World) -> None:
    shard = await waiting(world, "a")
    await world.take(shard, "escaped", file_urls=urls("%61"))
    await ask(world, shard, "b")
    await world.take(shard, "again", file_urls=urls("b"))
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["a b", "%61 b"]
    assert Counter(world.seen.ends().values()) == {"result": 4}


async def test_two_shards_share_no_post(world: World) -> None:
    await waiting(world, "a", "b")
    await waiting(world, "c", "d", partition=1)
    await go(world)
    await world.clock.sleep(60)
    assert sorted(posted(world)) == ["a b", "c d"]


@pytest.mark.parametrize("limits", [Limits(submits_per_minute=12.0, files_per_task=3)])
async def test_who_comes_along_costs_no_one_a_turn(world: World) -> None:
    shard = await waiting(world)
    await world.take(shard, "large", file_urls=urls(*"123456789"))
    await ask(world, shard, *"ab")
    await world.take(shard, "other", file_urls=urls(*"xyz"))
    await go(world)
    await world.clock.sleep(LONG)
    assert posted(world) == ["1 2 3", "a b", "x y z", "4 5 6", "7 8 9"]


# When it goes wrong.


async def test_one_files_failure_is_its_own_jobs_alone(world: World) -> None:
    world.provider.file_errors[str(urls("b")[0])] = BAD_FILE
    await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(60)
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "audio_not_found", "c/0/0": "result"}


async def test_a_file_that_is_tried_again_is_tried_alone(world: World) -> None:
    world.provider.file_errors[str(urls("b")[0])] = ProviderError("FILE_DOWNLOAD_FAILED", "slow")
    await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(LONG)
    assert posted(world) == ["a b c", "b", "b"]
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "audio_unreachable", "c/0/0": "result"}


async def test_a_refusal_that_may_be_about_one_file_fails_it_alone(world: World) -> None:
    bad = Refused(ProviderError("InvalidParameter", "url error, please check url！", 400))
    world.provider.next_submits.extend([bad, bad])
    await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["a b c", "a", "b", "c"]
    assert Counter(world.seen.ends().values()) == {"audio_invalid_url": 1, "result": 2}


async def test_a_throttled_pack_stays_together(world: World) -> None:
    world.provider.next_submits.append(Refused(THROTTLED))
    await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(LONG)
    assert posted(world) == ["a b c", "a b c"]
    assert Counter(world.seen.ends().values()) == {"result": 3}


async def test_a_lost_answer_of_a_pack_is_found_for_all_its_requests(world: World) -> None:
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.next_submits.append(AfterWork.LOSE_ANSWER)
    await waiting(world, "a", "b")
    await go(world)
    await world.clock.sleep(LONG)
    assert posted(world) == ["a b"]
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result"}


async def test_a_pack_that_made_no_task_is_posted_again_request_by_request(world: World) -> None:
    world.provider.offset_ms = 0
    world.provider.next_submits.append(Lost(TIMEOUT))
    await waiting(world, "a", "b")
    await go(world)
    await world.clock.sleep(600)
    assert posted(world) == ["a b", "a", "b"]
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result"}


# Cancels and deadlines.


async def test_a_cancel_before_the_post_leaves_the_others_together(world: World) -> None:
    world.fence.guards.clear()
    shard = await waiting(world, *"abc")
    await go(world)
    await world.clock.sleep(1.1)
    await world.take(shard, "a", action="cancel")
    world.fence.guards.set()
    await world.clock.sleep(60)
    assert world.seen.ends() == {"a/0/0": "cancelled", "b/0/0": "result", "c/0/0": "result"}
    assert posted(world) == ["b c"]


async def test_the_task_is_cancelled_with_its_last_job_and_not_before(world: World) -> None:
    world.provider.statuses = (TaskStatus.PENDING,)
    shard = await waiting(world, "a")
    await ask(world, shard, "b", ttl_seconds=100)
    await ask(world, shard, "c")
    await go(world)
    await world.clock.sleep(10)
    assert posted(world) == ["a b c"]
    await world.take(shard, "a", action="cancel")
    await world.clock.sleep(200)
    assert world.seen.ends() == {"a/0/0": "cancelled", "b/0/0": "deadline_exceeded"}
    assert not [subject for kind, subject in world.provider.calls if kind == "cancel"]
    await world.take(shard, "c", action="cancel")
    await world.clock.sleep(10)
    assert [subject for kind, subject in world.provider.calls if kind == "cancel"] == ["task-1"]


async def test_those_that_end_while_they_wait_are_not_posted_and_leave_nothing(world: World) -> None:
    shard = await waiting(world, *"abcd")
    await world.clock.sleep(5)
    for name in "ac":
        await world.take(shard, name, action="cancel")
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["b d"]
    assert len(shard.state.jobs) == entries(world) == 0


# Nothing is lost, whatever goes wrong in Scribe itself.


@pytest.fixture
def bad_intents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every intent that names the file `bad` fails."""
    whole = Shard.on_submission

    def faulty(self: Shard, key: object, event: object, *rest: object) -> object:
        keys = (key, *event.companions) if isinstance(event, Intended) else ()
        jobs = (ref for each in keys for ref in self.submissions[each].jobs)  # type: ignore[index]
        if any("bad" in self.jobs[ref].file_url for ref in jobs):
            raise ValueError
        return whole(self, key, event, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Shard, "on_submission", faulty)


@pytest.mark.usefixtures("bad_intents")
async def test_a_fault_in_one_jobs_intent_ends_no_other_request_and_stops_no_stage(world: World) -> None:
    names = "abcdefgh"
    await waiting(world, *names, "bad")
    await go(world)
    await world.clock.sleep(LONG)
    ends = world.seen.ends()
    assert ends == {**{f"{name}/0/0": "result" for name in names}, "bad/0/0": "internal_error"}
    assert world.seen.stops == []


@pytest.mark.usefixtures("bad_intents")
async def test_one_that_has_failed_is_tried_again_alone(world: World) -> None:
    await waiting(world, "a", "bad")
    for _ in range(10):
        await go(world)
        await world.clock.sleep(0.5)
        world.serve(0.0)
        await world.clock.sleep(10)
    assert world.seen.ends() == {"a/0/0": "result", "bad/0/0": "internal_error"}
    assert posted(world) == ["a"]


async def test_a_pack_that_waits_again_is_held_also_when_its_first_request_has_left(world: World) -> None:
    world.provider.next_submits.append(Refused(THROTTLED))
    shard = await waiting(world, *"abc")
    world.run("audit")
    await go(world)
    while not posted(world):
        await world.clock.sleep(0.1)
    world.serve(0.0)
    await world.clock.sleep(30)
    assert state(shard, "b") is SubmissionState.WAITING
    assert len(submission_of(shard, "b").jobs) == 3
    await world.take(shard, "a", action="cancel")
    await world.clock.sleep(LONG)
    assert world.seen.restored == []
    assert len(submission_of(shard, "b").jobs) == 2
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["a b c", "b c"]
    assert world.seen.ends() == {"a/0/0": "cancelled", "b/0/0": "result", "c/0/0": "result"}


async def test_a_closed_shard_leaves_nothing_in_the_queue_and_the_others_their_packs(world: World) -> None:
    gone = await waiting(world, *"abc")
    await waiting(world, *"xyz", partition=1)
    await world.clock.sleep(5)
    gone.close()
    await world.clock.sleep(FORGET_SECONDS + 2)
    assert sum(map(len, world.submit._ready.values())) == 3
    await go(world)
    await world.clock.sleep(60)
    assert posted(world) == ["x y z"]
    assert entries(world) == 0


@few_a_minute
async def test_hundreds_that_wait_are_posted_a_hundred_at_a_time(world: World) -> None:
    world.run()
    shard = world.shard()
    for number in range(500):
        world.deliver(shard, world.record(0, f"r{number}", file_urls=urls(f"f{number}")))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await settle()
    await world.done(within_seconds=LONG)
    assert Counter(world.seen.ends().values()) == {"result": 500}
    assert len(posted(world)) <= 8
    assert entries(world) == 0
