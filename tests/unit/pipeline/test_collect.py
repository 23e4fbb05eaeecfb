"""Collect: result files become transcripts, a bounded number at a time, and nothing of them leaks."""

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

from service.contract.outcome import Result
from service.core.job.events import CancelAsked, Fetched, FetchFailed
from service.core.job.job import JobState
from service.core.provider.answers import ProviderError, TaskStatus
from service.pipeline.collect import ResultFile
from service.pipeline.collecting import transcripts
from service.pipeline.collecting.transcripts import INLINE_BYTES, read_transcript
from service.pipeline.shard.shard_runner import BEHIND_SECONDS, ShardRunner
from tests.fakes.clock import settle
from tests.unit.pipeline.world import Limits, World, job_of, ref, state

LONG = 120.0
ONE_HOSTS_PLACES = 6
"""Of eight."""
STALE = ProviderError("http_error", "the result's host answered 403", 403)
SECRET = "the word nobody may read"


async def collecting(world: World, *requests: str) -> ShardRunner:
    """A shard whose requests' tasks have succeeded, with every stage at work."""
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run()
    shard = world.shard()
    await world.take(shard, *requests)
    await world.clock.sleep(2.1)
    return shard


def fetched(world: World) -> int:
    return world.provider.count("fetch")


async def test_a_finished_task_becomes_a_result(world: World) -> None:
    await collecting(world, "r")
    await settle()
    [outcome] = world.seen.outcomes
    assert isinstance(outcome.body, Result)
    assert outcome.body.transcript.channels[0].text == "Transcript of a.wav."
    assert outcome.body.attempts.fetch == 1


async def test_no_more_files_are_fetched_at_a_time_than_there_are_places(world: World) -> None:
    world.provider.fetch_gate.clear()
    await collecting(world, *(f"r{number}" for number in range(20)))
    await world.clock.sleep(LONG)
    assert fetched(world) == ONE_HOSTS_PLACES
    assert world.turns["collect"] > 100
    world.provider.fetch_gate.set()
    await world.clock.sleep(2)
    assert len(world.seen.ends()) == 20


def queued(world: World, count: int, host: str, shard: ShardRunner, age_hours: int = 0) -> None:
    """Results on a host, of jobs submitted so long ago, that are due."""
    for number in range(count):
        name = f"{host}-{len(shard.state.jobs)}"
        target = world.collecting(shard, name, 3600 * age_hours)
        url = f"https://{host}/{number}"
        world.collect.queue(ResultFile(shard, target, url), world.clock.now_ms())


def hosts(world: World) -> list[str]:
    """The hosts that were asked, in order."""
    return [subject.split("/")[2] for kind, subject in world.provider.calls if kind == "fetch"]


async def test_a_slow_host_leaves_places_to_the_others(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = world.shard()
    queued(world, 20, "slow.example", shard)
    world.run("collect")
    await world.clock.sleep(5)
    queued(world, 1, "other.example", shard)
    await world.clock.sleep(1)
    assert hosts(world) == ["slow.example"] * ONE_HOSTS_PLACES + ["other.example"]


async def test_hosts_together_have_no_more_than_all_places(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = world.shard()
    for host in ("a.example", "b.example", "c.example", "[broken"):
        queued(world, 5, host, shard)
    world.run("collect")
    await world.clock.sleep(5)
    assert len(hosts(world)) == world.limits.fetches


@pytest.mark.parametrize("limits", [Limits(fetches=1)])
async def test_the_result_that_may_be_gone_first_is_fetched_first(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = world.shard()
    for host, age_hours in (("new", 0), ("gone", 30), ("old", 20), ("oldest", 23)):
        queued(world, 2, host, shard, age_hours)
    world.run("collect")
    await world.clock.sleep(1)
    world.provider.fetch_gate.set()
    await world.clock.sleep(1)
    assert hosts(world) == ["new", "oldest", "oldest", "old", "old", "gone", "gone", "new"]


async def test_a_fresh_url_is_asked_for_once_before_a_result_is_given_up(world: World) -> None:
    world.provider.next_fetches.extend([STALE] * 10)
    await collecting(world, "r")
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result_expired"}
    assert (fetched(world), world.provider.count("query")) == (2, 2)


async def test_a_fresh_url_brings_the_result(world: World) -> None:
    world.provider.next_fetches.append(STALE)
    await collecting(world, "r")
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_fetch_that_fails_is_repeated_later(world: World) -> None:
    world.provider.next_fetches.extend([ProviderError("timeout", "x"), ProviderError("http_error", "x", 503)])
    shard = await collecting(world, "r")
    await world.clock.sleep(LONG)
    assert (fetched(world), state(shard)) == (3, None)
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_the_file_for_a_closed_shard_is_dropped(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "r")
    shard.close()
    world.provider.fetch_gate.set()
    await world.clock.sleep(LONG)
    assert (state(shard), world.seen.outcomes) == (JobState.COLLECTING, [])


async def test_a_file_of_a_closed_shard_is_not_fetched(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "r")
    await world.clock.sleep(3)
    assert state(shard) is JobState.COLLECTING
    shard.close()
    world.run("collect")
    await world.clock.sleep(LONG)
    assert fetched(world) == 0
    assert len(world.collect._due) == 0


@pytest.mark.parametrize("limits", [Limits(fetches=1)])
async def test_a_shard_that_closes_while_its_file_waits_for_a_place_costs_no_fetch(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "a", "b")
    assert fetched(world) == 1
    shard.close()
    world.provider.fetch_gate.set()
    await world.clock.sleep(LONG)
    assert fetched(world) == 1


async def test_a_job_that_was_cancelled_is_not_fetched(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "r")
    await world.clock.sleep(3)
    world.writers[0].guards.clear()
    asked = ref(shard)
    shard.on_job(asked, CancelAsked())
    world.run("collect")
    await settle()
    world.collect.queue(ResultFile(shard, asked, "https://r.example/1"), world.clock.now_ms())
    world.writers[0].guards.set()
    await world.clock.sleep(LONG)
    assert fetched(world) == 0
    assert world.seen.ends() == {"r/0/0": "cancelled"}


async def test_a_file_that_arrives_after_its_job_has_ended_is_dropped(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "r")
    shard.on_job(ref(shard), CancelAsked())
    await settle()
    assert state(shard) is None
    world.provider.fetch_gate.set()
    await settle()
    assert world.seen.ends() == {"r/0/0": "cancelled"}


async def test_nothing_is_fetched_that_would_wait_for_the_broker_in_memory(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "a", "b")
    await world.clock.sleep(1)
    world.writers[0].guards.clear()
    await world.take(shard, "c")
    await world.clock.sleep(BEHIND_SECONDS + 1)
    world.run("collect")
    await world.clock.sleep(LONG)
    assert fetched(world) == 0
    world.writers[0].guards.set()
    await world.clock.sleep(5)
    assert {"a/0/0", "b/0/0"} <= set(world.seen.ends())


async def test_a_shard_that_cannot_write_does_not_hold_up_the_files_of_others(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run("poll")
    stuck, healthy = world.shard(0), world.shard(1)
    await world.take(stuck, *(f"a{number}" for number in range(20)))
    await world.take(healthy, "b")
    await world.clock.sleep(1)
    world.writers[0].guards.clear()
    await world.take(stuck, "c")
    await world.clock.sleep(BEHIND_SECONDS + 1)
    world.run("collect")
    await world.clock.sleep(1)
    assert world.seen.ends() == {"b/0/0": "result"}


# Reading a file.


def result_file(text: str = SECRET, padding: int = 0) -> bytes:
    sentence = {"begin_time": 0, "end_time": 1000, "text": text, "sentence_id": 1}
    channel = {"channel_id": 0, "text": text, "sentences": [sentence]}
    document = {
        "file_url": "https://h/a",
        "properties": {"channels": [0], "padding": "x" * padding},
        "transcripts": [channel],
    }
    return json.dumps(document).encode()


def watched_threads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Tells of each reading whether it was on the loop's own thread."""
    read: Callable[[bytes, str], Fetched | FetchFailed] = transcripts.read_transcript
    seen: list[bool] = []
    main = threading.current_thread()

    def reading(body: bytes, model: str) -> Fetched | FetchFailed:
        seen.append(threading.current_thread() is main)
        return read(body, model)

    monkeypatch.setattr(transcripts, "read_transcript", reading)
    return seen


@pytest.mark.parametrize(("padding", "on_the_loop"), [(0, True), (INLINE_BYTES, False)])
async def test_a_large_file_is_read_in_a_thread(
    world: World, monkeypatch: pytest.MonkeyPatch, padding: int, on_the_loop: bool
) -> None:
    seen = watched_threads(monkeypatch)
    world.provider.next_fetches.append(result_file(padding=padding))
    await collecting(world, "r")
    await world.clock.sleep(1)
    assert seen == [on_the_loop]
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_a_shard_that_closes_while_a_thread_reads_gets_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.provider.next_fetches.append(result_file(padding=INLINE_BYTES))
    closing: list[ShardRunner] = []
    loop = asyncio.get_running_loop()
    read: Callable[[bytes, str], Fetched | FetchFailed] = transcripts.read_transcript

    def reading(body: bytes, model: str) -> Fetched | FetchFailed:
        loop.call_soon_threadsafe(closing[0].close)
        return read(body, model)

    monkeypatch.setattr(transcripts, "read_transcript", reading)
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "r")
    closing.append(shard)
    world.provider.fetch_gate.set()
    await world.clock.sleep(1)
    assert (state(shard), world.seen.outcomes) == (JobState.COLLECTING, [])


@pytest.mark.parametrize(
    "body",
    [
        SECRET.encode(),
        b'{"text": "' + SECRET.encode(),
        b"\xff\xfe" + SECRET.encode(),
        b"[" * 200_000,
        b'{"a": ' * 100_000,
        json.dumps([SECRET]).encode(),
        json.dumps({"transcripts": SECRET}).encode(),
        json.dumps({"transcripts": [{"begin_time": SECRET}]}).encode(),
        b'{"transcripts": ' + b"9" * 5_000 + b"}",
        b"",
        b"null",
    ],
)
def test_what_is_no_transcript_is_an_error_that_repeats_nothing_of_it(body: bytes) -> None:
    event = read_transcript(body, "fun-asr")
    assert isinstance(event, FetchFailed)
    assert event.provider_error.code == "not_a_transcript"
    assert event.provider_error.http_status is None
    assert "word" not in event.provider_error.message
    assert len(event.provider_error.message) <= 300


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN1}'])
def test_what_is_no_json_is_called_just_that(body: bytes) -> None:
    event = read_transcript(body, "fun-asr")
    assert isinstance(event, FetchFailed)
    assert event.provider_error.message == "the result file is no transcript: not JSON"


async def test_what_is_no_transcript_fails_its_job_after_a_few_fetches(world: World) -> None:
    world.provider.next_fetches.extend([SECRET.encode()] * 10)
    shard = await collecting(world, "r")
    await world.clock.sleep(600)
    assert world.seen.ends() == {"r/0/0": "result_unreadable"}
    assert (fetched(world), state(shard)) == (3, None)
    assert SECRET not in str(world.seen.outcomes)


def test_an_unpaired_surrogate_in_a_transcript_stops_no_job() -> None:
    body = b'{"transcripts": [{"channel_id": 0, "text": "a\\ud800b", "sentences": []}]}'
    event = read_transcript(body, "fun-asr")
    assert isinstance(event, Fetched)
    event.transcript.channels[0].text.encode()


async def test_a_job_waits_for_its_fetch_with_its_url_at_hand(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "r")
    assert job_of(shard).fetch.url is not None
    assert world.provider.calls[-1] == ("fetch", job_of(shard).fetch.url)
