"""Replicas that share pages read the list together; whatever one tells, every task is seen in time."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import pytest

from service.core.job.identity import SubmissionKey
from service.core.polling.list_trust import SHORTEST_SECONDS, START, PageSource
from service.core.polling.listed_tasks import ReadPage
from service.core.polling.shared_page import SharedPage, decode_page, encode_page
from service.core.provider.answers import ListedTask, TaskPage, TaskStatus, TaskView
from service.pipeline.polling.list_sweep import SHORTEST_SPOT_CHECK_SECONDS
from service.pipeline.polling.poll_requests import PollRequest
from service.pipeline.polling.shared_pages import MAX_AGE_SECONDS
from service.pipeline.shard.observer import PageResult
from tests.fakes.clock import FakeClock
from tests.unit.pipeline.polling.fleet import CLOCK_ERROR_SECONDS, Fleet
from tests.unit.pipeline.polling.timed_provider import TimedProvider
from tests.unit.pipeline.world import Limits, World

TASKS = 48
EVERY_SECONDS = 0.25
SDK_SECONDS = 5.0
SLOTS_SECONDS = 3.0
"""For the slots of one of 12 replicas and the answers of a few calls."""
MOST_PER_SECOND = 20.0
STAGES = ("submit", "vocabulary", "poll", "collect", "sweep")


def fleet_of(replicas: int, *, shares: bool = True) -> Fleet:
    clock = FakeClock()
    provider = TimedProvider(now_ms=clock.now_ms, sleep=clock.sleep, page_size=10)
    provider.run_seconds = lambda number: 15.0 + number % 15
    limits = Limits(calls_per_second=MOST_PER_SECOND, part=0.75, queries=64)
    return Fleet(replicas, limits, provider, shares=shares)


async def serve(fleet: Fleet, seconds: float = 50.0) -> list[float]:
    """Serve some seconds of tasks; how late each was seen."""
    fleet.run(*STAGES)
    for number in range(TASKS):
        await fleet.take(number)
        await fleet.clock.sleep(EVERY_SECONDS)
    await fleet.clock.sleep(seconds)
    return late_of(fleet)


def late_of(fleet: Fleet) -> list[float]:
    assert isinstance(fleet.provider, TimedProvider)
    return sorted(fleet.provider.late())


def pages_of(worlds: list[World], result: PageResult) -> int:
    return sum(world.seen.pages[result] for world in worlds)


async def test_a_process_that_has_all_partitions_writes_nothing() -> None:
    fleet = fleet_of(1)
    late = await serve(fleet, 30)
    assert (len(late) > TASKS / 2, fleet.topic.sent) == (True, [])
    assert fleet.worlds[0].shared.is_wanted() is False
    await fleet.end()


@pytest.mark.parametrize("replicas", [4, pytest.param(12, marks=pytest.mark.computes)])
async def test_replicas_that_share_pages_see_tasks_sooner_and_read_the_list_no_more_often(
    replicas: int,
) -> None:
    alone, together = fleet_of(replicas, shares=False), fleet_of(replicas)
    lates, calls = [], []
    for fleet in (alone, together):
        lates.append(await serve(fleet))
        calls.append(fleet.provider.count("list"))
        await fleet.end()
    assert [len(late) for late in lates] == [TASKS, TASKS]
    assert median(lates[1]) < median(lates[0]) * 0.9
    assert lates[1][-1] < 2 * SDK_SECONDS + SLOTS_SECONDS
    assert calls[1] <= 1.1 * calls[0]
    # Each page that was read here was used by all the others.
    own, shared = (pages_of(together.worlds, each) for each in (PageResult.OWN, PageResult.SHARED))
    assert shared > 0.9 * (replicas - 1) * own
    assert pages_of(together.worlds, PageResult.UNUSED) == 0
    assert all(sum(world.seen.distrusted) == 0 for world in together.worlds)


async def test_without_the_topic_each_replica_reads_the_list_itself() -> None:
    fleet = fleet_of(2)
    fleet.topic.is_down = True
    late = await serve(fleet)
    assert len(late) == TASKS
    assert late[-1] < 2 * SDK_SECONDS + SLOTS_SECONDS
    assert pages_of(fleet.worlds, PageResult.SHARED) == 0
    await fleet.end()


async def test_pages_that_come_too_late_are_not_used() -> None:
    fleet = fleet_of(2)
    fleet.topic.delay = lambda: MAX_AGE_SECONDS + 0.5
    late = await serve(fleet)
    assert len(late) == TASKS
    assert late[-1] < 2 * SDK_SECONDS + SLOTS_SECONDS
    assert pages_of(fleet.worlds, PageResult.SHARED) == 0
    assert pages_of(fleet.worlds, PageResult.UNUSED) > 100
    await fleet.end()


async def test_when_some_replicas_stop_sweeping_the_others_read_their_pages() -> None:
    fleet = fleet_of(4)
    fleet.run(*STAGES)
    for number in range(TASKS):
        await fleet.take(number)
        await fleet.clock.sleep(EVERY_SECONDS)
        if number == TASKS // 3:
            for world in fleet.worlds[:2]:
                for task in world.spawn.named("sweep"):
                    task.cancel()
    await fleet.clock.sleep(50)
    late = late_of(fleet)
    assert len(late) == TASKS
    assert late[-1] < 2 * SDK_SECONDS + SLOTS_SECONDS
    # Those that stopped still use the pages of the others.
    assert fleet.worlds[0].seen.pages[PageResult.SHARED] > 100
    await fleet.end()


async def test_each_record_may_come_many_times() -> None:
    fleet = fleet_of(2)

    def send_thrice(value: bytes) -> None:
        for _ in range(3):
            fleet.topic.send(value)

    for world in fleet.worlds:
        world.shared._send = send_thrice
    late = await serve(fleet)
    assert len(late) == TASKS
    assert late[-1] < 2 * SDK_SECONDS + SLOTS_SECONDS
    assert all(world.seen.distrusted == [] for world in fleet.worlds)
    await fleet.end()


def nothing_runs(shared: SharedPage) -> SharedPage:
    return replace(shared, page_no=1, page=TaskPage((), 0))


def all_ended(shared: SharedPage) -> SharedPage:
    rows = tuple(replace(row, status=TaskStatus.SUCCEEDED) for row in shared.page.tasks)
    return replace(shared, page=replace(shared.page, tasks=rows))


def every_other(shared: SharedPage) -> SharedPage:
    return replace(shared, page=replace(shared.page, tasks=shared.page.tasks[::2]))


def upside_down(shared: SharedPage) -> SharedPage:
    return replace(shared, page=replace(shared.page, tasks=shared.page.tasks[::-1]))


def of_others(shared: SharedPage) -> SharedPage:
    rows = tuple(replace(row, task_id=f"x{row.task_id}") for row in shared.page.tasks)
    return replace(shared, page=replace(shared.page, tasks=rows))


def endless(shared: SharedPage) -> SharedPage:
    return replace(shared, size=1, page=replace(shared.page, total=2**31 - 1))


def of_the_future(shared: SharedPage) -> SharedPage:
    return replace(shared, answered_ms=shared.answered_ms + 10**9)


def once_seen() -> Callable[[SharedPage], SharedPage]:
    """Tells for ever what it saw first, as if it had just been read."""
    first: dict[int, SharedPage] = {}

    def share(shared: SharedPage) -> SharedPage:
        old = first.setdefault(shared.page_no, shared)
        return replace(old, asked_ms=shared.asked_ms, answered_ms=shared.answered_ms)

    return share


LIES = [nothing_runs, all_ended, every_other, upside_down, of_others, endless, of_the_future, once_seen()]


@pytest.mark.parametrize("lie", LIES)
async def test_a_replica_that_lies_delays_little_and_costs_the_list_no_trust(
    lie: Callable[[SharedPage], SharedPage],
) -> None:
    fleet = fleet_of(2)

    def send(value: bytes) -> None:
        fleet.topic.send(encode_page(lie(decode_page(value))))

    fleet.worlds[0].shared._send = send
    late = await serve(fleet, 60)
    assert len(late) == TASKS
    # While it is believed, and again after each pause, a task may rest for so long.
    assert late[-1] <= SHORTEST_SPOT_CHECK_SECONDS + SDK_SECONDS + SLOTS_SECONDS
    # By schedule alone it would be some 15 polls for each.
    assert fleet.provider.count("query") <= TASKS * 20
    for world in fleet.worlds:
        assert set(world.seen.distrusted_sources) <= {PageSource.SHARED}
        assert world.seen.faults == []
    if lie in (nothing_runs, all_ended, every_other):
        assert all(PageSource.SHARED in world.seen.distrusted_sources for world in fleet.worlds[1:])
    await fleet.end()


async def test_no_bytes_in_the_topic_do_more_than_be_counted() -> None:
    fleet = fleet_of(2)
    fleet.run(*STAGES)
    for number in range(TASKS):
        await fleet.take(number)
        for junk in (None, b"", b"\xff", b"[" * 9_999, b'{"format":1}', bytes(200_000)):
            fleet.topic.send(junk)
        await fleet.clock.sleep(EVERY_SECONDS)
    await fleet.clock.sleep(50)
    late = late_of(fleet)
    assert len(late) == TASKS
    assert late[-1] < 2 * SDK_SECONDS + SLOTS_SECONDS
    for world in fleet.worlds:
        assert world.seen.pages[PageResult.UNUSED] == 6 * TASKS
        assert world.seen.faults == []
    await fleet.end()


async def test_a_fault_in_reading_a_shared_page_is_reported_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = fleet_of(2)
    world = fleet.worlds[0]

    def fails(_value: bytes | None) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.shared, "receive", fails)
    await world.sweep.take_shared(b"{}")
    assert [fault[2] for fault in world.seen.faults] == ["ZeroDivisionError"]
    await fleet.end()


def shared_page(world: World, age_seconds: float) -> SharedPage:
    """A page that another replica asked for so long ago."""
    asked_ms = world.clock.now_ms() - round(1000 * age_seconds)
    row = ListedTask("t", TaskStatus.RUNNING, asked_ms)
    return SharedPage("another", TaskStatus.RUNNING, 1, 100, TaskPage((row,), 1), asked_ms, asked_ms + 50, 60)


@pytest.mark.parametrize(
    ("age_seconds", "is_used"),
    [(MAX_AGE_SECONDS + 1, False), (MAX_AGE_SECONDS - 1, True), (0.0, True), (-1.0, False)],
)
async def test_a_page_that_is_late_or_of_the_future_is_not_used(age_seconds: float, is_used: bool) -> None:
    world = fleet_of(2).worlds[0]
    received = world.shared.receive(encode_page(shared_page(world, age_seconds)))
    assert (received is not None) is is_used
    assert world.seen.pages == {PageResult.SHARED if is_used else PageResult.UNUSED: 1}
    await world.end()


async def test_a_page_counts_as_made_within_the_errors_of_both_clocks() -> None:
    world = fleet_of(2).worlds[0]
    shared = shared_page(world, 1.0)
    received = world.shared.receive(encode_page(shared))
    assert received is not None
    ahead_ms = world.clock.now_ms() - 1000 * world.clock.boot_seconds()
    slack_ms = 2 * 1000 * CLOCK_ERROR_SECONDS
    for read_ms, told_ms in (
        (received.read.asked_ms + slack_ms, shared.asked_ms),
        (received.read.answered_ms - slack_ms, shared.answered_ms),
    ):
        # The replica's own view of the vendor's clock is wrong too.
        assert read_ms == pytest.approx(told_ms - ahead_ms, abs=1000 * CLOCK_ERROR_SECONDS + 2)
    await world.end()


async def test_of_two_sources_the_one_that_misled_is_not_used_until_its_pause_is_over() -> None:
    world = fleet_of(2).worlds[0]
    hints, key = world.poll._hints, SubmissionKey(1, 1)
    hinted = PollRequest(world.shard(), key, "x", 0, False, 0, hint=PageSource.SHARED)
    world.poll.queue(hinted.runner, key, "t", 10**15)
    for _ in range(START):
        hints.answered(hinted, TaskView("x", TaskStatus.RUNNING))
    shown = []
    for source in (PageSource.SHARED, PageSource.OWN, PageSource.SHARED):
        page = TaskPage((ListedTask("t", TaskStatus.RUNNING, 0),), 1)
        shown.append(await hints.use_page(ReadPage(page, TaskStatus.RUNNING, True, True, 0, 0, source), 0.0))
        if source is PageSource.OWN:
            await world.clock.sleep(SHORTEST_SECONDS)
    assert shown == [0, 1, 1]
    await world.end()


async def test_a_replica_does_not_use_its_own_pages_twice() -> None:
    fleet = fleet_of(2)
    world = fleet.worlds[0]
    shared = replace(shared_page(world, 0.1), sender=world.shared._sender)
    assert world.shared.receive(encode_page(shared)) is None
    assert world.seen.pages == {}
    await fleet.end()
