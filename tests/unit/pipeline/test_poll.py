"""Poll: one look serves all jobs of a task, within the budget, and only for shards that are ours."""

from dataclasses import replace

import pytest

from service.core.events import CancelAsked, Submitted
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.task import FileView, Refused, TaskStatus, TaskView, Trouble
from service.pipeline.hold import PROBE_SECONDS
from service.pipeline.poll import CANCELS_WAITING, file_of
from service.pipeline.publish import OwnedShard
from tests.fakes.clock import settle
from tests.fakes.provider import TIMEOUT, FakeTask
from tests.unit.core.samples import KEY, URL, job
from tests.unit.pipeline.world import THROTTLED, Limits, World, job_of, state, urls

LONG = 120.0


def looked(world: World) -> list[str]:
    """The tasks that were looked at, in order."""
    return [task_id for kind, task_id in world.provider.calls if kind == "query"]


def runs_for_ever(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)


async def submitted(world: World, shard: OwnedShard, *requests: str) -> None:
    """Requests whose tasks run; no time passes."""
    await world.take(shard, *requests)
    assert all(job.task_id for job in shard.state.jobs.values())


async def test_a_task_is_looked_at_when_that_is_due_and_again(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(1.9)
    assert looked(world) == []
    await world.clock.sleep(0.2)
    assert looked(world) == ["task-1"]
    await world.clock.sleep(60)
    assert len(looked(world)) > 3
    assert job_of(shard).poll_attempts == len(looked(world))


async def test_one_look_serves_all_files_of_a_task(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls(*"abcde"))
    await world.clock.sleep(LONG)
    assert looked(world) == ["task-1", "task-1"]
    assert {job.state for job in shard.state.jobs.values()} == {State.COLLECTING}
    assert {job.poll_attempts for job in shard.state.jobs.values()} == {2}


async def test_each_file_gets_its_own_part_whatever_the_order(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls(*"abc"))
    await world.clock.sleep(LONG)
    parts = [job_of(shard, index=index).transcription_url or "" for index in range(3)]
    assert [part.partition("?")[0].rpartition("/")[2] for part in parts] == [
        "task-1-1.json",
        "task-1-2.json",
        "task-1-3.json",
    ]


async def test_a_look_that_fails_costs_a_later_look_and_nothing_else(world: World) -> None:
    world.run("poll")
    world.provider.next_queries.extend([TIMEOUT, Trouble("InternalError", "x", 500)])
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(LONG)
    assert len(looked(world)) == 4
    assert state(shard) is State.COLLECTING


async def test_a_throttled_look_lowers_the_budget(world: World) -> None:
    world.run("poll")
    world.provider.next_queries.append(THROTTLED)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(2.1)
    assert world.budgets.query.rate_per_second <= 0.6 * world.budgets.query.share_per_second


@pytest.mark.parametrize("limits", [Limits(posts=100, calls_per_second=2.0)])
async def test_looks_keep_to_the_budget(world: World) -> None:
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(100)))
    await world.clock.sleep(60)
    assert 50 <= len(looked(world)) <= 61


async def test_without_a_share_nothing_is_looked_at(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await submitted(world, shard, "r")
    world.budgets.set_share(0.0)
    await world.clock.sleep(3600)
    assert looked(world) == []
    assert world.turns["poll"] > 3000
    world.budgets.set_share(1.0)
    await world.clock.sleep(3)
    assert looked(world) == ["task-1"]


@pytest.mark.parametrize("limits", [Limits(queries=3)])
async def test_no_more_looks_are_out_than_there_are_places(world: World) -> None:
    world.run("poll")
    world.provider.query_gate.clear()
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(10)))
    await world.clock.sleep(LONG)
    assert len(looked(world)) == 3
    assert world.turns["poll"] > 100
    world.provider.query_gate.set()
    await world.clock.sleep(2)
    assert len(set(looked(world))) == 10


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
    assert (len(looked(world)), state(shard)) == (1, State.RUNNING)


async def test_a_task_of_a_closed_shard_is_not_looked_at(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await submitted(world, shard, "r")
    shard.close()
    await world.clock.sleep(LONG)
    assert looked(world) == []
    assert kept(world) == 0


async def test_a_task_that_nobody_waits_for_any_more_is_not_looked_at(world: World) -> None:
    world.run("poll")
    shard = world.shard()
    await submitted(world, shard, "r")
    shard.apply(KEY, CancelAsked())
    await world.clock.sleep(LONG)
    assert looked(world) == []


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
    assert set(looked(world)) == {"task-1"}


async def test_a_shard_that_comes_back_into_the_process_takes_its_watch_over(world: World) -> None:
    world.run("poll")
    old = world.shard(epoch=1)
    await submitted(world, old, "r")
    running = job_of(old)
    old.close()
    new = world.shard(epoch=2, jobs=[running])
    world.poll.watch(new, KEY, "task-1", world.clock.now_ms() + 500)
    await world.clock.sleep(3)
    assert looked(world) == ["task-1"]
    assert (job_of(new).poll_attempts, job_of(old).poll_attempts) == (1, 0)


async def test_a_look_that_is_out_when_the_shard_comes_back_does_not_serve_the_new_one(world: World) -> None:
    world.run("poll")
    world.provider.query_gate.clear()
    old = world.shard(epoch=1)
    await submitted(world, old, "r")
    await world.clock.sleep(3)
    running = job_of(old)
    old.close()
    new = world.shard(epoch=2, jobs=[running])
    world.poll.watch(new, KEY, "task-1", world.clock.now_ms() + 500)
    world.provider.query_gate.set()
    await settle()
    assert job_of(new).poll_attempts == 0
    await world.clock.sleep(1)
    assert job_of(new).poll_attempts == 1


async def test_a_job_that_has_another_task_by_now_is_not_told_of_the_old_one(world: World) -> None:
    world.run("poll")
    world.provider.query_gate.clear()
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(3)
    shard.state.jobs[KEY] = replace(job_of(shard), task_id="task-2")
    world.provider.query_gate.set()
    await settle()
    assert job_of(shard).poll_attempts == 0


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
    world.writers[0].gate.clear()
    shard.apply(KEY, CancelAsked())
    await settle()
    assert world.provider.count("cancel") == 0
    world.writers[0].gate.set()
    await settle()
    assert world.provider.calls[-1] == ("cancel", "task-1")
    assert world.provider.submits[0].is_cancelled


async def test_a_cancel_that_the_provider_refuses_changes_nothing(world: World) -> None:
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, "r")
    await world.clock.sleep(1)
    shard.apply(KEY, CancelAsked())
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
        shard.apply(JobKey(f"r{number}", 0, 0), CancelAsked())
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
    assert len(looked(world)) == 2
    shard.apply(JobKey("a", 0, 0), CancelAsked())
    await settle()
    assert world.provider.count("cancel") == 0
    assert world.seen.ends() == {"a/0/0": "cancelled"}
    world.provider.query_gate.set()
    await settle()
    assert world.provider.count("cancel") == 1


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_cancels_beyond_the_bound_are_dropped_and_counted(world: World) -> None:
    for number in range(CANCELS_WAITING + 7):
        world.poll.cancel(f"t{number}")
    assert world.seen.cancels_dropped == 7
    world.budgets.set_share(1.0)
    world.run("poll")
    await world.clock.sleep(CANCELS_WAITING / 10)
    assert world.provider.count("cancel") == CANCELS_WAITING


# What may be gone first.


def restored(world: World, shard: OwnedShard, age_hours: float) -> str:
    """A task submitted so long ago that is to be looked at now; returns its id."""
    task_id = f"t{age_hours:g}"
    now_ms = world.clock.now_ms()
    running = job(
        State.RUNNING,
        spec=replace(job().spec, request_id=task_id, deadline_ms=now_ms + 10**9),
        task_id=task_id,
        submitted_ms=now_ms - round(age_hours * 3_600_000),
    )
    shard.state.open_request([running])
    world.poll.watch(shard, running.key, task_id, now_ms + 1_000)
    return task_id


one_a_second = pytest.mark.parametrize("limits", [Limits(calls_per_second=2.0)])


@one_a_second
async def test_after_an_outage_what_can_still_be_read_is_looked_at_in_the_order_of_its_edge(
    world: World,
) -> None:
    """Fifty tasks, some dead by now, one look a second: chance would look at the dead as soon."""
    world.run("poll")
    world.provider.query_gate.clear()
    shard = world.shard()
    ages = [1, 23.9, 30, 23.5, 25, 20, 2, 48, 23, 19, 3]
    ids = {age: restored(world, shard, age) for age in ages}
    await world.clock.sleep(60)
    [first, *others] = looked(world)
    order = [23.9, 23.5, 23, 20, 19, 25, 30, 48, 1, 2, 3]
    assert first in ids.values()
    assert others == [ids[age] for age in order if ids[age] != first]


@one_a_second
async def test_what_died_unseen_is_expired_with_its_task_and_the_rest_comes_home(world: World) -> None:
    world.run("poll", "collect")
    shard = world.shard()
    for age in (23.9, 30, 25):
        restored(world, shard, age)
    world.provider.submits.append(
        FakeTask("t23.9", "fun-asr", (URL,), {}, (TaskStatus.SUCCEEDED,)),
    )
    await world.clock.sleep(10)
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
    urgent = restored(world, shard, 23.9)
    await world.clock.sleep(3.5)
    assert urgent in looked(world)


@one_a_second
async def test_old_tasks_that_still_run_leave_looks_to_the_others(world: World) -> None:
    """A look that finds a task at work gives it another day: it is urgent no longer."""
    world.run("poll")
    runs_for_ever(world)
    shard = world.shard()
    ids = [restored(world, shard, age) for age in (23.9, 23.8, 23.7, 30)]
    world.provider.submits.extend(FakeTask(each, "m", (URL,), {}, (TaskStatus.RUNNING,)) for each in ids)
    await world.clock.sleep(10)
    await submitted_anew(world, shard)
    await world.clock.sleep(30)
    assert "task-5" in looked(world)


async def submitted_anew(world: World, shard: OwnedShard) -> None:
    await world.take(shard, "fresh")
    assert job_of(shard, "fresh").task_id == "task-5"


# An account reason met by a look.


NO_KEY = Trouble("InvalidApiKey", "Invalid API-key provided.", 401)


async def test_a_dead_key_met_by_a_look_stops_submits_and_slows_looks(world: World) -> None:
    world.run("submit", "poll")
    runs_for_ever(world)
    shard = world.shard()
    await submitted(world, shard, *(f"r{number}" for number in range(30)))
    world.provider.next_queries.extend([NO_KEY] * 10_000)
    world.provider.next_submits.extend([Refused(NO_KEY)] * 10_000)
    await world.clock.sleep(5)
    assert world.seen.holds == ["InvalidApiKey"]
    before = len(looked(world))
    await world.take(shard, "fresh")
    await world.clock.sleep(20 * PROBE_SECONDS)
    assert 15 <= len(looked(world)) - before <= 21
    assert world.provider.count("submit") <= 30 + 21
    assert world.seen.ends() == {}


async def test_looks_and_submits_go_on_once_a_look_is_answered(world: World) -> None:
    world.run("submit", "poll")
    shard = world.shard()
    await submitted(world, shard, "a", "b", "c")
    world.provider.next_queries.append(NO_KEY)
    await world.clock.sleep(3)
    assert world.hold.is_active
    await world.clock.sleep(2 * PROBE_SECONDS)
    assert world.seen.holds == ["InvalidApiKey", None]
    await world.clock.sleep(LONG)
    assert {job.state for job in shard.state.jobs.values()} == {State.COLLECTING}


# Which part of a task is the job's.


def viewed(*file_urls: str) -> TaskView:
    return TaskView("t", TaskStatus.SUCCEEDED, tuple(FileView(url, f"{url}.json") for url in file_urls))


def part(task: TaskView, file_url: str, task_files: int = 2) -> str | None:
    found = file_of(task, waiting(file_url, task_files))
    return found.file_url if found else None


def waiting(file_url: str, task_files: int) -> Job:
    return job(State.RUNNING, file_url=file_url, task_files=task_files)


@pytest.mark.parametrize(
    ("listed", "file_url", "found"),
    [
        (["https://h/b", "https://h/a"], "https://h/a", "https://h/a"),
        (["https://h/%62", "https://h/a"], "https://h/b", "https://h/%62"),
        (["https://h/a b", "https://h/c"], "https://h/a%20b", "https://h/a b"),
        (["https://h/%61", "https://h/a"], "https://h/a", "https://h/a"),
        (["https://h/%61", "https://h/a"], "https://h/%%36%31", None),
        (["https://h/x", "https://h/y"], "https://h/a", None),
        (["https://h/x"], "https://h/a", None),
        ([], "https://h/a", None),
    ],
)
def test_a_part_is_found_by_its_url_never_by_its_place(
    listed: list[str], file_url: str, found: str | None
) -> None:
    assert part(viewed(*listed), file_url) == found


def test_two_parts_that_look_alike_are_nobodys() -> None:
    assert part(viewed("https://h/%61?x", "https://h/a%3Fx"), "https://h/a?x") is None


def test_the_only_part_of_a_task_of_one_file_needs_no_match() -> None:
    assert part(viewed("https://cdn/other"), "https://h/a", task_files=1) == "https://cdn/other"


def test_the_only_part_of_a_task_of_one_file_needs_no_name() -> None:
    assert part(viewed(""), "https://h/a", task_files=1) == ""
    assert part(viewed(""), "https://h/a", task_files=2) is None
    assert part(viewed("", "https://h/a"), "https://h/a", task_files=1) == "https://h/a"


def test_two_parts_of_a_task_of_one_file_are_matched_all_the_same() -> None:
    assert part(viewed("https://h/x", "https://h/y"), "https://h/a", task_files=1) is None


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


async def test_an_answer_to_a_submit_is_watched_with_the_number_of_its_files(world: World) -> None:
    shard = world.shard(jobs=[job(State.SUBMITTING)])
    shard.apply(KEY, Submitted("t9", 4))
    await settle()
    assert (job_of(shard).task_id, job_of(shard).task_files) == ("t9", 4)
    assert kept(world) == 2


def kept(world: World) -> int:
    """How many tasks the poll stage keeps, in its queues and beside them."""
    return len(world.poll._watched) + len(world.poll._due) + len(world.poll._line)
