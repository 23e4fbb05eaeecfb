"""Members that join, leave, die and come back while requests are served: all is done, and paid for, once."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.api_server import ApiServer, api_server, stateful_set_of
from tests.integration.slow_worker import TAKE_SECONDS
from tests.integration.stack import CHECK_SECONDS, Scribe, Stack
from tests.integration.test_failover import SETTLING, all_end_well, traffic
from tests.integration.test_main_job import HELLO, request

pytestmark = [
    pytest.mark.needs_java,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("broker_name", ["kafka"]),
]

SETTLE_SECONDS = 60.0
PARTITIONS = 6
"""Two members have three each, three have two: by round robin, whoever stays keeps one of them at least."""
SIX = {"SCRIBE_TOPICS__PARTITIONS": str(PARTITIONS)}
LONG_SESSION = {"SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS": "30"}
"""A member may be started again within it, however busy the machine is."""
OPEN_JOBS = 3
"""One for each of the three partitions of a member that is alone."""

Epochs = dict[int, int]


def named(number: int) -> dict[str, str]:
    """What makes a static member, which a test may kill while it submits."""
    return {**SIX, **SETTLING, "SCRIBE_KAFKA__GROUP_INSTANCE_ID": f"member-{number}"}


async def started(stack: Stack, *members: dict[str, str]) -> list[Scribe]:
    """Members that begin at once, in a group that has come to rest."""
    scribes = await asyncio.gather(*(stack.start(**each) for each in members))
    await settled(*scribes)
    return scribes


async def settled(*scribes: Scribe) -> list[Epochs]:
    """Wait until they serve all partitions between them; the epoch of each member's shards by partition.

    A shard that is resumed keeps its epoch; one that is restored gets a higher one.
    """
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            pictures = [await epochs(scribe) for scribe in scribes]
            if sorted(each for picture in pictures for each in picture) == list(range(PARTITIONS)):
                return pictures
            await asyncio.sleep(CHECK_SECONDS)


async def epochs(scribe: Scribe) -> Epochs:
    """The epoch of each shard that the member says it serves."""
    shards = (await scribe.get("status")).json()["shards"]
    return {shard["partition"]: shard["epoch"] for shard in shards if shard["state"] == "ready"}


async def shard_events(scribe: Scribe) -> dict[str, int]:
    """What the metric says of the member's shards."""
    return await scribe.counted("scribe_shard_events_total")


async def begun(scribe: Scribe) -> int:
    """How often the member began to serve a shard, or went on: each rebalance makes it do so with each."""
    events = await shard_events(scribe)
    return events.get("taken", 0) + events.get("resumed", 0)


async def until_begun(scribe: Scribe, count: int) -> None:
    """Wait until the member has begun so often."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while await begun(scribe) < count:
            await asyncio.sleep(CHECK_SECONDS)


def stayed(before: Epochs, after: Epochs) -> dict[int, tuple[int, int]]:
    """The shards that a member had before and after, with both epochs."""
    return {each: (before[each], after[each]) for each in before.keys() & after.keys()}


async def test_shards_that_stay_with_a_member_are_resumed_when_others_join_and_leave(stack: Stack) -> None:
    first, second = await started(stack, SIX, SIX)
    async with traffic(stack) as flowing:
        await flowing.goes_on()
        _, alone = await settled(first, second)
        third = await stack.start(**SIX)
        _, joined, _ = await settled(first, second, third)
        await flowing.goes_on()
        assert await first.end(signal.SIGTERM) == 0
        left, _ = await settled(second, third)
        await flowing.goes_on()
    await all_end_well(stack, flowing.published, "exactly_once")
    for before, after in ((alone, joined), (joined, left)):
        kept = stayed(before, after)
        assert kept
        assert all(epoch == later for epoch, later in kept.values()), kept
    assert (await shard_events(second))["resumed"] >= 2


async def test_a_static_member_that_restarts_soon_keeps_its_shards_without_a_rebalance(
    stack: Stack,
) -> None:
    first, second, third = await started(stack, *({**named(number), **LONG_SESSION} for number in range(3)))
    others = (first, third)
    async with traffic(stack) as flowing:
        await flowing.goes_on()
        before = await settled(first, second, third)
        events = [await shard_events(each) for each in others]
        await second.end(signal.SIGKILL)
        again = await stack.start(**named(1), **LONG_SESSION)
        after = await settled(first, again, third)
        await flowing.goes_on()
    await all_end_well(stack, flowing.published, "exactly_once")
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].keys() == before[1].keys()
    assert [await shard_events(each) for each in others] == events
    assert await shard_events(again) == {"taken": len(before[1])}


async def test_the_shards_of_a_static_member_that_stays_away_are_served_by_others(stack: Stack) -> None:
    first, second, third = await started(stack, *(named(number) for number in range(3)))
    async with traffic(stack) as flowing:
        await flowing.goes_on()
        before = await settled(first, second, third)
        await second.end(signal.SIGKILL)
        meanwhile = await settled(first, third)
        await flowing.goes_on()
        again = await stack.start(**named(1))
        after = await settled(first, again, third)
        await flowing.goes_on()
    await all_end_well(stack, flowing.published, "exactly_once")
    taken = {each: epoch for picture in meanwhile for each, epoch in picture.items()}
    assert all(taken[each] > epoch for each, epoch in before[1].items())
    assert all(epoch > taken[each] for each, epoch in after[1].items())


async def test_a_pod_moves_its_shards_when_its_set_gives_it_up_and_not_when_it_restarts(
    stack: Stack, tmp_path: Path
) -> None:
    with api_server(tmp_path / "account") as api:
        api.says(200, stateful_set_of(2))
        first, second = await started(stack, pod(0, api), pod(1, api))
        async with traffic(stack) as flowing:
            await flowing.goes_on()
            before, events = await settled(first, second), await shard_events(first)
            assert await second.end(signal.SIGTERM) == 0
            second = await stack.start(**pod(1, api))
            after = await settled(first, second)
            await flowing.goes_on()
            assert after[0] == before[0]
            assert await shard_events(first) == events
            api.says(200, stateful_set_of(1))
            assert await second.end(signal.SIGTERM) == 0
            [alone] = await settled(first)
            await flowing.goes_on()
        await all_end_well(stack, flowing.published, "exactly_once")
    assert {each: alone[each] for each in after[0]} == after[0]


def pod(ordinal: int, api: ApiServer) -> dict[str, str]:
    """What makes a member that is a pod of a StatefulSet; its session outlasts the test."""
    return {
        **SIX,
        **api.environ,
        "SCRIBE_KAFKA__GROUP_INSTANCE_ID": f"media.scribe-{ordinal}",
        "SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS": "240",
        "SCRIBE_SHUTDOWN__LEAVE_GROUP": "when_removed",
        "SCRIBE_SHUTDOWN__SERVICE_ACCOUNT_DIR": str(api.folder),
    }


async def test_pods_of_one_name_in_two_namespaces_both_serve(stack: Stack) -> None:
    names = ({"SCRIBE_KAFKA__GROUP_INSTANCE_ID": f"{space}.scribe-0"} for space in ("media", "test"))
    scribes = await started(stack, *({**SIX, **name} for name in names))
    assert [len(each) for each in await settled(*scribes)] == [3, 3]


async def test_a_member_whose_restore_outlasts_its_session_is_not_thrown_out(stack: Stack) -> None:
    assert float(stack.settings["SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS"]) < TAKE_SECONDS
    first = await stack.start(**SIX)
    second = await stack.start(**SIX)
    await until_begun(first, 6 + 3)
    await until_begun(second, 3)
    async with traffic(stack) as flowing:
        stack.module = "tests.integration.slow_worker"
        third = await stack.start(**SIX)
        await settled(first, second, third)
        await flowing.goes_on()
    await all_end_well(stack, flowing.published, "exactly_once")
    # Another rebalance would have made everybody begin once more.
    assert [await begun(each) for each in (first, second, third)] == [6 + 3 + 2, 3 + 2, 2]
    for each in (first, second, third):
        assert (await shard_events(each)).keys() <= {"taken", "resumed", "closed"}


async def test_no_member_opens_more_jobs_than_its_limit_while_another_joins_and_leaves(stack: Stack) -> None:
    limit = {"SCRIBE_LIMITS__OPEN_JOBS": str(OPEN_JOBS)}
    first = await stack.start(**limit)
    # Their hashes give each partition a part of each burst.
    names = [f"l-{number}" for number in range(26)]
    async with peaks(stack) as peak:
        await ask(stack, names[:8])
        await stack.until(lambda: peak[first.port] >= OPEN_JOBS)
        second = await stack.start(**limit)
        await ask(stack, names[8:20])
        await stack.until(lambda: peak[second.port] > 0)
        # From here on jobs are inherited, which is the one way past the limit:
        # at most what the other may hold.
        assert max(peak.values()) == OPEN_JOBS
        assert await second.end(signal.SIGTERM) == 0
        await ask(stack, names[20:])
        await all_end_well(stack, names, "exactly_once")
        assert peak[first.port] <= 2 * OPEN_JOBS


async def ask(stack: Stack, names: list[str]) -> None:
    """Publish a request of one file for each name."""
    await stack.publish_all([(request(name, f"{HELLO}&n={name}"), name, ()) for name in names])


@asynccontextmanager
async def peaks(stack: Stack) -> AsyncIterator[Counter[int]]:
    """The most open jobs that each process, told by its port, has shown so far."""
    peak: Counter[int] = Counter()
    watching = asyncio.create_task(_watch(stack, peak))
    try:
        yield peak
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(stack: Stack, peak: Counter[int]) -> None:
    while True:
        for scribe in stack.scribes:
            if scribe.process.returncode is None:
                peak[scribe.port] = max(peak[scribe.port], await _open_jobs(scribe))
        await asyncio.sleep(CHECK_SECONDS)


async def _open_jobs(scribe: Scribe) -> int:
    try:
        return sum((await scribe.get("status")).json()["jobs"].values())
    except httpx.HTTPError:
        return 0  # it has not begun to serve its pages, or has ended
