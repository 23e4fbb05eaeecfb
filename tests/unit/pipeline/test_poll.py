"""Poll: one poll serves all jobs of a task, within the budget, and only for shards that are ours."""

from dataclasses import replace

import pytest

from service.core.job.events import CancelAsked, DeadlinePassed
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.provider.answers import (
    FileView,
    ProviderError,
    Refused,
    TaskStatus,
    TaskView,
)
from service.core.provider.own_codes import OwnCode
from service.pipeline.guards import call_limiter
from service.pipeline.guards.account_hold import PROBE_SECONDS
from service.pipeline.guards.call_limiter import CallKind
from service.pipeline.poll import CANCELS_WAITING, MAX_UNREADABLE
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageName
from service.provider.api import NO_SLOT, Permit, at_once
from tests.fakes.clock import settle
from tests.fakes.provider import TIMEOUT, FakeTask
from tests.unit.core.samples import URL
from tests.unit.pipeline.world import THROTTLED, Limits, World, job_of, ref, state, submission_of, urls

LONG = 120.0


def polled(world: World) -> list[str]:
    """The tasks that were polled, in order."""
    return [task_id for kind, task_id in world.provider.calls if kind == "query"]


def runs_for_ever(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)


async def submitted(world: World, shard: ShardRunner, *requests: str) -> None:
    """Requests whose tasks run; no time passes."""
    await world.take(shard, *requests)
    assert all(each.task_id for each in shard.state.submissions.values())


async def test_a_task_is_polled_when_due_and_again(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(0.9)
    assert polled(world) == []
    await world.clock.sleep(0.2)
    assert polled(world) == ["task-1"]
    await world.clock.sleep(60)
    assert len(polled(world)) > 3
    assert submission_of(shard).poll_attempts == len(polled(world))


async def test_one_poll_serves_all_files_of_a_task(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls(*"abcde"))
    await world.clock.sleep(LONG)
    assert polled(world) == ["task-1", "task-1"]
    assert {job.state for job in shard.state.jobs.values()} == {JobState.COLLECTING}
    assert submission_of(shard).poll_attempts == 2


async def test_each_file_gets_its_own_part_whatever_the_order(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls(*"abc"))
    await world.clock.sleep(LONG)
    parts = [job_of(shard, index=index).fetch.url or "" for index in range(3)]
    assert [part.partition("?")[0].rpartition("/")[2] for part in parts] == [
        "task-1-1.json",
        "task-1-2.json",
        "task-1-3.json",
    ]


async def test_an_answer_that_is_read_late_is_dated_by_when_it_was_asked_for(world: World) -> None:
    """A process that sleeps, or waits for its turn, reads an answer long after the provider gave it."""
    world.run("poll")
    runs_for_ever(world)
    world.provider.query_gate.clear()
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(1.1)
    asked_ms = world.clock.now_ms()
    await world.clock.sleep(LONG)
    world.provider.query_gate.set()
    await settle()
    assert asked_ms - 200 <= (submission_of(shard).unfinished_ms or 0) <= asked_ms


async def test_a_failed_poll_costs_only_a_later_poll(world: World) -> None:
    world.run("poll")
    world.provider.next_queries.extend([TIMEOUT, ProviderError("InternalError", "x", 500)])
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(LONG)
    assert len(polled(world)) == 4
    assert state(shard) is JobState.COLLECTING


async def test_a_throttled_poll_lowers_the_call_rate(world: World) -> None:
    world.run("poll")
    world.provider.next_queries.append(THROTTLED)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(2.1)
    rate = world.rate(CallKind.QUERY)
    assert rate.rate_per_second <= 0.6 * rate.share_per_second


@pytest.mark.parametrize("limits", [Limits(posts=100, calls_per_second=2.0)])
async def test_polls_keep_within_the_quota(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(100)))
    await world.clock.sleep(60)
    assert 50 <= len(polled(world)) <= 61


async def test_without_a_share_no_task_is_polled(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await submitted(world, shard, "r")
    world.serve(0.0)
    await world.clock.sleep(3600)
    assert polled(world) == []
    assert world.turns["poll"] > 3000
    world.serve(1.0)
    await world.clock.sleep(3)
    assert polled(world) == ["task-1"]


@pytest.mark.parametrize("limits", [Limits(queries=3)])
async def test_polls_in_flight_stay_within_their_limit(world: World) -> None:
    world.run("poll")
    world.provider.query_gate.clear()
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(10)))
    await world.clock.sleep(LONG)
    assert len(polled(world)) == 3
    assert world.turns["poll"] > 100
    world.provider.query_gate.set()
    await world.clock.sleep(2)
    assert len(set(polled(world))) == 10


async def test_the_answer_for_a_closed_shard_is_dropped(world: World) -> None:
    world.run("poll")
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.query_gate.clear()
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(3)
    shard.close()
    world.provider.query_gate.set()
    await settle()
    assert (len(polled(world)), state(shard)) == (1, SubmissionState.RUNNING)


async def test_a_task_of_a_closed_shard_is_not_polled(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await submitted(world, shard, "r")
    shard.close()
    await world.clock.sleep(LONG)
    assert polled(world) == []
    assert kept(world) == 0


async def test_a_task_whose_job_was_cancelled_is_followed_until_its_bill_is_known(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await submitted(world, shard, "r")
    shard.on_job(ref(shard), CancelAsked())
    await settle()
    assert world.seen.ends() == {"r/0/0": "cancelled"}
    await world.clock.sleep(LONG)
    assert polled(world)
    assert shard.state.submissions == {}
    assert shard.state.spend.seconds > 0
    assert kept(world) == 0


@pytest.mark.parametrize("limits", [Limits(queries=1)])
async def test_a_shard_that_closes_while_its_look_waits_for_a_place_costs_no_call(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    world.provider.query_gate.clear()
    first, second = world.shard(0), world.shard(1)
    await submitted(world, first, "a")
    await world.clock.sleep(0.1)
    await submitted(world, second, "b")
    await world.clock.sleep(5)
    second.close()
    world.provider.query_gate.set()
    await world.clock.sleep(LONG)
    assert set(polled(world)) == {"task-1"}


async def taken_over(world: World) -> ShardRunner:
    """The shard of the request `r` after a take-over in the same process."""
    runner = world.shard(epoch=2)
    change = runner.state.load(world.broker.restore(), runner.context(), runner.guard)
    runner.put(change)
    await settle()
    return runner


async def test_a_shard_that_comes_back_into_the_process_polls_its_task_itself(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    old = world.shard(epoch=1)
    await submitted(world, old, "r")
    old.close()
    new = await taken_over(world)
    await world.clock.sleep(3)
    assert set(polled(world)) == {"task-1"}
    assert (submission_of(new).poll_attempts, submission_of(old).poll_attempts) == (len(polled(world)), 0)


async def test_a_poll_in_flight_when_the_shard_comes_back_does_not_serve_the_new_one(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    world.provider.query_gate.clear()
    old = world.shard(epoch=1)
    await submitted(world, old, "r")
    await world.clock.sleep(3)
    old.close()
    world.provider.query_gate.set()
    new = await taken_over(world)
    await world.clock.sleep(1)
    assert submission_of(old).poll_attempts == 0
    assert submission_of(new).poll_attempts == len(polled(world)) - 1


async def test_a_submission_that_has_another_task_by_now_is_not_polled_for_the_old_one(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await submitted(world, shard, "r")
    key = submission_of(shard).key
    shard.state.submissions[key] = replace(submission_of(shard), task_id="task-2")
    await world.clock.sleep(LONG)
    assert polled(world) == []
    assert kept(world) == 0


async def test_what_is_watched_does_not_grow(world: World) -> None:
    world.run("poll", "collect")
    shard = world.shard()
    for number in range(50):
        await world.take(shard, f"r{number}", file_urls=urls("a", "b"))
        await world.clock.sleep(10)
    assert len(world.seen.outcomes) >= 90
    await world.clock.sleep(LONG)
    assert kept(world) == 0


# Cancelling at the provider.


async def test_a_task_is_dropped_at_the_provider_once_its_cancel_is_durable(world: World) -> None:
    world.provider.statuses = (TaskStatus.PENDING,)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(1)
    world.writers[0].guards.clear()
    shard.on_job(ref(shard), CancelAsked())
    await settle()
    assert world.provider.count("cancel") == 0
    world.writers[0].guards.set()
    await settle()
    assert world.provider.calls[-1] == ("cancel", "task-1")
    assert world.provider.submits[0].is_cancelled


async def test_a_cancel_that_the_provider_refuses_changes_nothing(world: World) -> None:
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(1)
    shard.on_job(ref(shard), CancelAsked())
    await settle()
    assert world.provider.count("cancel") == 1
    assert world.seen.ends() == {"r/0/0": "cancelled"}


@pytest.mark.parametrize("limits", [Limits(posts=100, calls_per_second=8.0)])
async def test_cancels_wait_for_their_budget_and_are_all_made(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(50)))
    await world.clock.sleep(10)
    for number in range(50):
        shard.on_job(ref(shard, f"r{number}"), CancelAsked())
    await settle()
    assert 1 <= world.provider.count("cancel") <= 5
    assert set(world.seen.ends().values()) == {"cancelled"}
    await world.clock.sleep(5)
    assert world.provider.count("cancel") <= 5 * 4 + 5
    await world.clock.sleep(LONG)
    assert world.provider.count("cancel") == 50
    assert world.seen.cancels_dropped == 0


@pytest.mark.parametrize("limits", [Limits(queries=2)])
async def test_a_cancel_waits_for_a_place(world: World) -> None:
    world.run("poll")
    world.provider.query_gate.clear()
    shard = world.shard()
    await submitted(world, shard, "a", "b", "c")
    await world.clock.sleep(5)
    assert len(polled(world)) == 2
    shard.on_job(ref(shard, "a"), CancelAsked())
    await settle()
    assert world.provider.count("cancel") == 0
    assert world.seen.ends() == {"a/0/0": "cancelled"}
    world.provider.query_gate.set()
    await world.clock.sleep(2)
    assert world.provider.count("cancel") == 1


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_cancels_beyond_the_bound_are_dropped_and_counted(world: World) -> None:
    for number in range(CANCELS_WAITING + 7):
        world.poll.cancel(f"t{number}")
    assert world.seen.cancels_dropped == 7
    world.serve(1.0)
    world.run("poll")
    await world.clock.sleep(CANCELS_WAITING / 10)
    assert world.provider.count("cancel") == CANCELS_WAITING


# What may be gone first.


async def restored(world: World, shard: ShardRunner, age_hours: float) -> str:
    """A task submitted so long ago that is to be polled now; returns its id."""
    task_id = f"t{age_hours:g}"
    await world.take(shard, task_id)
    now_ms = world.clock.now_ms()
    submission = submission_of(shard, task_id)
    submitted_ms = now_ms - round(age_hours * 3_600_000)
    shard.state.submissions[submission.key] = replace(submission, task_id=task_id, submitted_ms=submitted_ms)
    job = job_of(shard, task_id)
    shard.state.jobs[job.ref] = replace(job, task_ids=(task_id,), submitted_ms=submitted_ms)
    world.poll.queue(shard, submission.key, task_id, now_ms + 1_000)
    world.provider.submits.clear()
    return task_id


one_a_second = pytest.mark.parametrize("limits", [Limits(calls_per_second=2.0)])


@one_a_second
async def test_after_an_outage_tasks_are_polled_in_the_order_of_their_retention_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty tasks, some dead by now, one look a second: chance would look at the dead as soon."""
    # No answer comes, so that each is asked for once; elsewhere that silence stops the calls.
    polls = world.limiter._queue_of(call_limiter.CallKind.QUERY, "").slots
    monkeypatch.setattr(polls, "is_prompt", False)
    world.provider.query_gate.clear()
    world.run("poll")
    shard = world.shard()
    ages = [1, 23.9, 30, 23.5, 25, 20, 2, 48, 23, 19, 3]
    ids = {age: await restored(world, shard, age) for age in ages}
    await world.clock.sleep(60)
    [first, *others] = polled(world)
    order = [23.9, 23.5, 23, 20, 19, 25, 30, 48, 3, 2, 1]
    assert first in ids.values()
    assert others == [ids[age] for age in order if ids[age] != first]


@one_a_second
async def test_what_died_unseen_is_expired_with_its_task_and_the_rest_comes_home(world: World) -> None:
    world.run("poll", "collect")
    shard = world.shard()
    for age in (23.9, 30, 25):
        await restored(world, shard, age)
    world.provider.submits.append(
        FakeTask("t23.9", "fun-asr", (URL,), {}, (TaskStatus.SUCCEEDED,)),
    )
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {
        "t23.9/0/0": "result",
        "t25/0/0": "result_expired",
        "t30/0/0": "result_expired",
    }
    assert {outcome.body.task_id for outcome in world.seen.outcomes} == {"t23.9", "t25", "t30"}


@pytest.mark.parametrize("limits", [Limits(posts=100, calls_per_second=2.0)])
async def test_a_task_near_its_edge_is_not_kept_waiting_by_those_that_run(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(100)))
    await world.clock.sleep(30)
    urgent = await restored(world, shard, 23.9)
    await world.clock.sleep(3.5)
    assert urgent in polled(world)


@one_a_second
async def test_old_running_tasks_leave_polls_to_the_others(world: World) -> None:
    """A look that finds a task at work gives it another day: it is urgent no longer."""
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    ids = [await restored(world, shard, age) for age in (23.9, 23.8, 23.7, 30)]
    world.provider.submits.extend(FakeTask(each, "m", (URL,), {}, (TaskStatus.RUNNING,)) for each in ids)
    await world.clock.sleep(10)
    await submitted_anew(world, shard)
    await world.clock.sleep(30)
    assert "task-5" in polled(world)


async def submitted_anew(world: World, shard: ShardRunner) -> None:
    await world.take(shard, "fresh")
    assert job_of(shard, "fresh").task_id == "task-5"


# An account reason met by a look.


NO_KEY = ProviderError("InvalidApiKey", "Invalid API-key provided.", 401)


async def test_an_invalid_key_found_by_a_poll_stops_submits_and_slows_polls(world: World) -> None:
    world.run("submit", "poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(30)))
    world.provider.next_queries.extend([NO_KEY] * 10_000)
    world.provider.next_submits.extend([Refused(NO_KEY)] * 10_000)
    await world.clock.sleep(5)
    assert world.seen.holds == ["InvalidApiKey"]
    before = len(polled(world))
    await world.take(shard, "fresh")
    await world.clock.sleep(20 * PROBE_SECONDS)
    assert 15 <= len(polled(world)) - before <= 21
    assert world.provider.count("submit") <= 30 + 21
    assert world.seen.ends() == {}


async def test_polls_and_submits_resume_once_a_poll_is_answered(world: World) -> None:
    world.run("submit", "poll")
    shard = world.shard()
    await submitted(world, shard, "a", "b", "c")
    world.provider.next_queries.append(NO_KEY)
    await world.clock.sleep(3)
    assert world.hold.is_active
    await world.clock.sleep(2 * PROBE_SECONDS)
    assert world.seen.holds == ["InvalidApiKey", None]
    await world.clock.sleep(LONG)
    assert {job.state for job in shard.state.jobs.values()} == {JobState.COLLECTING}


# The parts of a task.


async def test_a_file_that_the_task_does_not_name_fails_alone(world: World) -> None:
    world.run("poll", "collect")
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls("a", "b"))
    [made] = world.provider.submits
    world.provider.next_queries.append(_of_first_file(made))
    await world.clock.sleep(LONG)
    assert world.seen.ends() == {"r/0/0": "result", "r/0/1": "provider_error"}


def _of_first_file(task: FakeTask) -> TaskView:
    result = f"https://results.example/{task.model}/10%3A15/{task.task_id}-1.json?Signature=fake"
    return TaskView(
        task.task_id, TaskStatus.SUCCEEDED, (FileView(task.file_urls[0], result),), billed_seconds=1
    )


def kept(world: World) -> int:
    """How many tasks the poll stage keeps, in its queues and beside them."""
    requests = world.poll._requests
    queues = (requests._due, requests._hinted, requests._last, requests._ordinary)
    return len(requests) + sum(len(queue) for queue in queues)


# Last polls.


async def overdue(world: World, shard: ShardRunner, *requests: str) -> None:
    """Running tasks whose jobs' deadline has passed, and that are to be polled once more."""
    await world.take(shard, *requests, ttl_seconds=3600)
    world.clock.jump(3600 + 1)
    for each in requests:
        shard.on_job(ref(shard, each), DeadlinePassed())
    await settle()


@pytest.mark.parametrize("limits", [Limits(posts=200, calls_per_second=2.0)])
async def test_last_polls_go_before_others_but_take_no_more_than_every_second_turn(world: World) -> None:
    world.provider.query_gate.clear()
    runs_for_ever(world)
    shard = world.shard()
    many = [f"r{number}" for number in range(40)]
    await submitted(world, shard, *many)
    await world.clock.sleep(5)
    late = [f"late{number}" for number in range(20)]
    await overdue(world, shard, *late)
    world.provider.query_gate.set()
    world.run("poll")
    await world.clock.sleep(21)
    last = {submission_of(shard, each).task_id for each in late if state(shard, each)}
    ended = sum(end == "deadline_exceeded" for end in world.seen.ends().values())
    assert 8 <= ended <= 12
    assert len(polled(world)) - ended >= 8
    assert last


@pytest.mark.parametrize("limits", [Limits(queries=4, posts=200)])
async def test_last_polls_take_at_most_half_of_the_places(world: World) -> None:
    world.provider.query_gate.clear()
    runs_for_ever(world)
    shard = world.shard()
    await overdue(world, shard, *(f"late{number}" for number in range(20)))
    world.run("poll")
    await world.clock.sleep(5)
    assert len(polled(world)) == 2


async def test_a_last_poll_is_made_at_once_although_another_one_is_due_later(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(0.5)
    submission = submission_of(shard)
    world.poll.queue(shard, submission.key, "task-1", world.clock.now_ms(), is_last=True)
    await settle()
    assert polled(world) == ["task-1"]


async def test_a_mass_deadline_of_running_tasks_ends_every_job_within_its_time(world: World) -> None:
    runs_for_ever(world)
    world.run("poll", "expire")
    shard = world.shard()
    await world.take(shard, *(f"r{number}" for number in range(250)), ttl_seconds=60)
    await world.clock.sleep(60 + 100)
    assert set(world.seen.ends().values()) == {"deadline_exceeded"}
    assert len(world.seen.ends()) == 250


# The key of another account.


async def test_five_unknown_tasks_in_a_row_hold_the_account_and_lose_no_job(world: World) -> None:
    world.run("submit", "poll", "collect")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(10)))
    world.provider.next_queries.extend([TaskStatus.UNKNOWN] * 10_000)
    await world.clock.sleep(1200)
    assert world.seen.holds == [OwnCode.FOREIGN_TASKS]
    assert world.seen.ends() == {}
    before = world.provider.count("submit")
    await world.take(shard, "fresh")
    await world.clock.sleep(10 * PROBE_SECONDS)
    assert world.provider.count("submit") == before, "the other account would take it"
    world.provider.next_queries.clear()
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    for task in world.provider.submits:
        task.statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(1200)
    assert world.seen.holds == [OwnCode.FOREIGN_TASKS, None]
    assert set(world.seen.ends().values()) == {"result"}


async def test_unknown_tasks_among_known_ones_are_lost_and_hold_nothing(world: World) -> None:
    world.run("submit", "poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(10)))
    gone = {"task-2", "task-5", "task-6", "task-8"}
    world.provider.submits[:] = [each for each in world.provider.submits if each.task_id not in gone]
    await world.clock.sleep(600)
    assert world.seen.holds == []
    assert len(world.seen.ends()) == len(gone)
    assert set(world.seen.ends().values()) == {"task_lost"}


async def test_tasks_past_their_retention_are_unknown_to_everybody_and_hold_nothing(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    for age in (25, 26, 27, 28, 29, 30):
        await restored(world, shard, age)
    await world.clock.sleep(LONG)
    assert world.seen.holds == []
    assert set(world.seen.ends().values()) == {"result_expired"}


# Answers that a fault of ours cannot read.


async def test_a_task_whose_answers_cannot_be_read_fails_with_its_id_after_the_fifth(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    proper = world.provider.query

    async def query(task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        answer = await proper(task_id, permit)
        if task_id == "task-1" and answer is not NO_SLOT:
            raise RecursionError
        return answer

    monkeypatch.setattr(world.provider, "query", query)
    world.run()
    shard = world.shard()
    await submitted(world, shard, "bad", "good")
    await world.clock.sleep(1200)
    assert world.seen.ends() == {"bad/0/0": "internal_error", "good/0/0": "result"}
    [failed] = [each.body for each in world.seen.outcomes if each.id == "bad/0/0"]
    assert failed.task_id == "task-1"
    assert polled(world).count("task-1") >= MAX_UNREADABLE


async def test_answers_that_cannot_be_read_of_all_tasks_stop_the_stage_and_end_no_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def query(task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        raise RecursionError

    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(20)))
    with monkeypatch.context() as patch:
        patch.setattr(world.provider, "query", query)
        world.run()
        await world.clock.sleep(1800)
        assert world.breaker.stopped() == [StageName.POLL]
        assert world.seen.ends() == {}
    await world.clock.sleep(1800)
    assert set(world.seen.ends().values()) == {"result"}
