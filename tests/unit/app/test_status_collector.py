"""The picture of the process: what is open, where each shard stands, what may be called and what is held."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from service import __version__
from service.app import status_collector
from service.app.status_collector import Sources
from service.core.limits.hold_causes import SPEND_ADVICE, SPENT
from service.core.limits.spend_limit import SpendLimit
from service.core.provider.answers import Lost, NotSent, ProviderError, Refused, TaskStatus
from service.errors import RestoreError
from service.kafka.group.partition_offsets import Lag, PartitionOffsets
from service.observability.status import BudgetStatus, ResultHoldStatus, Status, SubmitStatus
from service.pipeline.guards.call_limiter import MAX_MODELS, CallKind, CallLimiter
from service.pipeline.guards.submit_guards import SubmitGuards, SubmitKind
from service.pipeline.guards.wait_reasons import WaitReason
from tests.fakes.clock import LeapingLoop
from tests.fakes.provider import NO_CONNECTION, TIMEOUT
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import ARREARS, Limits, World, urls


@dataclass
class FakeOffsets(PartitionOffsets):
    """What is known of the ends of topics; None: nothing."""

    records: int | None

    def lag(self, partition: int, next_offset: int) -> Lag | None:
        assert (partition, next_offset) == (0, 0)
        return None if self.records is None else Lag(self.records, 1.5)

    def journal_offsets(self, partition: int) -> int | None:
        return 99


def play(scene: Callable[[Member], Coroutine[None, None, None]], limits: Limits | None = None) -> None:
    """Run a scene with a member of the group."""

    async def act() -> None:
        world = World(limits or Limits())
        try:
            await scene(Member(world))
        finally:
            await world.end()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(act())


def picture(member: Member) -> Status:
    world = member.world
    return status_collector.collect(
        Sources("scribe-7", member.assignment, world.guards, world.breaker, world.clock, world.stages)
    )


def test_without_an_assignment_there_is_nothing_to_see() -> None:
    async def scene(member: Member) -> None:
        seen = picture(member)
        assert (seen.version, seen.member) == (__version__, "scribe-7")
        assert (seen.shards, seen.jobs, seen.oldest_job_age_seconds) == ((), {}, None)
        assert (seen.holds, seen.account_hold, seen.pending_bytes) == ((), "unknown", 0)

    play(scene)


def test_open_jobs_are_counted_by_state_and_the_oldest_tells_its_age() -> None:
    async def scene(member: Member) -> None:
        await member.own(0, 1)
        member.deliver(0, "old")
        await member.world.clock.sleep(30)
        member.world.serve(0.0)
        member.deliver(1, "a", "b")
        await member.world.clock.sleep(1)
        seen = picture(member)
        assert seen.jobs == {"submitted": 1, "waiting": 2}
        assert seen.submissions == {"running": 1, "waiting": 2}
        assert seen.oldest_job_age_seconds is not None
        assert round(seen.oldest_job_age_seconds) == 31

    play(scene)


def test_what_waits_how_old_it_is_and_how_long_results_are_kept_are_shown() -> None:
    async def scene(member: Member) -> None:
        await member.own(0, 1)
        assert picture(member).retention_seconds is None
        member.deliver(0, "old")
        await member.world.clock.sleep(600)
        member.world.serve(0.0)
        member.deliver(1, "a", "b")
        await member.world.clock.sleep(60)
        seen = picture(member)
        assert seen.waiting == (("fun-asr", "quota", 2),)
        assert {state: round(age, -1) for state, age in seen.oldest_ages_seconds.items()} == {
            "submitted": 660,
            "waiting": 60,
        }
        assert seen.retention_seconds == pytest.approx(24 * 3600 - 660, abs=10)
        assert [each.kind for each in seen.calls] == ["submit", "synchronous", "query", "fetch"]
        member.world.provider.next_submits.append(Lost(TIMEOUT))
        member.world.serve(1.0)
        member.world.run("submit")
        await member.world.clock.sleep(2)
        assert ("fun-asr", "settle", 1) in picture(member).waiting

    play(scene)


def test_what_is_done_each_second_and_shown_has_a_bound_however_many_models_requests_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any dated version of a model may be named. Guards are asked, and reasons listed, of few of them."""
    asked: list[str] = []
    named = 4 * MAX_MODELS

    def note(kind: type[Any], name: str) -> None:
        real = getattr(kind, name)

        def noted(*of: Any, **also: Any) -> Any:
            asked.append(name)
            return real(*of, **also)

        monkeypatch.setattr(kind, name, noted)

    async def scene(member: Member) -> None:
        [shard] = await member.own(0)
        for number in range(named):
            shard.state.jobs.waiting[f"fun-asr-{number}"] = 1 + number % 2
            shard.state.submissions.uncertain_jobs[f"fun-asr-{number}"] = 1
            member.world.submit._due.jobs[f"fun-asr-{number}", WaitReason.BACKOFF] = 1
        note(CallLimiter, "unused")
        note(SubmitGuards, "wait_reason")
        seen = picture(member)
        assert asked.count("unused") <= 2, "what is shown, and the reasons"
        assert asked.count("wait_reason") <= 2 * (MAX_MODELS + 1)
        jobs: Counter[str] = Counter()
        for each in seen.waiting:
            jobs[each.reason] += each.jobs
        assert jobs == {"backoff": named, "quota": named // 2, "settle": named}
        assert len({each.model for each in seen.waiting if each.reason != "settle"}) == MAX_MODELS + 1
        assert len({each.model for each in seen.waiting if each.reason == "settle"}) == MAX_MODELS + 1
        assert {each.jobs for each in seen.waiting if each.model != "other"} == {1}

    play(scene)


def test_an_age_is_never_negative() -> None:
    async def scene(member: Member) -> None:
        await member.own(0)
        member.deliver(0, "r")
        member.world.clock.jump(-3600)
        assert picture(member).oldest_job_age_seconds == 0

    play(scene)


def test_the_status_lists_shards_in_the_order_of_their_partitions() -> None:
    async def scene(member: Member) -> None:
        member.journal.hang(0)
        member.journal.refusals.append(RestoreError("not this topic's"))
        member.assignment.assigned([2])
        await member.world.clock.sleep(0.05)
        refused = member.assignment.partitions[2]
        await member.own(1, 0)
        member.assignment.partitions[2] = refused
        member.deliver(1, "a", "b")
        await member.world.clock.sleep(0.1)
        shards = picture(member).shards
        assert [(each.partition, each.state, each.detail) for each in shards] == [
            (0, "restoring", None),
            (1, "ready", None),
            (2, "refused", "not this topic's"),
        ]
        assert [(each.open_jobs, each.epoch, each.cursor) for each in shards] == [
            (0, None, None),
            (2, 1, 2),
            (0, None, None),
        ]

    play(scene)


def test_what_a_shard_holds_is_shown_while_our_membership_is_proven_and_through_a_rebalance() -> None:
    async def scene(member: Member) -> None:
        await member.own(0, 1)
        member.deliver(0, "a", "b")
        member.shard(0).state.spend = member.shard(0).state.spend.count(member.world.clock.now_ms(), 10, 0.5)
        await member.world.clock.sleep(0.1)
        work = picture(member).shards[0].work
        assert work is not None
        assert work.jobs == {"waiting": 0, "submitted": 2, "collecting": 0, "finishing": 0}
        assert (work.billed_seconds_today, work.billed_cost_today, work.uncertain_submissions) == (10, 0.5, 0)
        await member.assignment.revoked([0, 1])
        suspended = picture(member).shards
        assert [(each.partition, each.state, each.open_jobs) for each in suspended] == [
            (0, "suspended", 2),
            (1, "suspended", 0),
        ]
        assert suspended[0].work == work
        member.assignment.assigned([1])
        assert [each.partition for each in picture(member).shards] == [1]
        member.world.limiter.share._proved_at = -math.inf
        assert [each.work for each in picture(member).shards] == [None]

    play(scene)


def test_the_ends_of_topics_are_shown_once_they_are_known() -> None:
    async def scene(member: Member) -> None:
        await member.own(0)
        world = member.world
        offsets = FakeOffsets(7)
        sources = Sources(
            "m", member.assignment, world.guards, world.breaker, world.clock, world.stages, offsets
        )
        [shard] = status_collector.collect(sources).shards
        assert shard.work is not None
        seen = (shard.work.unread_requests, shard.work.unread_seconds, shard.work.journal_offsets)
        assert seen == (7, 1.5, 99)
        offsets.records = None
        [shard] = status_collector.collect(sources).shards
        assert shard.work is not None
        assert (shard.work.unread_requests, shard.work.unread_seconds) == (None, None)

    play(scene)


def test_the_cursor_that_is_shown_is_the_durable_one_and_what_waits_is_counted() -> None:
    async def scene(member: Member) -> None:
        await member.own(0)
        member.world.writers[0].guards.clear()
        member.deliver(0, "a")
        await member.world.clock.sleep(0.1)
        member.deliver(0, "b", "c")
        seen = picture(member)
        assert seen.shards[0].cursor == 0
        assert seen.pending_bytes == member.shard().pending_bytes > 0

    play(scene)


def test_budgets_are_shown_with_their_rate_and_their_share() -> None:
    async def scene(member: Member) -> None:
        await member.own(0)
        member.deliver(0, "r")
        member.world.limiter.penalise(CallKind.QUERY)
        *calls, submits = picture(member).budgets
        assert calls == [
            BudgetStatus("query", 10.0, 20.0),
            BudgetStatus("list", 20.0, 20.0),
            BudgetStatus("cancel", 20.0, 20.0),
        ]
        assert (submits.kind, submits.model) == ("submit", "fun-asr")
        assert submits.rate_per_second == submits.share_per_second == pytest.approx(50_000.0)

    play(scene)


def test_a_hold_is_shown_with_its_beginning_while_it_lasts() -> None:
    async def scene(member: Member) -> None:
        member.world.provider.next_submits.append(ARREARS)
        await member.own(0)
        began_ms = member.world.clock.now_ms()
        member.deliver(0, "r")
        await member.world.clock.sleep(10)
        [held] = picture(member).holds
        assert (held.code, held.since_ms) == ("Arrearage", began_ms)
        assert (held.reason, held.model) == ("Access denied, account in arrears.", None)
        assert "bills" in held.advice
        assert (picture(member).account_hold, held.jobs_waiting) == ("held", 1)
        member.world.run("submit")
        await member.world.clock.sleep(30)
        assert (picture(member).holds, picture(member).account_hold) == ((), "none")

    play(scene)


def test_nothing_of_a_request_is_shown() -> None:
    async def scene(member: Member) -> None:
        await member.own(0)
        shard = member.shard()
        await member.world.take(shard, "r-canary", file_urls=urls("canary"), metadata={"k": "canary"})
        shown = picture(member).to_json().decode()
        assert "canary" not in shown
        assert '"running": 1' in shown

    play(scene)


def test_a_spent_day_shows_as_a_hold_of_ours_unless_the_provider_has_a_reason() -> None:
    async def scene(member: Member) -> None:
        world = member.world
        [shard] = await member.own(0)
        world.shards.append(shard)
        shard.state.spend = shard.state.spend.count(world.clock.now_ms(), 10)
        began_ms = world.clock.now_ms()
        world.run("submit")
        await world.clock.sleep(2)
        [held] = picture(member).holds
        assert (held.code, held.since_ms) == ("spend_limit", began_ms)
        assert (held.reason, held.advice) == (SPENT[SpendLimit.SECONDS], SPEND_ADVICE[SpendLimit.SECONDS])
        assert picture(member).account_hold == "unknown"
        assert picture(member).spent_seconds == 10
        world.hold.judge(ARREARS)
        for model in ("fun-asr", "fun-asr-mtl"):
            leave = world.guards.acquire(SubmitKind(model))
            world.guards.judge(Refused(ProviderError("AccessDenied.Unpurchased", "Buy it.", 403)), leave)
        holds = [(each.code, each.model) for each in picture(member).holds]
        assert holds == [
            ("Arrearage", None),
            ("AccessDenied.Unpurchased", "fun-asr"),
            ("AccessDenied.Unpurchased", "fun-asr-mtl"),
            ("spend_limit", None),
        ]

    play(scene, Limits(spend_per_day=10))


def test_a_day_that_has_cost_too_much_names_the_setting_of_cost_and_no_other() -> None:
    async def scene(member: Member) -> None:
        [shard] = await member.own(0)
        member.world.shards.append(shard)
        shard.state.spend = shard.state.spend.count(member.world.clock.now_ms(), None, 3.0)
        member.world.run("submit")
        await member.world.clock.sleep(2)
        shown = json.loads(picture(member).to_json())["hold"]
        assert "SCRIBE_SPEND__COST_PER_DAY" in shown["advice"]
        assert "seconds" not in (shown["reason"] + shown["advice"]).lower()

    play(scene, Limits(spend_per_day=10, cost_per_day=3.0))


def test_a_lost_group_shows_its_last_reason_until_it_is_regained() -> None:
    async def scene(member: Member) -> None:
        shards = member.assignment
        for why in ("brokers away", "no right", "brokers away"):
            shards.lost(why)
        assert picture(member).group_lost == "brokers away"
        shards.assigned([])
        assert picture(member).group_lost is None
        shards.assigned([])
        assert member.world.seen.group == ["brokers away", "no right", None]

    play(scene)


def test_results_that_wait_for_a_setting_are_shown_with_host_and_setting() -> None:
    async def scene(member: Member) -> None:
        world = member.world
        world.provider.statuses = (TaskStatus.SUCCEEDED,)
        world.provider.refused_hosts = {"results.example"}
        world.run()
        await member.own(0)
        member.deliver(0, "a")
        await world.clock.sleep(5)
        waiting = ResultHoldStatus("fun-asr", "results.example", "SCRIBE_FETCH__HOSTS", 1, None)
        assert picture(member).result_holds == (waiting,)
        member.deliver(0, "b")
        await world.clock.sleep(5)
        [held] = picture(member).result_holds
        assert (held.jobs, held.since_ms is None, picture(member).holds) == (2, False, ())

    play(scene)


def test_an_outage_and_what_may_be_repeated_are_shown_by_model() -> None:
    async def scene(member: Member) -> None:
        world = member.world
        world.provider.next_submits.extend([NotSent(NO_CONNECTION)] * 3)
        await member.own(0)
        began_ms = world.clock.now_ms()
        member.deliver(0, "a", "b", "c")
        await world.clock.sleep(0.01)
        [submit] = picture(member).submits
        assert submit == SubmitStatus("fun-asr", 20.0, submit.outage_since_ms, NO_CONNECTION)
        assert began_ms <= (submit.outage_since_ms or 0) <= began_ms + 10

    play(scene)
