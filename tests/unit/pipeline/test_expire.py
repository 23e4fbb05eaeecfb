"""Expire: the deadline is told to every open job, in whatever state it is."""

import pytest
from pydantic import JsonValue

from service.contract.outcome import Failure
from service.core.job.job import JobState
from service.core.provider.answers import (
    Cause,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskStatus,
)
from service.core.shard.batches import MAX_BATCH_BYTES
from service.pipeline.shard.backlog import SLICE
from tests.fakes.clock import settle
from tests.fakes.provider import NO_CONNECTION
from tests.unit.pipeline.world import ARREARS, Limits, World, state

TTL = 60
LATE = "deadline_exceeded"
THROTTLED = Refused(ProviderError("Throttling", "x", 429, 3600.0))
DEAD_KEY = ProviderError("InvalidApiKey", "x", 401)
UNAVAILABLE = ProviderError("http_error", "x", 503)


async def test_a_job_that_waits_for_budget_ends_at_its_deadline(world: World) -> None:
    world.serve(0.0)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL - 2)
    assert world.seen.ends() == {}
    await world.clock.sleep(3)
    assert world.seen.ends() == {"r/0/0": LATE}
    assert world.provider.calls == []


@pytest.mark.parametrize(
    ("submits", "queries", "fetches", "status", "rest"),
    [
        pytest.param(ARREARS, None, None, None, 2, id="held"),
        pytest.param(THROTTLED, None, None, None, 2, id="waiting to be repeated"),
        pytest.param(None, DEAD_KEY, None, None, 15 * 60 + 30, id="key dead while its task ran"),
        pytest.param(None, None, UNAVAILABLE, TaskStatus.SUCCEEDED, 2, id="result not fetched"),
        pytest.param(None, None, None, TaskStatus.RUNNING, 2, id="running"),
    ],
)
async def test_a_job_ends_at_its_deadline_wherever_it_waits(
    world: World,
    submits: Refused | None,
    queries: ProviderError | None,
    fetches: ProviderError | None,
    status: TaskStatus | None,
    rest: int,
) -> None:
    world.provider.next_submits.extend([submits] * 1000 if submits else [])
    world.provider.next_queries.extend([queries] * 1000 if queries else [])
    world.provider.next_fetches.extend([fetches] * 1000 if fetches else [])
    world.provider.statuses = (status,) if status else world.provider.statuses
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + rest)
    assert world.seen.ends() == {"r/0/0": LATE}


async def test_a_job_ends_at_its_deadline_while_the_provider_is_out_of_reach(world: World) -> None:
    world.provider.next_submits.extend([NotSent(NO_CONNECTION)] * 1000)
    world.run()
    shard = world.shard()
    await world.take(shard, "a", "b", "c", "d", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 2)
    assert set(world.seen.ends().values()) == {LATE}
    assert len(world.seen.ends()) == 4


async def test_a_job_whose_post_is_out_ends_when_its_answer_comes(world: World) -> None:
    world.provider.submit_gate.clear()
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 10)
    assert world.seen.ends() == {}
    world.provider.statuses = (TaskStatus.RUNNING,)
    world.provider.submit_gate.set()
    await world.clock.sleep(5)
    assert world.seen.ends() == {"r/0/0": LATE}


async def test_a_result_that_is_being_fetched_is_not_thrown_away(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.fetch_gate.clear()
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 10)
    assert world.seen.ends() == {}
    world.provider.fetch_gate.set()
    await settle()
    assert world.seen.ends() == {"r/0/0": "result"}


async def test_an_outcome_that_waits_for_the_broker_is_not_decided_again(world: World) -> None:
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(1)
    world.writers[0].guards.clear()
    await world.clock.sleep(TTL + 10)
    world.writers[0].guards.set()
    await settle()
    assert len(world.seen.outcomes) == 1
    assert len(world.broker.outcomes()) == 1


async def test_jobs_before_their_deadline_are_left_alone(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    world.run()
    shard = world.shard()
    await world.take(shard, "early", ttl_seconds=TTL)
    await world.take(shard, "late", ttl_seconds=3600)
    await world.clock.sleep(TTL + 2)
    assert world.seen.ends() == {"early/0/0": LATE}
    assert state(shard, "late") is not None


async def test_a_wall_clock_that_jumps_over_the_deadline_is_noticed_within_a_second(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=3600)
    world.clock.jump(3700)
    await world.clock.sleep(1.1)
    assert world.seen.ends() == {"r/0/0": LATE}


async def test_a_wall_clock_that_is_set_back_gives_the_job_its_time(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    world.clock.jump(-600)
    await world.clock.sleep(600)
    assert world.seen.ends() == {}
    await world.clock.sleep(TTL + 2)
    assert world.seen.ends() == {"r/0/0": LATE}


async def test_the_audit_covers_every_open_shard_and_no_closed_one(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    world.run()
    shards = [world.shard(partition) for partition in range(3)]
    for shard, request_id in zip(shards, "abc", strict=True):
        await world.take(shard, request_id, ttl_seconds=TTL)
    shards[1].close()
    await world.clock.sleep(TTL + 2)
    assert set(world.seen.ends()) == {"a/0/0", "c/0/0"}


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_the_loop_turns_once_a_second(world: World) -> None:
    world.run("expire")
    await world.clock.sleep(60.5)
    assert 60 <= world.turns["expire"] <= 62


def messages(world: World) -> set[str]:
    """What the failures say."""
    return {each.body.message for each in world.seen.outcomes if isinstance(each.body, Failure)}


CERTIFICATE = ProviderError(
    "connect_failed", "the certificate of host h is not trusted: self-signed", cause=Cause.CERTIFICATE
)
OUTAGES: dict[str, SubmitAnswer] = {
    "certificate": NotSent(CERTIFICATE),
    "closed port": NotSent(ProviderError("connect_failed", "host h refuses connections on port 443")),
    "unknown host": NotSent(ProviderError("connect_failed", "the name of host h has no address")),
    "fault": Refused(ProviderError("InternalError", "an internal error", 500)),
    "gateway": Refused(ProviderError("ServiceUnavailable", "no server is free", 503)),
    "wrong path": Refused(ProviderError("http_error", "h answered 404: there is no such path", 404)),
    "throttle": Refused(ProviderError("Throttling", "too many requests", 429, 3600.0)),
    "key": Refused(ProviderError("InvalidApiKey", "Invalid API-key provided.", 401)),
    "debt": ARREARS,
}


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES)
async def test_a_job_whose_deadline_passes_in_an_outage_or_a_hold_says_why_it_waited(
    world: World, answer: SubmitAnswer
) -> None:
    assert isinstance(answer, Refused | NotSent)
    world.provider.next_submits.extend([answer] * 10_000)
    world.run()
    shard = world.shard()
    await world.take(shard, "a", "b", "c", "d", ttl_seconds=TTL)
    await world.clock.sleep(2 * TTL)
    assert set(world.seen.ends().values()) == {LATE}
    assert all(answer.provider_error.message in message for message in messages(world))


async def test_a_job_whose_task_cannot_be_polled_says_why(world: World) -> None:
    world.provider.next_queries.extend([CERTIFICATE] * 1000)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 15 * 60 + 60)
    [message] = messages(world)
    assert CERTIFICATE.message in message


async def test_a_job_whose_uncertain_submit_cannot_be_reconciled_says_why(world: World) -> None:
    world.provider.next_submits.extend(
        [Lost(ProviderError("timeout", "host h did not answer within 30 s"))] * 100
    )
    world.provider.next_lists.extend([CERTIFICATE] * 1000)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 2)
    [message] = messages(world)
    assert "host h did not answer within 30 s" in message
    assert "billed" in message


async def test_a_job_whose_result_cannot_be_fetched_says_why(world: World) -> None:
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.next_fetches.extend([CERTIFICATE] * 1000)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 40)
    [message] = messages(world)
    assert CERTIFICATE.message in message


async def test_a_job_whose_hotword_list_cannot_be_had_says_why(world: World) -> None:
    world.vocabularies.provider_errors.extend([CERTIFICATE] * 1000)
    world.run()
    shard = world.shard()
    words: JsonValue = {"hotwords": [{"text": "Scribe", "weight": 4}]}
    await world.take(shard, "r", ttl_seconds=TTL, options=words)
    await world.clock.sleep(TTL + 2)
    [message] = messages(world)
    assert CERTIFICATE.message in message
    assert "hotword list" in message


async def test_a_job_whose_day_is_spent_says_so() -> None:
    world = World(Limits(spend_per_day=10))
    shard = world.shard()
    shard.state.spend = shard.state.spend.count(world.clock.now_ms(), 10)
    world.run()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 2)
    [message] = messages(world)
    assert "spend_limit" in message
    await world.end()


async def test_a_job_that_takes_long_is_no_fault_of_the_provider(world: World) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", ttl_seconds=TTL)
    await world.clock.sleep(TTL + 2)
    assert messages(world) == {"the deadline passed while the job was running"}


# Many deadlines at once.

MANY = 3 * SLICE


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_a_mass_deadline_goes_out_in_bounded_batches_and_leaves_the_loop_its_turns(
    world: World,
) -> None:
    shard = world.shard()
    await world.take(shard, *(f"r{number}" for number in range(MANY)), ttl_seconds=TTL)
    first = len(world.writers[0].batches)
    world.run("expire")
    turns = world.turns["expire"]
    await world.clock.sleep(TTL + 2)
    assert len(world.seen.ends()) == MANY
    assert world.turns["expire"] - turns >= TTL + MANY / SLICE
    batches = world.writers[0].batches[first:]
    assert len(batches) > 2
    assert max(batch.size_bytes for batch in batches) <= MAX_BATCH_BYTES


@pytest.mark.parametrize("limits", [Limits(share=0.0, backlog_bytes=500_000)])
async def test_a_mass_deadline_waits_for_the_broker_in_the_jobs_and_not_in_memory(world: World) -> None:
    shard = world.shard()
    await world.take(shard, *(f"r{number}" for number in range(MANY)), ttl_seconds=TTL)
    world.writers[0].guards.clear()
    world.run("expire")
    await world.clock.sleep(TTL + 60)
    assert shard.pending_bytes < 2 * 500_000
    open_jobs = [job for job in shard.state.jobs.values() if job.state is JobState.WAITING]
    assert open_jobs
    world.writers[0].guards.set()
    await world.clock.sleep(30)
    assert len(world.seen.ends()) == MANY
