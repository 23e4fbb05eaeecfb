"""Result files are bounded in bytes together: while they are downloaded, read, and not yet durable."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.job.events import CancelAsked
from service.core.job.job import JobState
from service.core.provider.answers import ProviderError, TaskStatus
from service.core.transcript.parse_memory import WORDS_TIMES, parse_bytes
from service.pipeline.collect import ResultFile
from service.pipeline.collecting.fetch_memory import SMALL_BYTES, ByteBudget, MemoryLimits
from service.pipeline.shard.shard_runner import ShardRunner
from service.settings.provider_groups import MEMORY_TIMES
from tests.fakes.clock import settle
from tests.unit.pipeline.world import Limits, World, state

MIB = 1024**2
ONE_AT_A_TIME = MemoryLimits(total_bytes=18 * MIB, largest_bytes=6 * MIB, in_flight=8)
"""Room for one small file, one large one, and 8 MiB to read them in."""


@given(st.integers(1024, 3120 * MIB), st.integers(0, 10**9), st.integers(1, 1000))
def test_the_parts_of_the_memory_are_together_no_more_than_the_whole(
    largest: int, more: int, in_flight: int
) -> None:
    total = max(16 * MIB, MEMORY_TIMES * largest) + more
    limits = MemoryLimits(total, largest, in_flight)
    assert 1 <= limits.small_files <= in_flight
    assert limits.small_files * min(SMALL_BYTES, largest) + largest + limits.reading_bytes == total
    assert limits.reading_bytes >= WORDS_TIMES * largest


# Room.


class Holders:
    """Tasks that take room and give it back when told; those that are named have it."""

    def __init__(self, room: ByteBudget) -> None:
        self.room = room
        self.holding: dict[str, int] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def take(self, name: str, size: int) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, size))
        await settle()

    async def _hold(self, name: str, size: int) -> None:
        async with self.room.reserve(size):
            self.holding[name] = size
            await self.ends[name].wait()
            del self.holding[name]

    async def give_back(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
        await settle()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await asyncio.gather(*(self.tasks[name] for name in names), return_exceptions=True)
        for name in names:
            self.holding.pop(name, None)
        await settle()


async def test_room_is_given_in_order_and_never_more_than_there_is() -> None:
    holders = Holders(ByteBudget(10))
    for name, size in (("a", 6), ("b", 6), ("c", 1), ("d", 4)):
        await holders.take(name, size)
    assert set(holders.holding) == {"a"}
    await holders.give_back("a")
    assert set(holders.holding) == {"b", "c"}
    await holders.give_back("b")
    assert set(holders.holding) == {"c", "d"}
    await holders.give_back("c", "d")
    await holders.take("all", 10)
    assert holders.holding == {"all": 10}
    await holders.give_back("all")


async def test_who_is_cancelled_while_waiting_or_holding_keeps_nothing() -> None:
    holders = Holders(ByteBudget(10))
    for name, size in (("a", 10), ("b", 10), ("c", 5), ("d", 5)):
        await holders.take(name, size)
    await holders.cancel("b", "a")
    assert set(holders.holding) == {"c", "d"}
    await holders.cancel("c")
    await holders.give_back("d")
    await holders.take("all", 10)
    assert holders.holding == {"all": 10}
    await holders.give_back("all")


async def test_who_is_cancelled_in_the_moment_of_being_given_room_gives_it_back() -> None:
    room = ByteBudget(10)
    holders = Holders(room)
    await holders.take("a", 10)
    await holders.take("b", 10)
    holders.ends["a"].set()
    while room._waiting:
        await asyncio.sleep(0)
    await holders.cancel("b")
    await holders.take("all", 10)
    assert holders.holding == {"all": 10}
    await holders.give_back("all")


# Files.


def file(size: int, text: str = "x") -> bytes:
    """A result file of so many bytes."""
    channel = {"channel_id": 0, "text": text, "sentences": [{"begin_time": 0, "end_time": 9, "text": text}]}
    document = {"file_url": "u", "transcripts": [channel]}
    body = json.dumps(document).encode()
    return body + b" " * (size - len(body))


async def collecting(world: World, *requests: str, **fields: object) -> ShardRunner:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.run()
    shard = world.shard()
    await world.take(shard, *requests, **fields)  # type: ignore[arg-type]
    await world.clock.sleep(2.1)
    return shard


def fetched(world: World) -> int:
    return world.provider.count("fetch")


one_at_a_time = pytest.mark.parametrize("limits", [Limits(memory=ONE_AT_A_TIME)])


@one_at_a_time
async def test_small_files_wait_for_memory_though_there_are_places(world: World) -> None:
    world.provider.fetch_gate.clear()
    await collecting(world, *(f"r{number}" for number in range(5)))
    assert fetched(world) == 1
    world.provider.fetch_gate.set()
    await world.clock.sleep(1)
    assert set(world.seen.ends().values()) == {"result"}
    assert len(world.seen.ends()) == 5


async def test_a_file_that_turns_out_large_is_fetched_once_more_by_itself(world: World) -> None:
    world.provider.next_fetches.extend([file(SMALL_BYTES + 1)] * 2)
    await collecting(world, "r")
    await world.clock.sleep(1)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert fetched(world) == 2


@dataclass
class Files:
    """Results on a server, those that have "large" in their names of 5 MiB; `gate` holds these back."""

    guards: asyncio.Event = field(default_factory=asyncio.Event)
    whole: list[str] = field(default_factory=list)
    """The large files that were downloaded whole, by name."""
    at_a_time: int = 0
    most: int = 0

    async def fetch(self, url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        await asyncio.sleep(0)
        name = url.rpartition("/")[2]
        if "large" not in name:
            return file(100)
        if max_bytes is not None:
            return ProviderError("fetch_too_large", "over the bound")
        self.whole.append(name)
        self.at_a_time += 1
        self.most = max(self.most, self.at_a_time)
        await self.guards.wait()
        self.at_a_time -= 1
        return file(5 * MIB)

    def finish(self, world: World, shard: ShardRunner, *names: str) -> None:
        """Let results of these names be due."""
        for name in names:
            target = world.collecting(shard, name)
            world.collect.queue(ResultFile(shard, target, f"https://results.example/{name}"), 0)


@pytest.fixture
async def files(world: World, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Results that are served instead of the fake's own, to a collect stage at work."""
    made = Files()
    monkeypatch.setattr(world.provider, "fetch", made.fetch)
    world.run("collect")
    return made


MANY = tuple(f"large{number}" for number in range(12))


@pytest.mark.parametrize("limits", [Limits(fetches=1)])
async def test_large_files_wait_for_each_other_and_take_no_place_from_small_ones(
    world: World, files: Files
) -> None:
    shard = world.shard()
    files.finish(world, shard, *MANY)
    await world.clock.sleep(5)
    assert files.whole == ["large0"]
    files.finish(world, shard, "small")
    await world.clock.sleep(5)
    assert world.seen.ends() == {"small/0/0": "result"}
    files.guards.set()
    await world.clock.sleep(60)
    assert len(world.seen.ends()) == len(MANY) + 1
    assert (files.most, sorted(files.whole)) == (1, sorted(MANY))


async def test_large_files_wait_in_a_line_and_not_as_tasks(world: World, files: Files) -> None:
    files.finish(world, world.shard(), *MANY)
    await world.clock.sleep(5)
    assert len(world.spawn.named("collect ")) == 1


async def test_large_results_of_a_suspended_shard_are_not_kept_in_memory(world: World, files: Files) -> None:
    shard = world.shard()
    files.finish(world, shard, *MANY)
    await world.clock.sleep(5)
    shard.suspend()
    files.guards.set()
    await world.clock.sleep(60)
    assert (shard._held, files.whole) == ([], ["large0"])
    assert len(shard.state.jobs) == len(MANY)
    shard.resume()
    await world.clock.sleep(60)
    assert list(world.seen.ends().values()) == ["result"] * len(MANY)
    assert Counter(files.whole) == {name: 2 if name == "large0" else 1 for name in MANY}


@pytest.mark.parametrize("limits", [Limits(calls_per_second=4_000.0)])
async def test_small_results_of_a_suspended_shard_are_not_kept_in_memory(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = await collecting(world, *(f"r{number}" for number in range(20)))
    shard.suspend()
    world.provider.fetch_gate.set()
    await world.clock.sleep(60)
    assert (shard._held, world.seen.ends()) == ([], {})
    shard.resume()
    await world.clock.sleep(60)
    assert list(world.seen.ends().values()) == ["result"] * 20


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("why", ["cancelled", "closed", "suspended"])
async def test_what_is_no_longer_wanted_when_its_place_is_free_is_not_downloaded(
    world: World, files: Files, is_large: bool, why: str
) -> None:
    """Somebody else, who looks for lost tasks, has the places meanwhile."""
    shard, memory = world.shard(), world.collect._deps.memory
    files.guards.set()
    async with AsyncExitStack() as places:
        for _ in range(1 if is_large else MemoryLimits().small_files):
            await places.enter_async_context(memory.download_slot(is_large=is_large))
        files.finish(world, shard, "large")
        await world.clock.sleep(5)
        assert (len(world.spawn.named("collect ")), files.whole) == (1, [])
        [waiting] = shard.state.jobs.values()
        match why:
            case "cancelled":
                shard.on_job(waiting.ref, CancelAsked())
            case "closed":
                shard.close()
            case _:
                shard.suspend()
        await settle()
    await world.clock.sleep(5)
    assert (files.whole, world.spawn.named("collect ")) == ([], [])
    if why == "suspended":
        shard.resume()
        await world.clock.sleep(5)
        assert (files.whole, world.seen.ends()) == (["large"], {"large/0/0": "result"})


@pytest.mark.parametrize("limits", [Limits(memory=MemoryLimits(16 * MIB, SMALL_BYTES))])
async def test_where_no_file_may_be_large_none_is_fetched_twice(world: World) -> None:
    world.provider.next_fetches.append(ProviderError("fetch_too_large", "over the guard's limit"))
    await collecting(world, "r")
    await world.clock.sleep(1)
    assert (world.seen.ends(), fetched(world)) == ({"r/0/0": "result_unreadable"}, 1)


@one_at_a_time
@pytest.mark.parametrize("body", [b"[" * 100_000, b"[" + b'{"a":0},' * 20_000 + b"0]"])
async def test_a_file_that_takes_more_memory_than_all_is_not_read_and_names_the_setting(
    world: World, body: bytes
) -> None:
    assert len(body) < SMALL_BYTES < parse_bytes(body, is_rendered=False)
    world.provider.next_fetches.append(body)
    await collecting(world, "r")
    await world.clock.sleep(1)
    [outcome] = world.seen.outcomes
    said = outcome.body.model_dump()
    assert (said["code"], said["retryable"], fetched(world)) == ("result_unreadable", True, 1)
    assert "SCRIBE_FETCH__MEMORY_BYTES" in said["message"]


@one_at_a_time
async def test_a_file_is_read_only_when_what_others_take_leaves_room(world: World) -> None:
    text = "word " * 40_000
    assert 8 * MIB < 2 * parse_bytes(file(0, text), is_rendered=False) < 16 * MIB
    world.provider.next_fetches.extend([file(0, text)] * 2)
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "a", "b")
    world.writers[0].guards.clear()
    world.provider.fetch_gate.set()
    await settle_threads(world)
    # The first is read and waits for the broker; the second is fetched and waits for the first.
    assert fetched(world) == 2
    assert sorted(filter(None, (state(shard, "a"), state(shard, "b")))) == sorted(
        (JobState.FINISHING, JobState.COLLECTING)
    )
    world.writers[0].guards.set()
    await world.clock.sleep(2)
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result"}


async def settle_threads(world: World) -> None:
    """Let threads end and what follows from them; no more than a moment of the clock's time passes."""
    for _ in range(20):
        await world.clock.sleep(0.01)


@one_at_a_time
async def test_a_shard_that_closes_gives_the_memory_back(world: World) -> None:
    text = "word " * 40_000
    world.provider.next_fetches.append(file(0, text))
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "a")
    world.writers[0].guards.clear()
    world.provider.fetch_gate.set()
    await settle_threads(world)
    assert state(shard, "a") is JobState.FINISHING
    assert world.spawn.named("collect ")
    shard.close()
    await settle_threads(world)
    assert not world.spawn.named("collect ")


async def test_a_result_whose_job_has_ended_meanwhile_waits_for_nothing(world: World) -> None:
    world.provider.fetch_gate.clear()
    shard = await collecting(world, "r")
    await world.take(shard, "r", action="cancel")
    await world.clock.sleep(1)
    assert world.seen.ends() == {"r/0/0": "cancelled"}
    world.provider.fetch_gate.set()
    await settle_threads(world)
    assert not world.spawn.named("collect ")
