"""When polls wait for slots, the tasks most likely to have ended go first, and no task is left out."""

from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

import pytest

from service.core.job.transition_context import Rules
from service.core.provider.answers import TaskStatus, TaskView
from service.pipeline.polling.poll_requests import CHOICES, MOST_PASSES
from tests.unit.pipeline.polling.timed_provider import provider_of
from tests.unit.pipeline.world import Limits, World, submission_of

PER_SECOND = 4.0
QUICK, SLOW = "fun-asr", "paraformer-v2"
few_slots = pytest.mark.parametrize("limits", [Limits(calls_per_second=PER_SECOND, part=1.0, queries=256)])


def teach(world: World, model: str, took: timedelta) -> None:
    """Let a task of the model have taken so long."""
    begun = datetime(2026, 3, 2)  # noqa: DTZ001 - the vendor's times have no zone
    task = TaskView("t", TaskStatus.SUCCEEDED, submit_time=str(begun), end_time=str(begun + took))
    world.poll._requests.learn(model, task)


async def serve(world: World, count: int, seconds: float, *, every: float) -> None:
    """Serve so many one-file requests without the list, one after the other, for so long after the last."""
    shard = world.shard()
    world.run("submit", "vocabulary", "poll", "collect", "expire")
    for number in range(count):
        await world.take(shard, f"r{number}", ttl_seconds=86_000)
        await world.clock.sleep(every)
    await world.clock.sleep(seconds)


@pytest.mark.computes
@few_slots
async def test_tasks_past_the_usual_run_time_are_seen_long_before_their_turn_would_come(
    world: World,
) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 60.0 + number % 10
    await serve(world, 280, 90, every=0.5)
    late = provider.late()[150:]
    # One poll of each of the 130 tasks takes 32 s, in turns the median is 34 s.
    assert (len(late), median(late) < 8) == (130, True)


@few_slots
async def test_a_task_that_is_not_likely_to_have_ended_is_polled_in_the_time_of_a_few_polls_of_all(
    world: World,
) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 100_000.0
    for _ in range(1000):
        teach(world, QUICK, timedelta(seconds=1))
        teach(world, SLOW, timedelta(hours=20))
    shard = world.shard()
    world.run("submit", "vocabulary", "poll")
    for number in range(60):
        await world.take(shard, f"r{number}", model=QUICK, ttl_seconds=86_000)
    await world.take(shard, "slow", model=SLOW, ttl_seconds=86_000)
    await world.clock.sleep(600)
    asked = provider.asked_at[submission_of(shard, "slow").task_id or ""]
    gaps = [after - before for before, after in pairwise(asked)]
    all_once_seconds = 61 / PER_SECOND
    assert all_once_seconds < max(gaps) < (MOST_PASSES / (CHOICES - 1) + 2) * all_once_seconds


@few_slots
async def test_a_poll_is_due_when_the_schedule_says_whatever_was_learned(world: World) -> None:
    provider = provider_of(world)
    provider.run_seconds = lambda number: 100.0
    shard = world.shard()
    world.run("submit", "vocabulary", "poll", "collect")
    for hours in (0, 20):
        for _ in range(1000):
            teach(world, QUICK, timedelta(hours=hours))
        await world.take(shard, f"after-{hours}-h", model=QUICK, ttl_seconds=1_000)
        await world.clock.sleep(150)
    schedule = Rules().poll_schedule
    assert len(provider.late()) == 2
    for asked, ended in zip(provider.asked_at.values(), provider.ended_at.values(), strict=True):
        for before, after in pairwise(asked):
            due_ms = schedule.next_poll_ms(round(1000 * (ended - 100)), round(1000 * before))
            assert after == pytest.approx(due_ms / 1000, abs=0.3)
