"""What the stages tell a tracer: each step once, when it ends, for the requests that it served."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from service.clock import Clock
from service.core.job.accepted_request import AcceptedRequest
from service.core.outcome.build import Outcome
from service.core.provider.answers import Lost, NotSent, ProviderError, Refused, TaskStatus
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.tracer import TracedStep
from tests.fakes.provider import TIMEOUT
from tests.unit.pipeline.world import World, urls

LONG = 120.0
STEPS = ["accept", "submit", "poll", "fetch", "publish"]


@dataclass(frozen=True)
class Told:
    """One step, and how long it took."""

    step: str
    requests: tuple[str, ...]
    seconds: float
    task_id: str | None = None
    file_index: int | None = None
    error: str | None = None


@dataclass
class Steps:
    """A tracer that keeps what it is told."""

    clock: Clock
    told: list[Told] = field(default_factory=list)

    def step(
        self,
        step: TracedStep,
        requests: Iterable[AcceptedRequest],
        began_seconds: float,
        *,
        task_id: str | None = None,
        file_index: int | None = None,
        error: str | None = None,
    ) -> None:
        seconds = self.clock.boot_seconds() - began_seconds
        served = tuple(request.request_id for request in requests)
        self.told.append(Told(step, served, seconds, task_id, file_index, error))

    def published(self, outcome: Outcome) -> None:
        self.told.append(Told(TracedStep.PUBLISH, (outcome.key,), 0.0))

    def names(self) -> list[str]:
        """The steps in order."""
        return [each.step for each in self.told]

    def of(self, step: TracedStep) -> list[Told]:
        """Those of one kind."""
        return [each for each in self.told if each.step == step]


@pytest.fixture
def steps(world: World) -> Steps:
    steps = Steps(world.clock)
    world.runner_deps = replace(world.runner_deps, tracer=steps)
    return steps


async def served(world: World, *requests: str, **fields: str) -> ShardRunner:
    """A shard that took these requests, with every stage at work for long."""
    world.run()
    shard = world.shard()
    await world.take(shard, *requests)
    await world.clock.sleep(LONG)
    return shard


async def test_each_step_of_a_job_is_one_step_although_its_task_was_polled_often(
    world: World, steps: Steps
) -> None:
    world.provider.statuses = (TaskStatus.PENDING, *[TaskStatus.RUNNING] * 5, TaskStatus.SUCCEEDED)
    await served(world, "r")
    assert world.provider.count("query") == 7
    assert steps.names() == STEPS
    assert {each.requests for each in steps.told} == {("r",)}
    assert {each.task_id for each in steps.told[1:4]} == {"task-1"}
    assert steps.of(TracedStep.FETCH)[0].file_index == 0
    assert all(each.error is None and each.seconds < 1 for each in steps.told)


async def test_a_task_that_ends_and_that_no_job_waits_for_is_no_step(world: World, steps: Steps) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    shard = await served(world, "r")
    world.deliver(shard, world.record(0, "r", action="cancel"))
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    await world.clock.sleep(LONG)
    assert [each.requests for each in steps.of(TracedStep.POLL) if each.requests] == []


async def test_the_files_of_a_task_are_one_submit_and_one_poll_and_a_fetch_each(
    world: World, steps: Steps
) -> None:
    world.run()
    await world.take(world.shard(), "r", file_urls=urls(*"abc"))
    await world.clock.sleep(LONG)
    assert sorted(steps.names()) == sorted([*STEPS, "fetch", "fetch", "publish", "publish"])
    assert sorted(str(each.file_index) for each in steps.of(TracedStep.FETCH)) == ["0", "1", "2"]
    assert steps.of(TracedStep.SUBMIT)[0].requests == ("r",)


@pytest.mark.parametrize("answer", [Refused(ProviderError("Bad", "no")), NotSent(TIMEOUT), Lost(TIMEOUT)])
async def test_a_submit_that_failed_says_why(
    world: World, steps: Steps, answer: Refused | NotSent | Lost
) -> None:
    world.provider.next_submits.append(answer)
    await served(world, "r")
    first = steps.of(TracedStep.SUBMIT)[0]
    assert (first.error, first.task_id) == (answer.provider_error.code, None)


async def test_a_fetch_that_failed_says_why_and_the_next_is_a_step_of_its_own(
    world: World, steps: Steps
) -> None:
    world.provider.next_fetches.append(TIMEOUT)
    await served(world, "r")
    assert [each.error for each in steps.of(TracedStep.FETCH)] == ["timeout", None]


async def test_a_record_that_is_no_new_work_is_no_step(world: World, steps: Steps) -> None:
    shard = await served(world, "r")
    told = len(steps.told)
    world.deliver(shard, world.record(0, "r"))
    world.deliver(shard, replace(world.record(0, "x"), value=b"{"))
    await world.clock.sleep(LONG)
    assert [each for each in steps.told[told:] if each.step != TracedStep.PUBLISH] == []
