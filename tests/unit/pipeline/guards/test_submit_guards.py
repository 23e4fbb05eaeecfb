"""The submit guards in an outage: few writes, no failures, and a return at a bounded rate."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from pydantic import JsonValue

from service.core.job.submission import SubmissionState
from service.core.job.transition_context import INTENT_SECONDS
from service.core.limits.retry_budget import CAPACITY, FLOOR_PER_SECOND
from service.core.provider.answers import Lost, NotSent, ProviderError, Refused, SubmitAnswer
from service.core.provider.error_table import PROVIDER_FAULT_ATTEMPTS
from service.pipeline.guards.call_limiter import MAX_MODELS
from service.pipeline.guards.submit_guards import SubmitKind
from service.pipeline.shard.shard_runner import ShardRunner
from service.provider.api import Permit, at_once
from tests.fakes.provider import NO_CONNECTION, TIMEOUT, FakeProvider, SubmitFault
from tests.unit.pipeline.world import ARREARS, THROTTLED, Limits, World, state, urls

OUTAGE_SECONDS = 600
JOBS = 80
FAULT = Refused(ProviderError("InternalError", "An internal error has occurred.", 500))
AWAY = NotSent(NO_CONNECTION)
slow_days = pytest.mark.parametrize("limits", [Limits(submits_per_minute=600.0)])
"""Five submits a second."""


def posted(world: World) -> int:
    return world.provider.count("submit")


def batches(world: World) -> int:
    """Batches that reached the journal."""
    return len(world.writers[0].batches)


def states(shard: ShardRunner) -> Counter[SubmissionState]:
    return Counter(each.state for each in shard.state.submissions.values())


def forever(world: World, fault: SubmitFault) -> None:
    """Let every submit go wrong, until the script is cleared."""
    world.provider.next_submits.extend([fault] * 100_000)


async def down(world: World, fault: SubmitFault, count: int = JOBS) -> ShardRunner:
    """A shard with jobs, in a provider's outage of ten minutes."""
    world.run()
    shard = world.shard()
    forever(world, fault)
    await world.take(shard, *(f"r{number}" for number in range(count)))
    await world.clock.sleep(OUTAGE_SECONDS)
    return shard


@slow_days
@pytest.mark.parametrize("fault", [AWAY, FAULT])
async def test_in_an_outage_of_minutes_the_journal_stays_quiet_and_no_job_fails(
    world: World, fault: SubmitFault
) -> None:
    shard = await down(world, fault)
    assert world.seen.ends() == {}
    assert len(shard.state.jobs) == JOBS
    assert posted(world) <= 40
    assert batches(world) <= 3 * posted(world) + 5


async def test_an_outage_of_hours_costs_few_jobs_no_attempt_and_no_failure(world: World) -> None:
    """Each of them meets many more refusals than the table allows a job."""
    world.run("submit", "expire")
    shard = world.shard()
    forever(world, FAULT)
    await world.take(shard, "a", "b")
    await world.clock.sleep(2 * 3600)
    assert posted(world) > 4 * PROVIDER_FAULT_ATTEMPTS
    assert world.seen.ends() == {}
    world.provider.next_submits.clear()
    await world.clock.sleep(120)
    assert states(shard) == {SubmissionState.RUNNING: 2}


class Poisoned(FakeProvider):
    """A provider that one file's submits always break."""

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        if "poison" in file_urls[0]:
            return (
                FAULT if await permit() else NotSent(ProviderError("intent_too_old", "no slot came in time"))
            )
        return await super().submit(model, file_urls, options, permit)


async def test_a_job_that_fails_between_the_successes_of_others_is_no_outage_and_ends() -> None:
    world = World(provider=Poisoned())
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls("poison"))
    for number in range(50):
        await world.take(shard, f"good{number}", file_urls=urls(f"good{number}"))
        await world.clock.sleep(10)
    assert world.seen.ends() == {"r/0/0": "provider_error"}
    assert states(shard) == {SubmissionState.RUNNING: 50}
    await world.end()


@slow_days
async def test_where_answers_are_lost_few_jobs_pay_for_the_outage(world: World) -> None:
    await down(world, Lost(TIMEOUT))
    assert posted(world) <= 40
    assert len(world.seen.ends()) <= 40


@slow_days
async def test_an_outage_is_said_once_and_so_is_its_end(world: World) -> None:
    await down(world, AWAY)
    assert world.seen.outages == [("fun-asr", True)]
    assert world.guards.health["fun-asr"].since_ms is not None
    world.provider.next_submits.clear()
    await world.clock.sleep(120)
    assert world.seen.outages == [("fun-asr", True), ("fun-asr", False)]
    assert world.guards.health["fun-asr"].since_ms is None


@slow_days
async def test_after_an_outage_everything_is_submitted_once(world: World) -> None:
    await down(world, FAULT)
    before = posted(world)
    world.provider.next_submits.clear()
    await world.clock.sleep(300)
    assert posted(world) - before == JOBS
    assert set(world.seen.ends().values()) == {"result"}


async def test_an_outage_of_one_model_holds_up_no_other(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.next_submits.extend([FAULT] * 3)
    await world.take(shard, "a", "b", "c")
    assert world.guards.wait_seconds(SubmitKind("fun-asr")) > 0
    await world.take(shard, "d", model="fun-asr-mtl", file_urls=urls("other"))
    assert state(shard, "d") is SubmissionState.RUNNING


async def test_throttling_is_no_outage(world: World) -> None:
    shard = world.shard()
    world.provider.next_submits.extend([Refused(THROTTLED)] * 10)
    await world.take(shard, *(f"r{number}" for number in range(10)))
    assert world.seen.outages == []


# Repetitions.


@pytest.mark.parametrize("limits", [Limits(posts=1000)])
async def test_repetitions_without_a_success_come_at_a_bounded_rate(world: World) -> None:
    """Throttled, so that it is no outage: nothing but the retry budget holds them back."""
    world.run("submit")
    shard = world.shard()
    forever(world, Refused(ProviderError("Throttling.RateQuota", "x", 429)))
    await world.take(shard, *(f"r{number}" for number in range(100)))
    await world.clock.sleep(1)
    first = posted(world)
    await world.clock.sleep(OUTAGE_SECONDS)
    assert posted(world) - first <= CAPACITY + OUTAGE_SECONDS * FLOOR_PER_SECOND + 1
    assert world.seen.ends() == {}


async def test_repetitions_that_must_wait_hold_up_no_first_submit(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.next_submits.append(Refused(ProviderError("BadRequest.InputDownloadFailed", "x", 400)))
    await world.take(shard, "again")
    world.guards.health["fun-asr"].retries.tokens = 0.0
    await world.clock.sleep(5)
    assert state(shard, "again") is SubmissionState.WAITING
    await world.take(shard, "fresh")
    assert state(shard, "fresh") is SubmissionState.RUNNING
    await world.clock.sleep(10)
    assert state(shard, "again") is SubmissionState.RUNNING


async def test_a_repetition_that_succeeds_gets_its_token_back(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.next_submits.append(FAULT)
    await world.take(shard, "r")
    await world.clock.sleep(5)
    assert state(shard) is SubmissionState.RUNNING
    assert world.guards.health["fun-asr"].retries.tokens == CAPACITY


async def test_a_repetition_whose_intent_grew_too_old_is_paid_back(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.next_submits.append(FAULT)
    await world.take(shard, "r")
    health = world.guards.health["fun-asr"]
    health.retries.tokens = 10.0
    world.fence.guards.clear()
    await world.clock.sleep(1 + INTENT_SECONDS)
    assert state(shard) is SubmissionState.WAITING
    assert 10.0 <= health.retries.tokens <= 10.0 + 5 * FLOOR_PER_SECOND


async def test_names_that_requests_make_up_are_not_kept_for_ever(world: World) -> None:
    for number in range(3 * MAX_MODELS):
        world.guards.wait_seconds(SubmitKind("fun-asr"))
        world.guards.wait_seconds(SubmitKind(f"fun-asr-{number}"))
    assert len(world.guards.health) == MAX_MODELS
    assert "fun-asr" in world.guards.health


# A hold that concerns one model.

FREE_TIER = Refused(ProviderError("AllocationQuota.FreeTierOnly", "The free tier is used up.", 403))


class OneHeld(FakeProvider):
    """A provider that holds one model, and says so until it is told to stop."""

    is_held = True

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        if self.is_held and model == "fun-asr":
            return (
                FREE_TIER if await permit() else NotSent(ProviderError("intent_too_old", "no slot in time"))
            )
        return await super().submit(model, file_urls, options, permit)


async def test_a_hold_of_one_model_holds_up_no_other_and_is_said_once_each_way() -> None:
    provider = OneHeld()
    world = World(provider=provider)
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "held", file_urls=urls("held"))
    for number in range(20):
        await world.take(shard, f"good{number}", model="fun-asr-mtl", file_urls=urls(f"good{number}"))
        await world.clock.sleep(20)
    assert states(shard) == {SubmissionState.WAITING: 1, SubmissionState.RUNNING: 20}
    assert world.seen.holds == ["AllocationQuota.FreeTierOnly"]
    assert not world.hold.is_active
    assert "free tier" in world.guards.reason("fun-asr")
    assert world.guards.reason("fun-asr-mtl") == ""
    provider.is_held = False
    await world.clock.sleep(60)
    assert states(shard) == {SubmissionState.RUNNING: 21}
    assert world.seen.holds == ["AllocationQuota.FreeTierOnly", None]
    await world.end()


async def test_the_accounts_hold_stands_above_a_models(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.next_submits.extend([FREE_TIER, ARREARS])
    await world.take(shard, "a")
    await world.take(shard, "b", model="fun-asr-mtl", file_urls=urls("b"))
    assert world.seen.holds == ["AllocationQuota.FreeTierOnly", "Arrearage"]
    assert "arrears" in world.guards.reason("fun-asr")
    assert world.guards.wait_seconds(SubmitKind("fun-asr-realtime")) > 0
    await world.clock.sleep(120)
    assert states(shard) == {SubmissionState.RUNNING: 2}
    assert world.seen.holds[2:] == [None, None]


async def test_a_question_about_a_model_leaves_no_trace_of_it(world: World) -> None:
    assert (world.guards.reason("fun-asr"), world.guards.is_circuit_open("fun-asr")) == ("", False)
    assert not world.guards.health
