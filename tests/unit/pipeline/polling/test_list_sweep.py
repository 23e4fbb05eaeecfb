"""The list says which tasks to poll first; whatever it says, every task is seen in time."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from service.core.job.submission import Submission
from service.core.job.urgency import retention_end_ms
from service.core.polling.list_trust import SHORTEST_SECONDS, START
from service.core.provider.answers import ListedTask, ProviderError, TaskStatus
from service.pipeline.polling import poll_requests
from service.pipeline.polling.list_sweep import (
    AT_ONCE,
    IDLE_SECONDS,
    SHORTEST_REST_SECONDS,
    SHORTEST_SPOT_CHECK_SECONDS,
    SWEEP_SECONDS,
)
from service.pipeline.polling.poll_requests import Rest
from service.pipeline.shard.backlog import SLICE
from service.pipeline.shard.observer import HintResult
from service.pipeline.shard.shard_runner import ShardRunner
from tests.unit.pipeline.polling.timed_provider import Rows, TimedProvider, provider_of
from tests.unit.pipeline.world import Limits, World, job_of, submission_of

SDK_SECONDS = 5.0
"""The longest wait between two polls of the vendor's own client."""
ANSWER_SECONDS = 1.0
"""For the slots and the answers of a few calls."""
FORBIDDEN = ProviderError("Forbidden", "no access to the list", 403)


async def serve(world: World, count: int, seconds: float, *, every: float = 0.0) -> ShardRunner:
    """Serve so many one-file requests, one after the other, for so long."""
    shard = world.shard()
    world.run("submit", "vocabulary", "poll", "sweep", "collect", "expire")
    for number in range(count):
        await world.take(shard, f"r{number}", ttl_seconds=86_000)
        await world.clock.sleep(every)
    await world.clock.sleep(seconds)
    return shard


def queries_of(world: World) -> int:
    return world.provider.count("query")


many = pytest.mark.parametrize("limits", [Limits(calls_per_second=20.0, queries=256)])


@pytest.mark.computes
@many
async def test_among_many_tasks_a_finished_one_is_seen_within_two_seconds_and_polled_once(
    world: World,
) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 100.0 + number % 150
    await serve(world, 300, 110, every=0.3)
    assert len(provider.seen_at) > 100
    assert queries_of(world) <= 1.1 * len(provider.seen_at)
    await world.clock.sleep(150)
    late = sorted(provider.late())
    assert len(late) == 300
    assert late[-3] < 2 * SWEEP_SECONDS + ANSWER_SECONDS
    # The last two are too few for the list.
    assert late[-1] <= SDK_SECONDS + ANSWER_SECONDS


@many
async def test_tasks_that_wait_at_the_provider_before_they_run_are_seen_as_soon(world: World) -> None:
    provider = provider_of(world)
    provider.pending_seconds = 30.0
    provider.run_seconds = lambda number: 60.0 + number % 50
    await serve(world, 150, 150, every=0.1)
    late = sorted(provider.late())
    assert len(late) == 150
    assert late[-3] < 2 * SWEEP_SECONDS + ANSWER_SECONDS


@many
async def test_a_list_that_states_no_total_is_read_to_its_end_and_no_further(world: World) -> None:
    provider = provider_of(world)
    provider.states_total, provider.page_size = False, 20
    provider.run_seconds = lambda number: 100.0 + number % 20
    await serve(world, 60, 200)
    assert max(provider.late()) <= SDK_SECONDS + ANSWER_SECONDS
    pages = {int(subject.split()[1]) for kind, subject in provider.calls if kind == "list"}
    assert max(pages) <= 60 // 20 + AT_ONCE + 1


@pytest.mark.computes
@many
async def test_with_the_vendors_own_page_size_too_a_list_beats_polls(world: World) -> None:
    provider = provider_of(world)
    provider.page_size = 10
    provider.run_seconds = lambda number: 60.0 + number % 60
    await serve(world, 150, 200, every=0.3)
    assert len(provider.late()) == 150
    assert max(provider.late()) < 150 / 10


async def test_a_lone_task_is_polled_as_the_vendors_client_does_and_the_list_is_not_read(
    world: World,
) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 73.0
    await serve(world, 1, 100)
    assert provider.late()[0] <= SDK_SECONDS + ANSWER_SECONDS
    assert provider.count("list") == 0


def all_run(rows: Rows) -> Rows:
    return [replace(row, status=TaskStatus.RUNNING) for row in rows]


def none_runs(_rows: Rows) -> Rows:
    return []


def all_ended(rows: Rows) -> Rows:
    return [replace(row, status=TaskStatus.SUCCEEDED) for row in rows]


def hides_half(rows: Rows) -> Rows:
    return [row for row in rows if hash(row.task_id) % 2]


def shuffled(rows: Rows) -> Rows:
    return random.Random(len(rows)).sample(list(rows), len(rows))


def of_others(rows: Rows) -> Rows:
    return [ListedTask(f"x{row.task_id}", row.status, row.created_ms) for row in rows]


def at_random(rows: Rows) -> Rows:
    dice = random.Random(len(rows))
    return [row for row in rows if dice.random() < 0.5]


def at_the_same_time(rows: Rows) -> Rows:
    return [replace(row, created_ms=1) for row in rows]


LIES = [all_run, none_runs, all_ended, hides_half, shuffled, of_others, at_random, at_the_same_time]


@many
@pytest.mark.parametrize("lie", LIES)
async def test_a_list_that_lies_loses_nothing_and_delays_little(
    world: World, lie: Callable[[Rows], Rows]
) -> None:
    provider = provider_of(world)
    provider.rewrite, provider.page_size = lie, 20
    provider.run_seconds = lambda number: 30.0 + number / 2
    await serve(world, 60, 200)
    assert len(provider.late()) == 60
    # While the list is believed, and again after each pause, a task may rest for so long.
    assert max(provider.late()) <= SHORTEST_SPOT_CHECK_SECONDS + SDK_SECONDS + ANSWER_SECONDS
    # By schedule alone it would be some 25 polls for each.
    assert queries_of(world) <= 60 * 30


@many
async def test_once_a_list_has_shown_ended_tasks_as_running_polls_go_by_schedule(world: World) -> None:
    provider = provider_of(world)
    provider.rewrite = all_run
    # A few end early, and the list is found out.
    provider.run_seconds = lambda number: 40.0 if number <= START else 100.0
    await serve(world, 30, 200)
    assert len(provider.late()) == 30
    assert max(provider.late()[START:]) <= SDK_SECONDS + ANSWER_SECONDS


def refused(provider: TimedProvider) -> None:
    provider.lists_error = FORBIDDEN


def slow(provider: TimedProvider) -> None:
    provider.list_seconds = 20.0


def without_filter(provider: TimedProvider) -> None:
    provider.heeds_status = False


def refuses_status(provider: TimedProvider) -> None:
    provider.refuses_status = True


def crowded(provider: TimedProvider) -> None:
    for _ in range(5_000):
        provider.stranger("https://h.example/x.wav", status=TaskStatus.RUNNING)


@many
@pytest.mark.parametrize("flaw", [refused, slow, without_filter, refuses_status, crowded])
async def test_a_list_that_is_of_little_use_delays_nothing(
    world: World, flaw: Callable[[TimedProvider], None]
) -> None:
    provider = provider_of(world)
    flaw(provider)
    provider.run_seconds = lambda number: 50.0 + number
    await serve(world, 30, 200)
    assert len(provider.late()) == 30
    assert max(provider.late()) <= SDK_SECONDS + ANSWER_SECONDS


@many
async def test_a_list_without_a_filter_is_read_until_it_has_shown_all_of_ours(world: World) -> None:
    provider = provider_of(world)
    for _ in range(600):
        provider.stranger("https://h.example/x.wav", status=TaskStatus.SUCCEEDED)
    await world.clock.sleep(10)
    provider.heeds_status = False
    provider.run_seconds = lambda number: 100.0
    await serve(world, 50, 20)
    provider.calls.clear()
    await world.clock.sleep(60)
    asked = [subject for kind, subject in provider.calls if kind == "list"]
    assert set(asked) == {"all 1"}
    await world.clock.sleep(30)
    assert len(provider.late()) == 50
    assert max(provider.late()) < 2 * SWEEP_SECONDS + 50 / 10 + ANSWER_SECONDS


@many
async def test_a_list_that_fails_is_asked_less_and_less(world: World) -> None:
    provider = provider_of(world)
    provider.lists_error = FORBIDDEN
    provider.run_seconds = lambda number: 10_000.0
    await serve(world, 10, 600)
    assert provider.count("list") <= 5 + 600 / 60


@many
async def test_a_list_that_shows_nothing_of_ours_is_asked_seldom(world: World) -> None:
    provider = provider_of(world)
    provider.rewrite = of_others
    provider.run_seconds = lambda number: 10_000.0
    await serve(world, 10, 600)
    assert provider.count("list") <= 2 * (1 + 600 / IDLE_SECONDS)


@many
async def test_tasks_that_the_list_stops_showing_are_polled_by_schedule_again(world: World) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 10_000.0
    provider.page_size = 10
    for _ in range(350):
        provider.stranger("https://h.example/x.wav", status=TaskStatus.RUNNING)
    await serve(world, 10, 100)
    assert world.seen.swept[-1] > SWEEP_SECONDS
    provider.lists_error = FORBIDDEN
    await world.clock.sleep(3 * SHORTEST_REST_SECONDS)
    before = queries_of(world)
    await world.clock.sleep(60)
    assert queries_of(world) - before >= 10 * 60 / (SDK_SECONDS + ANSWER_SECONDS)


@many
async def test_false_hints_hold_up_no_other_poll(world: World) -> None:
    provider = provider_of(world)
    provider.rewrite = lambda rows: [row for row in rows if row.task_id == "task-1"]
    provider.run_seconds = lambda number: 10_000.0 if number <= 100 else 30.0
    await serve(world, 110, 60)
    assert len(provider.seen_at) == 10


PERIOD = 200.0
"""Tasks end together, at each whole multiple."""


@many
async def test_true_hints_by_the_hundred_hold_up_no_task_that_the_list_hides(world: World) -> None:
    provider = provider_of(world)
    hidden = {f"task-{number}" for number in range(1, 11)}
    provider.rewrite = lambda rows: [row for row in rows if row.task_id not in hidden]
    provider.run_seconds = lambda number: PERIOD - provider.now % PERIOD
    await serve(world, 400, 0)
    await world.clock.sleep(PERIOD + 10 - provider.now % PERIOD)
    assert len(provider.seen_at) > 80
    assert len(hidden & provider.seen_at.keys()) > len(hidden) / 2


@many
async def test_a_last_poll_is_made_although_the_list_shows_the_task_as_running(world: World) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 10_000.0
    shard = await serve(world, 10, 45)
    provider.calls.clear()
    submission = submission_of(shard, "r3")
    world.poll.queue(shard, submission.key, "task-4", world.clock.now_ms(), is_last=True)
    await world.clock.sleep(2)
    assert [call for call in provider.calls if call[0] == "query"] == [("query", "task-4")]


@many
async def test_a_task_whose_result_may_soon_expire_is_polled_although_it_is_listed(world: World) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 1e9
    shard = await serve(world, 10, 45)
    submission = submission_of(shard, "r3")
    old = replace(submission, submitted_ms=world.clock.now_ms() - 20 * 3_600_000, unfinished_ms=None)
    shard.state.submissions[submission.key] = old
    job = job_of(shard, "r3")
    shard.state.jobs[job.ref] = replace(job, submitted_ms=old.submitted_ms)
    before = provider.calls.count(("query", "task-4"))
    await world.clock.sleep(2 * SHORTEST_REST_SECONDS)
    assert provider.calls.count(("query", "task-4")) > before


@many
async def test_two_submissions_that_name_one_task_are_both_polled(world: World) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 20.0
    shard, other = world.shard(), world.shard(1)
    world.run("poll", "sweep")
    await world.take(shard, "a")
    await world.take(other, "b")
    second = replace(submission_of(other, "b"), task_id="task-1")
    other.state.submissions[second.key] = second
    world.poll.queue(other, second.key, "task-1", world.clock.now_ms())
    assert world.poll.holds(shard, submission_of(shard, "a").key)
    assert world.poll.holds(other, second.key)
    await world.clock.sleep(60)
    assert not world.poll.holds(shard, submission_of(shard, "a").key)
    assert not world.poll.holds(other, second.key)


@many
async def test_after_a_restore_tasks_that_have_ended_are_polled_first_and_the_others_hardly(
    world: World,
) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 10_000.0 if number % 10 else 1.0
    shard = world.shard()
    world.run("submit")
    await world.take(shard, *(f"r{number}" for number in range(400)), ttl_seconds=86_000)
    await world.clock.sleep(10)
    assert len(provider.submits) == 400
    world.run("poll", "sweep")
    await world.clock.sleep(20)
    assert len(provider.seen_at) == 40
    assert queries_of(world) <= 40 + 20 * 10


@many
async def test_a_fault_about_one_submission_ends_that_one_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(submission: Submission) -> int:
        if submission.task_id == "task-3":
            raise ZeroDivisionError
        return retention_end_ms(submission)

    monkeypatch.setattr(poll_requests, "retention_end_ms", spoilt)
    provider_of(world).run_seconds = lambda number: 20.0
    await serve(world, 10, 120)
    ends = world.seen.ends()
    assert ends.pop("r2/0/0") == "internal_error"
    assert set(ends.values()) == {"result"}
    assert len(ends) == 9


@many
async def test_a_list_that_still_shows_what_a_query_has_just_shown_as_ended_is_trusted(world: World) -> None:
    provider = provider_of(world)
    world.run("submit", "poll")
    shard = world.shard()
    provider.run_seconds = lambda number: 3.0 if number <= 10 else 10_000.0
    await world.take(shard, *(f"r{number}" for number in range(20)), ttl_seconds=86_000)
    await world.clock.sleep(5)
    assert len(provider.seen_at) == 10
    provider.rewrite = all_run
    world.run("sweep")
    await world.clock.sleep(1)
    assert (world.seen.hints, world.seen.distrusted) == ([], [])


@many
async def test_thousands_that_rest_do_not_hold_up_the_event_loop(world: World) -> None:
    provider_of(world).run_seconds = lambda number: 10_000.0
    shard = await serve(world, 3 * SLICE, 0)
    await world.clock.sleep(5)
    requests = world.poll._requests
    now_ms = world.clock.now_ms()
    requests.use_rest(Rest())
    for asked in list(requests._valid.values()):
        requests.enqueue(asked)
    queued = len(requests._ordinary)
    assert queued > 2 * SLICE
    boot_ms = round(1000 * world.clock.boot_seconds())
    requests.use_rest(Rest(10**9, 10**9, 10**9, 10**9))
    for asked in requests._valid.values():
        asked.listed_ms = boot_ms
    assert requests.take_next(may_be_last=True) is None
    assert queued - len(requests._ordinary) == SLICE
    assert world.clock.now_ms() == now_ms
    assert shard.is_open


@many
async def test_the_list_sweep_reports_its_use_and_its_wrong_hints(world: World) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 20.0 if number <= 10 else 10_000.0
    await serve(world, 20, 15)
    assert 0 < world.seen.swept[-1] < SWEEP_SECONDS
    await world.clock.sleep(20)
    assert world.seen.hints == [HintResult.RIGHT] * 10
    provider.rewrite = none_runs
    await world.clock.sleep(5)
    assert world.seen.hints[10:] == [HintResult.WRONG] * (len(world.seen.hints) - 10)
    assert world.seen.distrusted == [SHORTEST_SECONDS]
    assert world.seen.swept[-1] == 0.0


@many
async def test_a_fault_in_a_sweep_is_reported_and_polls_go_by_schedule(world: World) -> None:
    provider = provider_of(world)
    provider.page_size = 2
    calls = 0

    def raises(rows: Rows) -> Rows:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ZeroDivisionError
        return rows

    provider.rewrite = raises
    provider.run_seconds = lambda number: 50.0
    await serve(world, 10, 100)
    assert len(provider.late()) == 10
    assert max(provider.late()) <= SDK_SECONDS + ANSWER_SECONDS
    assert {fault[2] for fault in world.seen.faults} == {"ZeroDivisionError"}
