"""After any crash the next owner knows what the last one knew: nothing is lost, or billed twice."""

import random
from collections import Counter, defaultdict

import pytest
from pydantic import JsonValue

from service.contract.outcome import Failure
from service.core.job.request_record import Record
from service.core.outcome.build import Outcome
from service.errors import FailureCode
from tests.unit.core.samples import request_record
from tests.unit.core.shard_world import Mode, Worker, World, compacted, restore_of

A, B, C = (f"https://h.example/{name}.wav" for name in "abc")
BAD, FLAKY = "https://h.example/bad.wav", "https://h.example/flaky.wav"
SHAPES: list[dict[str, JsonValue]] = [
    {"file_urls": [A]},
    {"file_urls": [A, B, A]},
    {"file_urls": [A, BAD, C, C], "file_indexes": [0, 1, 3]},
    {"file_urls": [B, C], "model": "qwen3-asr-flash"},
    {"file_urls": [A, B], "ttl_seconds": 40},
    {"file_urls": [A], "ttl_seconds": 1},
    {"file_urls": [FLAKY, B]},
]


def seeds(count: int) -> list[object]:
    """A few, and for `make test-all` all."""
    return [each if each < 5 else pytest.param(each, marks=pytest.mark.computes) for each in range(count)]


def a_topic(chance: random.Random) -> list[Record]:
    """Requests of every shape, repeats, conflicts, cancels and rubbish."""
    topic: list[Record] = []
    for _ in range(chance.randrange(3, 8)):
        request_id, kind = chance.choice("xyz"), chance.random()
        if kind < 0.2:
            topic.append(request_record(len(topic), request_id, action="cancel"))
        else:
            topic.append(request_record(len(topic), request_id, **chance.choice(SHAPES)))
    return topic


def a_story(seed: int, mode: Mode) -> World:
    """One owner's life, to its end."""
    chance = random.Random(seed)
    world = World(a_topic(chance), mode)
    Worker(world, chance).run()
    return world


def by_id(outcomes: list[Outcome]) -> dict[str, list[Outcome]]:
    """The deliveries of each outcome."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.id].append(outcome)
    return found


def job_ids(world: World) -> set[str]:
    """The outcomes that belong to jobs."""
    return {each.id for each in world.outcomes() if not each.id.startswith("transcription.requests/")}


def is_expired(outcomes: list[Outcome]) -> bool:
    """Whether a crash took a transcript that was out already for good, as docs/guarantees.md allows it."""
    bodies = [outcome.body for outcome in outcomes]
    return any(isinstance(body, Failure) and body.code is FailureCode.RESULT_EXPIRED for body in bodies)


def judge(world: World, whole: World) -> None:
    """What holds in whichever world it ends."""
    deliveries = by_id(world.outcomes())
    for outcomes in deliveries.values():
        # A repeated delivery has the same id and is of the same kind, or says that the result is gone.
        assert len({outcome.is_result for outcome in outcomes}) == 1 or is_expired(outcomes)
        assert world.mode == "at_least_once" or len(outcomes) == 1
    # What a user was promised at admission is there: an outcome for each file, and one summary that is right.
    jobs = job_ids(world)
    assert jobs == job_ids(whole)
    requests: dict[str, list[str]] = defaultdict(list)
    for job_id in jobs:
        requests[job_id.rpartition("/")[0]].append(job_id)
    for ids in requests.values():
        told = [outcome for job_id in ids for outcome in deliveries[job_id]]
        sums = [outcome.body.request_summary for outcome in told if outcome.body.request_summary]
        assert sums
        succeeded = sum(deliveries[job_id][0].is_result for job_id in ids)
        for each in sums:
            assert each.succeeded + each.failed == len(ids)
            assert each.succeeded == succeeded or is_expired(told)
    # A file is billed once, or twice where its first task did not manage it (N3, N4, N10).
    billed = Counter(
        (ref, "flaky" in url) for task in world.tasks for ref, url in zip(task.refs, task.urls, strict=True)
    )
    assert all(count <= 1 + is_flaky for (_, is_flaky), count in billed.items())
    # What is left in the journal when all is done: no job record, no open request.
    left = world.last()
    assert not [key for key in left if key.startswith("j/")]
    assert all(b'"ended"' in value for key, value in left.items() if key.startswith("r/"))


@pytest.mark.parametrize("mode", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("seed", seeds(12))
def test_a_crash_after_any_record_loses_nothing_and_bills_nothing_twice(seed: int, mode: Mode) -> None:
    whole = a_story(seed, mode)
    judge(whole, whole)
    for size in range(len(whole.log)):
        chance = random.Random(size)
        world = whole.after_a_crash(size)
        worker = Worker(world, chance, provider_error=False)
        worker.run()
        judge(world, whole)
        assert not worker.shard.jobs
        assert not worker.shard.requests
        assert not worker.shard.submissions


@pytest.mark.parametrize("mode", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("seed", seeds(20))
def test_a_restore_of_a_compacted_journal_is_that_of_the_whole_one(seed: int, mode: Mode) -> None:
    whole = a_story(seed, mode)
    for size in range(0, len(whole.log), 3):
        chance = random.Random(size)
        world = whole.after_a_crash(size)
        entries = world.entries()
        first = Worker(world.after_a_crash(size), random.Random(1), entries)
        second = Worker(world.after_a_crash(size), random.Random(1), compacted(entries, chance))
        assert first.shard.jobs == second.shard.jobs
        assert first.shard.submissions == second.shard.submissions
        assert first.shard.finished == second.shard.finished
        assert first.shard.spend == second.shard.spend
        assert sorted(first.shard.ended_submissions) == sorted(second.shard.ended_submissions)
        assert first.pending == second.pending
        assert sorted(map(repr, first.steps)) == sorted(map(repr, second.steps))


@pytest.mark.parametrize("mode", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("seed", seeds(12))
def test_crashes_that_follow_on_crashes_lose_nothing(seed: int, mode: Mode) -> None:
    """Also one amid what a restore writes itself."""
    whole = a_story(seed, mode)
    chance = random.Random(seed)
    for size in range(0, len(whole.log), 5):
        world = whole.after_a_crash(size)
        for _ in range(3):
            begun = len(world.log)
            worker = Worker(world, chance)
            for _ in range(chance.randrange(12)):
                worker.act()
            world = world.after_a_crash(chance.randrange(begun, len(world.log) + 1))
        Worker(world, chance, provider_error=False).run()
        judge(world, whole)


def test_what_was_restored_twice_is_what_was_restored_once() -> None:
    for seed in range(20):
        whole = a_story(seed, "at_least_once")
        for size in range(0, len(whole.log), 4):
            entries = whole.after_a_crash(size).entries()
            once = restore_of(entries)
            twice = restore_of([*entries, *entries])
            assert once.entries == twice.entries
