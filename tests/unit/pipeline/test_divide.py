"""A submit of several files that is refused for their number is divided: everybody gets a result."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from pydantic import JsonValue

from service.core.job.identity import SubmissionKey
from service.core.job.submission import SubmissionState
from service.core.provider.answers import Accepted, Lost, ProviderError, Refused, SubmitAnswer, TaskStatus
from service.provider.api import Permit
from tests.fakes.clock import settle
from tests.fakes.provider import TIMEOUT, AfterWork
from tests.unit.pipeline.world import Limits, World, job_of, journalled, state, urls

LETTERS = "abcdefghijklmnopqrstuvwxyz"
OF_ALL = ProviderError("ModelNotFound", "no such model", 404)
one_at_a_time = pytest.mark.parametrize("limits", [Limits(posts=1)])


def files(count: int) -> list[JsonValue]:
    return urls(*LETTERS[:count])


def sizes(world: World) -> list[int]:
    """How many files each submit had, refused ones too."""
    return [len(subject.split()) for kind, subject in world.provider.calls if kind == "submit"]


def tasks(world: World) -> list[int]:
    """How many files each task has."""
    return sorted(len(task.file_urls) for task in world.provider.submits)


async def finish(world: World) -> None:
    await world.clock.sleep(120)


@pytest.mark.parametrize(
    ("count", "most"), [(2, 1), (3, 1), (5, 2), (26, 1), (26, 7), (9, 4), (9, 9), (9, 8)]
)
async def test_every_file_of_a_refused_number_gets_its_result(world: World, count: int, most: int) -> None:
    world.provider.max_files = most
    world.run()
    await world.take(world.shard(), "r", file_urls=files(count))
    await finish(world)
    assert Counter(world.seen.ends().values()) == {"result": count}
    posted = [url for task in world.provider.submits for url in task.file_urls]
    assert sorted(posted) == sorted(str(url) for url in files(count))
    assert max(tasks(world)) <= most
    assert {body.attempts.submit for body in (each.body for each in world.seen.outcomes)} == {1}


async def test_a_number_that_was_refused_once_is_not_tried_again_for_that_model(world: World) -> None:
    world.provider.max_files = 2
    world.run()
    shard = world.shard()
    await world.take(shard, "r", file_urls=files(6))
    await finish(world)
    assert sizes(world)[:3] == [6, 3, 3]
    assert max(sizes(world)[3:]) == 1
    world.provider.calls.clear()
    await world.take(shard, "s", file_urls=files(5))
    await finish(world)
    assert max(sizes(world)) == 1  # half of three, rounded down
    assert set(world.seen.ends().values()) == {"result"}


async def test_what_one_model_refuses_says_nothing_of_another(world: World) -> None:
    world.provider.max_files = 1
    world.run()
    shard = world.shard()
    await world.take(shard, "r", file_urls=files(2))
    await finish(world)
    world.provider.max_files = 100
    world.provider.calls.clear()
    await world.take(shard, "s", file_urls=files(4), model="paraformer-v2")
    await finish(world)
    assert sizes(world) == [4]


async def test_a_lowered_number_of_files_is_reported(world: World) -> None:
    world.provider.max_files = 1
    told: list[tuple[str, int]] = []
    world.files.on_lowered = lambda model, most: told.append((model, most))
    world.run()
    await world.take(world.shard(), "r", file_urls=files(4))
    await finish(world)
    assert told == [("fun-asr", 2), ("fun-asr", 1)]


async def test_a_refusal_in_unknown_words_is_divided_too_and_teaches_nothing(world: World) -> None:
    world.provider.max_files = 1
    world.provider.too_many = ProviderError("InvalidParameter", "request is not as it should be", 400)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", file_urls=files(3))
    await finish(world)
    assert sizes(world) == [3, 1, 1, 1]
    await world.take(shard, "s", file_urls=files(2))
    await finish(world)
    assert sizes(world)[4:] == [2, 1, 1]
    assert Counter(world.seen.ends().values()) == {"result": 5}


async def test_a_bad_file_fails_alone(world: World) -> None:
    bad = Refused(ProviderError("InvalidParameter", "url error, please check url！", 400))
    world.provider.next_submits.extend([bad, bad])
    world.run()
    await world.take(world.shard(), "r", file_urls=files(3))
    await finish(world)
    assert Counter(world.seen.ends().values()) == {"audio_invalid_url": 1, "result": 2}


async def test_a_refusal_of_all_alike_is_not_divided(world: World) -> None:
    world.provider.next_submits.append(Refused(OF_ALL))
    world.run()
    await world.take(world.shard(), "r", file_urls=files(3))
    await finish(world)
    assert sizes(world) == [3]
    assert Counter(world.seen.ends().values()) == {"submit_rejected": 3}


@one_at_a_time
async def test_parts_go_one_after_the_other_where_places_are_short(world: World) -> None:
    world.provider.max_files = 1
    world.run()
    await world.take(world.shard(), "r", file_urls=files(7))
    await finish(world)
    assert Counter(world.seen.ends().values()) == {"result": 7}


async def test_a_cancel_while_a_number_is_refused_ends_every_file(world: World) -> None:
    world.provider.max_files = 1
    world.provider.next_submits.append(Refused(world.provider.too_many))
    world.provider.submit_gate.clear()
    world.run()
    shard = world.shard()
    await world.take(shard, "r", file_urls=files(3))
    await world.take(shard, "r", action="cancel", file_urls=None, model=None)
    world.provider.submit_gate.set()
    await finish(world)
    assert Counter(world.seen.ends().values()) == {"cancelled": 3}
    assert world.provider.submits == []


async def test_parts_whose_answers_are_lost_find_each_its_own_task(world: World) -> None:
    """Both parts are sealed at the same moment: only their files tell them apart."""
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.max_files = 2
    world.run()
    shard = world.shard()
    await world.take(shard, "q", file_urls=files(4))
    await finish(world)
    world.provider.next_submits.extend([AfterWork.LOSE_ANSWER] * 2)
    await world.take(shard, "r", file_urls=urls("one", "two", "three", "four"))
    jobs = [job_of(shard, "r", index) for index in range(4)]
    parts = [shard.state.submissions[key] for key in {each.submission for each in jobs}]
    assert len({each.intent and each.intent.intended_ms for each in parts}) == 1
    assert len(parts) == 2
    await world.clock.sleep(600)
    assert Counter(world.seen.ends().values()) == {"result": 8}
    of_r = [each.body for each in world.seen.outcomes if each.body.request_id == "r"]
    for body in of_r:
        task = world.provider.task(body.task_id or "")
        assert task is not None
        assert body.file_url in task.file_urls
    assert len(world.provider.submits) == 4


def slow_and_losing(world: World, monkeypatch: pytest.MonkeyPatch) -> list[SubmissionKey]:
    """Answers take a while; that to a submit that made a task is lost. Returns these submissions."""
    proper = world.provider.submit
    keys: list[SubmissionKey] = []

    async def submit(
        model: str, file_urls: Sequence[str], options: Mapping[str, JsonValue], permit: Permit
    ) -> SubmitAnswer:
        await world.clock.sleep(0.2)
        answer = await proper(model, file_urls, options, permit)
        if not isinstance(answer, Accepted):
            return answer
        jobs = world.shards[0].state.jobs.values()
        [key] = {job.submission for job in jobs if job.file_url in file_urls}
        keys.append(key)
        return Lost(TIMEOUT)

    monkeypatch.setattr(world.provider, "submit", submit)
    return keys


@pytest.mark.parametrize(("count", "most"), [(4, 1), (2, 1), (3, 1), (5, 1), (8, 1), (8, 2), (9, 2), (26, 3)])
async def test_parts_of_parts_whose_answers_are_lost_share_no_submission_and_are_billed_once(
    world: World, monkeypatch: pytest.MonkeyPatch, count: int, most: int
) -> None:
    """The number is refused again for the parts: what is left of a part is none of its siblings' submit."""
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.max_files = most
    keys = slow_and_losing(world, monkeypatch)
    world.run()
    await world.take(world.shard(), "r", file_urls=files(count))
    await world.clock.sleep(600)
    assert len(set(keys)) == len(keys) == len(world.provider.submits)
    assert Counter(world.seen.ends().values()) == {"result": count}
    task_of = {url: task.task_id for task in world.provider.submits for url in task.file_urls}
    for body in (each.body for each in world.seen.outcomes):
        assert body.task_id == task_of[str(body.file_url)]
    posted = [url for task in world.provider.submits for url in task.file_urls]
    assert sorted(posted) == sorted(str(url) for url in files(count))


async def test_the_parts_are_in_the_journal_as_they_were_posted(world: World) -> None:
    world.provider.max_files = 1
    world.provider.statuses = world.provider.statuses[:1]
    world.run()
    shard = world.shard()
    await world.take(shard, "r", file_urls=files(2))
    await settle()
    await world.clock.sleep(5)
    assert {job_of(shard, "r", index).task_files for index in range(2)} == {1}
    assert len({job_of(shard, "r", index).submission for index in range(2)}) == 2
    assert journalled(world.broker, "r/0/1") == ["accepted", "intended", "waiting", "intended", "running"]
    assert state(shard, "r", 1) is SubmissionState.RUNNING
