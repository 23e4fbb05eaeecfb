"""The call limiter: who may begin a call, when it leaves, and whose turn it is."""

import asyncio
import math
from itertools import pairwise

import pytest

from service.core.limits.slot_share import PROOF_SECONDS, Predecessor, Unused
from service.pipeline.guards.call_limiter import (
    CHECK_SECONDS,
    LONGEST_LEAD_SECONDS,
    MAX_MODELS,
    PATIENCE_SECONDS,
    SHORTEST_LEAD_SECONDS,
    Call,
    CallKind,
    CallLimiter,
    Quota,
)
from tests.fakes.clock import FakeClock
from tests.unit.pipeline.world import KnownTime

QUOTA = Quota(0.5, 4.0, 120.0)
"""A query every half second, a submit every second."""


def limiter_of(clock: FakeClock, *, quota: Quota = QUOTA, partitions: int = 1) -> CallLimiter:
    """A limiter of a process that serves one partition, and is a member for ever."""
    limiter = CallLimiter(clock, quota, KnownTime())
    limiter.proved(math.inf)
    limiter.partitioned(partitions)
    limiter.resumed(0)
    return limiter


async def leave(call: Call, left: list[str], name: str) -> None:
    """Make a call that is answered at once."""
    with call:
        if await call.depart():
            left.append(name)


async def test_no_call_begins_without_partitions_or_proof(clock: FakeClock) -> None:
    limiter = CallLimiter(clock, QUOTA, KnownTime())
    assert {limiter.wait_seconds(kind) for kind in CallKind} == {math.inf}
    limiter.partitioned(1)
    limiter.taken(0, Predecessor.RELEASED, clock.boot_seconds())
    assert limiter.wait_seconds(CallKind.QUERY) == math.inf
    limiter.proved(clock.boot_seconds())
    assert 0 < limiter.wait_seconds(CallKind.QUERY) < 2
    limiter.stopped(0)
    assert limiter.wait_seconds(CallKind.QUERY) == math.inf


@pytest.mark.parametrize("load_seconds", [0.0, 8.0, 60.0])
async def test_the_wait_for_a_former_owner_counts_from_the_claim(
    clock: FakeClock, load_seconds: float
) -> None:
    limiter = CallLimiter(clock, QUOTA, KnownTime())
    limiter.partitioned(1)
    claimed_at = clock.boot_seconds()
    await clock.sleep(load_seconds)
    limiter.taken(0, Predecessor.UNKNOWN, claimed_at)
    limiter.proved(math.inf)
    wait_seconds = max(0.0, PROOF_SECONDS - load_seconds)
    assert limiter.wait_seconds(CallKind.QUERY) == pytest.approx(wait_seconds, abs=0.3)


async def test_slots_left_out_for_an_uncertain_clock_are_reported_unless_all_are_ours(
    clock: FakeClock,
) -> None:
    limiter = limiter_of(clock, partitions=2)
    assert list(limiter.unused()) == []
    limiter.share.vendor = KnownTime(0.2)
    assert list(limiter.unused()) == [Unused.CLOCK]
    limiter.resumed(1)
    assert list(limiter.unused()) == []


async def test_as_many_calls_are_begun_as_slots_come_within_the_lead(clock: FakeClock) -> None:
    limiter = limiter_of(clock, quota=Quota(0.5, 20.0))
    begun: list[Call] = []
    while not limiter.wait_seconds(CallKind.QUERY):
        begun.append(limiter.begin(CallKind.QUERY))
    assert len(begun) in (3, 4)
    assert limiter.wait_seconds(CallKind.LIST) == 0


async def test_a_call_that_ends_without_having_left_gives_its_place_back(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    await clock.sleep(limiter.wait_seconds(CallKind.QUERY))
    with limiter.begin(CallKind.QUERY):
        assert limiter.wait_seconds(CallKind.QUERY) > 0
    assert limiter.wait_seconds(CallKind.QUERY) == 0


async def test_a_call_that_is_dropped_before_it_is_entered_gives_its_place_back(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    await clock.sleep(limiter.wait_seconds(CallKind.QUERY))
    call = limiter.begin(CallKind.QUERY)
    assert limiter.wait_seconds(CallKind.QUERY) > 0
    del call
    assert limiter.wait_seconds(CallKind.QUERY) == 0


async def test_a_call_leaves_in_its_slot_and_is_paid_for_there(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    moments = []
    for _ in range(4):
        await clock.sleep(limiter.wait_seconds(CallKind.QUERY))
        with limiter.begin(CallKind.QUERY) as call:
            assert await call.depart()
            moments.append(clock.boot_seconds())
    apart = [later - earlier for earlier, later in pairwise(moments)]
    assert all(each == pytest.approx(0.5, abs=0.06) for each in apart)


async def test_what_is_asked_last_of_all_can_keep_a_call_from_leaving(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    with limiter.begin(CallKind.QUERY) as call:
        assert not await call.depart(lambda: False)
    left: list[str] = []
    await leave(limiter.begin(CallKind.QUERY), left, "the slot is still there")
    assert left


async def test_a_call_whose_slot_does_not_come_in_time_goes_back(clock: FakeClock) -> None:
    limiter = limiter_of(clock, partitions=48)
    begun = clock.boot_seconds()
    with limiter.begin(CallKind.SUBMIT, "fun-asr") as call:
        answers = [await call.depart() for _ in range(2)]
    assert False in answers
    limiter.stopped(0)
    with limiter.begin(CallKind.SUBMIT, "fun-asr") as call:
        begun = clock.boot_seconds()
        assert not await call.depart()
    assert PATIENCE_SECONDS <= clock.boot_seconds() - begun < PATIENCE_SECONDS + 1


async def test_a_call_that_others_have_pushed_beyond_its_patience_does_not_go_back_at_once(
    clock: FakeClock,
) -> None:
    """Its stage would begin it again and again in one moment."""
    limiter = limiter_of(clock, quota=Quota(0.5, 0.5, 120.0))
    left: list[str] = []
    first = asyncio.create_task(leave(limiter.begin(CallKind.LIST, is_urgent=True), left, "urgent"))
    await asyncio.sleep(0)
    begun = clock.boot_seconds()
    with limiter.begin(CallKind.LIST) as call:
        assert not await call.depart()
    assert clock.boot_seconds() - begun >= CHECK_SECONDS
    await first


async def test_urgent_calls_leave_first_and_every_fourth_slot_is_anothers(clock: FakeClock) -> None:
    limiter = limiter_of(clock, quota=Quota(1.0, 10.0))
    left: list[str] = []
    polls = [leave(limiter.begin(CallKind.QUERY), left, "poll") for _ in range(2)]
    urgent = [leave(limiter.begin(CallKind.QUERY, is_urgent=True), left, "urgent") for _ in range(7)]
    await asyncio.gather(*urgent, *polls)
    assert left == [*["urgent"] * 3, "poll"] * 2 + ["urgent"]


async def test_an_urgent_call_is_begun_whoever_waits(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    await clock.sleep(limiter.wait_seconds(CallKind.QUERY))
    call = limiter.begin(CallKind.QUERY)
    assert limiter.wait_seconds(CallKind.QUERY) > 0
    assert limiter.wait_seconds(CallKind.QUERY, is_urgent=True) == 0
    assert not call.has_left


async def test_a_call_that_is_ready_too_late_makes_the_next_begin_earlier(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    line = limiter._queue_of(CallKind.QUERY, "")
    for _ in range(5):
        with limiter.begin(CallKind.QUERY) as call:
            await clock.sleep(1)
            await call.depart()
    assert line.lead_seconds == LONGEST_LEAD_SECONDS
    for _ in range(100):
        with limiter.begin(CallKind.QUERY) as call:
            await call.depart()
    assert line.lead_seconds == SHORTEST_LEAD_SECONDS


async def test_an_answer_that_does_not_come_stops_all_calls_until_it_does(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    with limiter.begin(CallKind.QUERY) as call:
        assert await call.depart()
        await clock.sleep(3)
        assert limiter.wait_seconds(CallKind.SUBMIT, "fun-asr") == math.inf
    assert 0 < limiter.wait_seconds(CallKind.SUBMIT, "fun-asr") < 3


async def test_each_snapshot_of_a_model_has_slots_of_its_own_by_the_model_table(clock: FakeClock) -> None:
    limiter = limiter_of(clock, quota=Quota(1.0, 20.0))
    for model in ("fun-asr", "fun-asr-mtl", "fun-asr-2025-08-25", "a-model-of-yesterday"):
        limiter.wait_seconds(CallKind.SUBMIT, model)
    shares = {rate.model: rate.share_per_second for rate in limiter.rates()}
    assert shares["fun-asr"] == pytest.approx(1 / 0.135)
    assert shares["fun-asr-mtl"] == pytest.approx(1 / 0.75)
    assert shares["a-model-of-yesterday"] == 0.0


async def test_of_too_many_models_the_one_asked_for_longest_ago_is_forgotten(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    call = limiter.begin(CallKind.SUBMIT, "in use")
    for number in range(2 * MAX_MODELS):
        limiter.wait_seconds(CallKind.SUBMIT, f"fun-asr-{number}")
    models = {rate.model for rate in limiter.rates()}
    assert (len(models), "in use" in models, "fun-asr-0" in models) == (MAX_MODELS - 2, True, False)
    assert [rate.kind for rate in limiter.rates()][:3] == ["query", "list", "cancel"]
    with call:
        pass


async def test_more_models_than_are_remembered_keep_their_quotas_each(clock: FakeClock) -> None:
    limiter = limiter_of(clock, quota=Quota(1.0, 20.0, 600.0))
    models = ["fun-asr", *(f"fun-asr-{number}" for number in range(2 * MAX_MODELS))]
    left: list[str] = []
    until = clock.boot_seconds() + 1
    while clock.boot_seconds() < until:
        for each in models:
            if limiter._queue_of(CallKind.SUBMIT, each).slots.opens_at(limiter.now()) <= clock.boot_seconds():
                await leave(limiter.begin(CallKind.SUBMIT, each), left, each)
        await clock.sleep(0.02)
    counts = [left.count(model) for model in models]
    assert 7 <= min(counts) <= max(counts) <= 10
    await clock.sleep(10)
    limiter.wait_seconds(CallKind.SUBMIT, "one more")
    assert len(list(limiter.rates())) == MAX_MODELS


async def test_a_model_that_was_throttled_is_not_forgotten_before_it_has_recovered(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    limiter.penalise(CallKind.SUBMIT, "fun-asr")
    await clock.sleep(20)
    for number in range(2 * MAX_MODELS):
        limiter.wait_seconds(CallKind.SUBMIT, f"fun-asr-{number}")
    rates = {rate.model: rate for rate in limiter.rates()}
    assert rates["fun-asr"].rate_per_second < rates["fun-asr"].share_per_second


async def test_models_in_use_do_not_make_the_limiter_forget_its_queries(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    with limiter.begin(CallKind.QUERY) as call:
        assert await call.depart()
    calls = [limiter.begin(CallKind.SUBMIT, f"fun-asr-{number}") for number in range(2 * MAX_MODELS)]
    assert limiter.wait_seconds(CallKind.QUERY) > 0
    assert len(list(limiter.rates())) == len(calls) + 3
