"""Submit: the intent before the POST, only while it is worth it, and never more than may be."""

import asyncio

import pytest

from service.core.job.events import CancelAsked, DeadlinePassed
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.job.transition_context import COMMIT_WAIT_SECONDS, INTENT_SECONDS
from service.core.provider.answers import Lost, NotSent, ProviderError, Refused
from service.core.shard.batches import Unknown
from service.pipeline.guards.account_hold import PROBE_SECONDS
from service.pipeline.guards.call_limiter import CallKind
from service.pipeline.submit import FORGET_SECONDS
from tests.fakes.clock import settle
from tests.fakes.provider import NO_CONNECTION, TIMEOUT
from tests.fakes.writer import Fault, Stage
from tests.unit.pipeline.world import (
    ARREARS,
    THROTTLED,
    Limits,
    World,
    job_of,
    journalled,
    ref,
    state,
    submission_of,
    urls,
)

LONG = 300.0
few_a_minute = pytest.mark.parametrize("limits", [Limits(submits_per_minute=12.0)])
few_a_minute_alone = pytest.mark.parametrize("limits", [Limits(submits_per_minute=12.0, files_per_task=1)])
one_place = pytest.mark.parametrize("limits", [Limits(posts=1)])


def posted(world: World) -> list[str]:
    """What was posted, as the file URLs of each call."""
    return [subject for kind, subject in world.provider.calls if kind == "submit"]


# The intent comes first (N2).


async def test_a_submit_is_posted_once_its_intent_is_durable(world: World) -> None:
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "r")
    await world.clock.sleep(1.0)
    assert posted(world) == []
    world.writers[0].guards.set()
    await settle()
    assert len(posted(world)) == 1
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended", "running"]
    assert job_of(shard).task_id == "task-1"


async def test_nothing_is_posted_before_the_intent_is_known_to_be_durable(world: World) -> None:
    shard = world.shard()
    world.writers[0].answers.extend([Unknown("no answer")] * 60)
    await world.take(shard, "r")
    await world.clock.sleep(50)
    assert posted(world) == []


@pytest.mark.parametrize("fault", list(Fault))
async def test_nothing_is_posted_when_the_broker_does_not_take_the_intent(world: World, fault: Fault) -> None:
    shard = world.shard()
    world.broker.break_at(Stage.RECORDS, fault, times=1000)
    await world.take(shard, "r")
    await world.clock.sleep(LONG)
    assert posted(world) == []


async def test_a_queued_submit_too_is_posted_only_once_its_intent_is_durable(world: World) -> None:
    shard = await world.accepted()
    world.run("submit")
    world.writers[0].guards.clear()
    await world.clock.sleep(1.1)
    assert (state(shard), posted(world)) == (SubmissionState.INTENDED, [])
    world.writers[0].guards.set()
    await settle()
    assert (state(shard), len(posted(world))) == (SubmissionState.RUNNING, 1)


async def test_accept_and_intent_share_a_batch_where_the_budget_allows(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "r")
    [accepted, *_] = world.writers[0].batches
    assert [record.key for record in accepted.records] == ["r/0.0", "s/1.1"]
    assert accepted.cursor is not None
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended", "running"]


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
async def test_what_finds_no_budget_is_accepted_and_waits(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "r")
    await world.clock.sleep(LONG)
    assert journalled(world.broker, "r/0/0") == ["accepted"]
    assert posted(world) == []
    world.serve(1.0)
    await world.clock.sleep(2)
    assert len(posted(world)) == 1


async def test_the_proof_is_asked_for_the_batch_that_holds_the_intent(world: World) -> None:
    """The receipt was once taken too late: that of a batch which might never come."""
    shard = world.shard(partition=3)
    await world.take(shard, "a")
    await world.take(shard, "b")
    journal = world.broker.journal(3)
    keys = [(partition, journal[offset].key) for partition, offset in world.fence.asked]
    assert keys == [(3, b"~cursor/1"), (3, b"~cursor/1")]
    for number, (_, offset) in enumerate(world.fence.asked, 1):
        intent = next(record for record in journal if record.key == f"s/1.{number}".encode())
        assert offset == intent.offset + 1


async def test_an_intent_that_is_queued_behind_a_batch_on_its_way_waits_for_its_own(world: World) -> None:
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "a")
    await world.take(shard, "b")
    world.writers[0].guards.set()
    world.broker.break_at(Stage.RECORDS, Fault.LOSE_ANSWER)
    await settle()
    assert posted(world) == []
    await world.clock.sleep(1.5)
    assert len(posted(world)) == 2


# What an intent is worth.


async def test_an_intent_that_no_fence_proves_is_not_posted_and_costs_no_attempt(world: World) -> None:
    world.fence.says = False
    shard = world.shard()
    await world.take(shard, "r")
    assert posted(world) == []
    assert (state(shard), job_of(shard).submit_attempts) == (SubmissionState.WAITING, 0)
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended", "waiting"]


async def test_a_fence_that_does_not_answer_in_time_proves_nothing(world: World) -> None:
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r")
    await world.clock.sleep(INTENT_SECONDS - 0.1)
    assert state(shard) is SubmissionState.INTENDED
    await world.clock.sleep(0.2)
    assert (state(shard), job_of(shard).submit_attempts) == (SubmissionState.WAITING, 0)
    world.fence.guards.set()
    await settle()
    assert posted(world) == []


async def test_what_was_not_sent_is_tried_again(world: World) -> None:
    world.run("submit")
    world.fence.says = False
    shard = world.shard()
    await world.take(shard, "r")
    world.fence.says = True
    await world.clock.sleep(2)
    assert len(posted(world)) == 1
    assert (state(shard), job_of(shard).submit_attempts) == (SubmissionState.RUNNING, 1)


SLEPT_SECONDS = INTENT_SECONDS + 0.5
"""Too long for a sealed intent; too short for an unsealed one to count as stale."""


@pytest.mark.parametrize("age_seconds", [INTENT_SECONDS - 0.5, INTENT_SECONDS + 0.1])
async def test_an_intent_is_posted_up_to_two_seconds_after_its_sealing(
    world: World, age_seconds: float
) -> None:
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "r")
    await world.clock.sleep(age_seconds)
    world.writers[0].guards.set()
    await settle()
    assert len(posted(world)) == (1 if age_seconds <= INTENT_SECONDS else 0)


async def test_an_intent_that_aged_while_the_machine_slept_is_not_posted(world: World) -> None:
    """The boot clock shows it, although the process has not noticed any time go by."""
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r")
    world.clock.suspend(SLEPT_SECONDS)
    world.clock.jump(-SLEPT_SECONDS)
    world.fence.guards.set()
    await settle()
    assert (posted(world), state(shard)) == ([], SubmissionState.WAITING)


async def test_an_intent_that_is_old_by_the_wall_clock_alone_is_not_posted(world: World) -> None:
    """Where there is no boot clock, a suspended machine shows on the wall clock."""
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r")
    world.clock.jump(SLEPT_SECONDS)
    world.fence.guards.set()
    await settle()
    assert (posted(world), state(shard)) == ([], SubmissionState.WAITING)


async def test_a_receipt_that_came_late_is_as_old_as_its_sealing(world: World) -> None:
    """A batch that froze on its way is acknowledged in the end, after another may have taken over."""
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "r")
    world.clock.suspend(60)
    world.writers[0].guards.set()
    await settle()
    assert (posted(world), state(shard)) == ([], SubmissionState.WAITING)


async def test_nothing_is_posted_for_a_shard_that_was_closed_before_its_batch_came_back(world: World) -> None:
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "r")
    shard.close()
    world.writers[0].guards.set()
    await world.clock.sleep(LONG)
    assert posted(world) == []
    assert world.spawn.named("submit") == []


async def test_nothing_is_posted_for_a_shard_that_was_closed_while_the_proof_was_out(world: World) -> None:
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r")
    shard.close()
    world.fence.guards.set()
    await settle()
    assert posted(world) == []


async def test_nothing_is_posted_for_a_shard_that_is_being_given_back(world: World) -> None:
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r")
    shard.takes_work = False
    world.fence.guards.set()
    await settle()
    assert posted(world) == []
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended", "waiting"]


async def test_a_shard_that_is_given_back_before_its_receipt_came_asks_for_no_proof(world: World) -> None:
    """The shard is given back only once its POSTs that have not left are known as not sent."""
    world.fence.guards.clear()
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "r")
    shard.takes_work = False
    world.writers[0].guards.set()
    await settle()
    assert world.fence.asked == []
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended", "waiting"]


async def test_no_intent_is_begun_on_a_shard_that_is_being_given_back(world: World) -> None:
    world.run("submit")
    shard = await world.accepted()
    shard.takes_work = False
    await world.clock.sleep(LONG)
    assert (state(shard), journalled(world.broker, "r/0/0")) == (SubmissionState.WAITING, ["accepted"])


@few_a_minute
async def test_a_job_that_waited_for_budget_is_not_begun_on_a_shard_given_back_meanwhile(
    world: World,
) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "a", "b")
    await settle()
    shard.takes_work = False
    await world.clock.sleep(LONG)
    assert state(shard, "b") is SubmissionState.WAITING
    assert len(posted(world)) == 1


# What becomes of the answer.


async def test_jobs_that_share_a_post_are_intended_at_one_moment_with_the_vendors_clock(world: World) -> None:
    world.provider.submit_gate.clear()
    world.provider.offset_ms = -7
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls("a", "b"))
    [intent] = {submission_of(shard, index=index).intent for index in (0, 1)}
    assert intent is not None
    assert (intent.intended_ms, intent.files, intent.vendor_offset_ms) == (world.clock.now_ms(), 2, -7)


@pytest.mark.parametrize("is_by_the_wall_clock", [True, False])
async def test_an_intent_that_was_sealed_late_is_not_posted(world: World, is_by_the_wall_clock: bool) -> None:
    """A later owner looks for the task from the intent on, and would not find one made much later."""
    shard = world.shard()
    world.writers[0].guards.clear()
    shard.rewrite(["r/0.7"])
    await settle()
    await world.take(shard, "r")
    seconds = COMMIT_WAIT_SECONDS + INTENT_SECONDS
    (world.clock.jump if is_by_the_wall_clock else world.clock.suspend)(seconds + 0.1)
    world.writers[0].guards.set()
    await settle()
    assert posted(world) == []
    assert state(shard) is SubmissionState.WAITING


async def test_an_answer_for_a_closed_shard_is_dropped(world: World) -> None:
    world.provider.submit_gate.clear()
    shard = world.shard()
    await world.take(shard, "r")
    shard.close()
    world.provider.submit_gate.set()
    await settle()
    assert state(shard) is SubmissionState.INTENDED
    assert journalled(world.broker, "r/0/0") == ["accepted", "intended"]


async def test_no_connection_costs_no_attempt(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.extend([NotSent(NO_CONNECTION)] * 5)
    shard = world.shard()
    await world.take(shard, "r")
    await world.clock.sleep(30)
    assert len(posted(world)) == 6
    assert job_of(shard).submit_attempts == 1


async def test_a_throttled_submit_halves_the_budget_of_its_model(world: World) -> None:
    world.provider.next_submits.append(Refused(THROTTLED))
    shard = world.shard()
    await world.take(shard, "r")
    rate = world.rate(CallKind.SUBMIT, "fun-asr")
    assert rate.rate_per_second == pytest.approx(rate.share_per_second / 2)
    assert state(shard) is SubmissionState.WAITING
    world.limiter.wait_seconds(CallKind.SUBMIT, "fun-asr-mtl")
    other = world.rate(CallKind.SUBMIT, "fun-asr-mtl")
    assert other.rate_per_second == other.share_per_second


async def test_a_refusal_for_the_request_fails_its_job(world: World) -> None:
    world.provider.next_submits.append(Refused(ProviderError("InvalidParameter", "x", 400)))
    shard = world.shard()
    await world.take(shard, "r")
    await settle()
    assert world.seen.ends() == {"r/0/0": "submit_rejected"}


# Files that share a task.


async def test_the_files_of_a_request_share_a_post(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls("a", "b", "c"))
    assert [task.file_urls for task in world.provider.submits] == [tuple(urls("a", "b", "c"))]
    assert [job_of(shard, index=index).task_id for index in range(3)] == ["task-1"] * 3
    assert [job_of(shard, index=index).task_files for index in range(3)] == [3] * 3


async def test_the_same_url_twice_goes_into_two_posts(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls("a", "a", "b"))
    assert [task.file_urls for task in world.provider.submits] == [tuple(urls("a", "b")), tuple(urls("a"))]


async def test_files_of_two_requests_never_share_a_post(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "r", "s")
    assert len(posted(world)) == 2


@few_a_minute
async def test_queued_siblings_share_a_post_and_one_budget(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "first")
    await world.take(shard, "r", file_urls=urls("a", "b", "c"))
    await world.clock.sleep(11)
    assert posted(world)[1:] == [" ".join(map(str, urls("a", "b", "c")))]


async def test_a_file_that_is_cancelled_while_its_intent_is_on_its_way_is_not_posted(world: World) -> None:
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls("a", "b", "c"))
    await world.clock.sleep(1)
    shard.on_job(ref(shard, index=1), CancelAsked())
    world.fence.guards.set()
    await settle()
    assert posted(world) == [], "a POST sends exactly its intent's files"
    assert world.seen.ends() == {"r/0/1": "cancelled"}
    world.run("submit")
    await world.clock.sleep(2)
    assert world.provider.count("cancel") == 0, "there is no task yet"
    assert [task.file_urls for task in world.provider.submits] == [tuple(urls("a", "c"))]
    assert [job_of(shard, index=index).task_files for index in (0, 2)] == [2, 2]


async def test_a_request_that_is_cancelled_while_its_intent_is_on_its_way_is_not_posted(world: World) -> None:
    world.fence.guards.clear()
    shard = world.shard()
    await world.take(shard, "r")
    await world.take(shard, "r", action="cancel")
    world.fence.guards.set()
    await settle()
    assert posted(world) == []
    assert world.seen.ends() == {"r/0/0": "cancelled"}


async def test_a_request_that_is_cancelled_while_its_post_is_out_drops_its_task(world: World) -> None:
    world.provider.submit_gate.clear()
    shard = world.shard()
    await world.take(shard, "r")
    await world.clock.sleep(1)
    await world.take(shard, "r", action="cancel")
    world.provider.submit_gate.set()
    await settle()
    assert world.provider.calls[-1] == ("cancel", "task-1")
    assert world.seen.ends() == {"r/0/0": "cancelled"}


@few_a_minute
async def test_a_file_that_is_cancelled_in_the_queue_is_left_out(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "first")
    await world.take(shard, "r", file_urls=urls("a", "b"))
    shard.on_job(ref(shard), CancelAsked())
    await world.clock.sleep(11)
    assert posted(world)[1:] == [urls("b")[0]]


async def test_a_job_whose_deadline_passes_before_its_intent_is_not_posted(world: World) -> None:
    await world.accepted(ttl_seconds=1)
    world.clock.suspend(2)
    world.run("submit", "expire")
    await world.clock.sleep(3)
    assert posted(world) == []
    assert world.seen.ends() == {"r/0/0": "deadline_exceeded"}


async def test_a_job_that_ended_while_its_batch_hangs_is_left_alone(world: World) -> None:
    shard = await world.accepted(ttl_seconds=1)
    world.clock.suspend(2)
    world.run("submit")
    world.writers[0].guards.clear()
    await world.clock.sleep(2 * COMMIT_WAIT_SECONDS)
    assert state(shard) is JobState.FINISHING
    world.writers[0].guards.set()
    await settle()
    assert world.seen.ends() == {"r/0/0": "deadline_exceeded"}


async def test_a_job_that_ended_while_it_was_queued_is_passed_over(world: World) -> None:
    shard = await world.accepted(ttl_seconds=60)
    world.clock.jump(4 * 3600)
    shard.on_job(ref(shard), DeadlinePassed())
    world.run("submit")
    await world.clock.sleep(5)
    assert (posted(world), state(shard)) == ([], None)


# Budgets and places.


@few_a_minute
async def test_submits_keep_to_the_budget(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, *(f"r{number}" for number in range(20)))
    await world.clock.sleep(59)
    assert 5 <= len(posted(world)) <= 7
    await world.clock.sleep(LONG)
    assert len(posted(world)) == 20


@few_a_minute_alone
async def test_jobs_go_in_the_order_of_their_coming(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    for number in range(5):
        await world.take(shard, f"r{number}", file_urls=urls(f"file{number}"))
        await world.clock.sleep(1)
    await world.clock.sleep(60)
    assert posted(world) == [urls(f"file{number}")[0] for number in range(5)]


@pytest.mark.parametrize("limits", [Limits(submits_per_minute=120.0, files_per_task=1)])
async def test_requests_of_many_files_do_not_hold_up_those_of_one(world: World) -> None:
    world.run("submit")
    shard, other = world.shard(), world.shard(1)
    for name in ("large", "larger"):
        await world.take(shard, name, file_urls=urls(*(f"{name}{number}" for number in range(50))))
    await world.clock.sleep(5)
    before = len(posted(world))
    await world.take(shard, "a", file_urls=urls("a"))
    await world.take(other, "b", file_urls=urls("b"))
    await world.clock.sleep(10)
    later = posted(world)[before:]
    assert {str(url) for url in urls("a", "b")} <= set(later[:6])
    # The others have their turns too.
    assert {name.rstrip("0123456789") for name in map(_name_of, later)} == {"a", "b", "large", "larger"}


def _name_of(url: str) -> str:
    return url.rsplit("/", 1)[1].removesuffix(".wav")


@few_a_minute_alone
async def test_a_fresh_job_does_not_overtake_one_that_waits(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "a", file_urls=urls("a"))
    await world.take(shard, "b", file_urls=urls("b"))
    world.clock.suspend(10)
    await world.take(shard, "c", file_urls=urls("c"))
    await world.clock.sleep(30)
    assert posted(world) == [urls(name)[0] for name in "abc"]


@few_a_minute
async def test_a_model_without_budget_holds_up_no_other(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "a", "b", "c", file_urls=urls("slow"))
    await world.clock.sleep(1)
    await world.take(shard, "d", model="fun-asr-mtl", file_urls=urls("other"))
    await world.take(shard, "e", model="fun-asr-2025-11-07", file_urls=urls("third"))
    await world.clock.sleep(11)
    assert set(posted(world)) == {str(url) for url in urls("slow", "other", "third")}


@few_a_minute
async def test_a_queue_without_budget_holds_up_no_other_queue(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    await world.take(shard, "a", "b", "c", file_urls=urls("slow"))
    await world.take(shard, "other", model="fun-asr-mtl", file_urls=urls("other"))
    await world.clock.sleep(2)
    assert posted(world) == [str(urls("slow")[0]), str(urls("other")[0])]


@one_place
async def test_no_more_posts_are_out_than_there_are_places(world: World) -> None:
    world.run("submit")
    world.provider.submit_gate.clear()
    shard = world.shard()
    await world.take(shard, "a", "b", "c")
    await world.clock.sleep(LONG)
    assert len(posted(world)) == 1
    world.provider.submit_gate.set()
    await settle()
    assert len(posted(world)) == 3


@one_place
async def test_a_place_that_is_free_again_is_used_at_once(world: World) -> None:
    world.run("submit")
    world.provider.submit_gate.clear()
    shard = world.shard()
    await world.take(shard, "a", "b")
    await world.clock.sleep(0.3)
    began = world.clock.boot_seconds()
    world.provider.submit_gate.set()
    await settle()
    assert len(posted(world)) == 2
    assert world.clock.boot_seconds() - began < 0.01


@one_place
async def test_models_take_turns_where_places_are_short(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.provider.submit_gate.clear()
    await world.take(shard, "a0", "a1", "a2", file_urls=urls("a"))
    await world.take(shard, "b0", "b1", model="fun-asr-mtl", file_urls=urls("b"))
    await world.clock.sleep(2)
    for _ in range(5):
        world.provider.submit_gate.set()
        await asyncio.sleep(0)
        world.provider.submit_gate.clear()
        await settle()
    assert sorted(posted(world)[1:3]) == [str(url) for url in urls("a", "b")]


@one_place
async def test_a_shard_whose_batch_hangs_gives_its_place_back(world: World) -> None:
    world.run("submit")
    stuck, healthy = world.shard(0), world.shard(1)
    world.writers[0].guards.clear()
    await world.take(stuck, "a")
    await world.take(healthy, "b", file_urls=urls("b"))
    await world.clock.sleep(COMMIT_WAIT_SECONDS + 0.5)
    assert posted(world) == [urls("b")[0]]


async def test_no_intent_is_begun_on_a_shard_that_cannot_write(world: World) -> None:
    world.run("submit")
    shard = world.shard()
    world.writers[0].guards.clear()
    await world.take(shard, "a")
    await world.clock.sleep(20)
    await world.take(shard, "b")
    await world.clock.sleep(20)
    assert [state(shard, each) for each in "ab"] == [SubmissionState.WAITING, SubmissionState.WAITING]
    assert posted(world) == []
    world.writers[0].guards.set()
    await world.clock.sleep(5)
    assert [state(shard, each) for each in "ab"] == [SubmissionState.RUNNING, SubmissionState.RUNNING]
    assert len(posted(world)) == 2


@few_a_minute
async def test_a_job_that_waited_for_budget_is_not_begun_while_its_shard_cannot_write(world: World) -> None:
    world.run("submit")
    stuck, healthy = world.shard(0), world.shard(1)
    await world.take(stuck, "a", "b", file_urls=urls("stuck"))
    await world.clock.sleep(1)
    world.writers[0].guards.clear()
    await world.take(stuck, "c")
    await world.take(healthy, "d", file_urls=urls("healthy"))
    await world.clock.sleep(30)
    assert posted(world) == [str(url) for url in urls("stuck", "healthy")]
    assert state(stuck, "b") is SubmissionState.WAITING
    world.writers[0].guards.set()
    await world.clock.sleep(30)
    assert state(stuck, "b") is SubmissionState.RUNNING


# The hold.


async def test_during_a_hold_jobs_are_kept_and_nothing_else_is_submitted(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.append(ARREARS)
    shard = world.shard()
    await world.take(shard, "a")
    await world.take(shard, "b", "c")
    await world.clock.sleep(PROBE_SECONDS - 1)
    assert len(posted(world)) == 1
    assert [state(shard, each) for each in "abc"] == [SubmissionState.WAITING] * 3
    assert job_of(shard, "a").submit_attempts == 0
    assert world.seen.holds == ["Arrearage"]


async def test_a_hold_is_probed_once_in_half_a_minute(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.extend([ARREARS] * 1000)
    shard = world.shard()
    for number in range(50):
        await world.take(shard, f"r{number}")
    await world.clock.sleep(10 * PROBE_SECONDS + 5)
    assert len(posted(world)) == 11
    assert {state(shard, f"r{number}") for number in range(50)} == {SubmissionState.WAITING}


async def test_a_probe_that_never_arrived_is_followed_by_others_ever_more_slowly(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.extend([ARREARS, *[NotSent(NO_CONNECTION)] * 1000])
    shard = world.shard()
    await world.take(shard, "a", "b", "c")
    await world.clock.sleep(PROBE_SECONDS + 5)
    assert len(posted(world)) == 2
    await world.clock.sleep(9 * PROBE_SECONDS)
    assert 5 <= len(posted(world)) < 11
    assert world.hold.is_active


async def test_a_lost_probe_does_not_end_the_hold(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.extend([ARREARS, Lost(TIMEOUT)])
    shard = world.shard()
    await world.take(shard, "a", "b")
    await world.clock.sleep(PROBE_SECONDS + 1)
    assert (len(posted(world)), world.hold.is_active) == (2, True)


async def test_a_probe_that_goes_through_ends_the_hold_for_all(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.append(ARREARS)
    shard = world.shard()
    for number in range(20):
        await world.take(shard, f"r{number}")
    await world.clock.sleep(PROBE_SECONDS + 1)
    assert len(posted(world)) == 21
    assert world.seen.holds == ["Arrearage", None]
    assert {state(shard, f"r{number}") for number in range(20)} == {SubmissionState.RUNNING}


async def test_a_hold_begins_for_every_model(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.append(ARREARS)
    shard = world.shard()
    await world.take(shard, "a")
    await world.take(shard, "b", model="fun-asr-mtl")
    await world.clock.sleep(PROBE_SECONDS - 1)
    assert len(posted(world)) == 1


async def test_a_submit_that_waited_for_budget_when_the_hold_began_waits_on(world: World) -> None:
    world.run("submit")
    world.provider.submit_gate.clear()
    world.provider.next_submits.append(ARREARS)
    shard = world.shard()
    await world.take(shard, "a")
    world.serve(0.0)
    await world.take(shard, "b")
    await world.clock.sleep(1)
    world.provider.submit_gate.set()
    world.serve(1.0)
    await world.clock.sleep(PROBE_SECONDS - 2)
    assert (len(posted(world)), world.hold.is_active) == (1, True)


async def test_an_intent_on_its_way_when_the_hold_began_is_not_posted(world: World) -> None:
    world.provider.submit_gate.clear()
    world.provider.next_submits.append(ARREARS)
    shard = world.shard()
    await world.take(shard, "a")
    world.fence.guards.clear()
    await world.take(shard, "b")
    world.provider.submit_gate.set()
    await settle()
    world.fence.guards.set()
    await settle()
    assert len(posted(world)) == 1
    assert (state(shard, "b"), job_of(shard, "b").submit_attempts) == (SubmissionState.WAITING, 0)


async def test_a_probe_of_many_files_leaves_no_more_in_the_queue_than_there_are_jobs(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.extend([ARREARS] * 1000)
    shard = world.shard()
    await world.take(shard, "r", file_urls=urls(*(f"f{number}" for number in range(100))))
    await world.clock.sleep(20 * PROBE_SECONDS + 5)
    assert len(posted(world)) == 21
    assert waiting(world) <= 100


async def test_a_hold_does_not_keep_shards_that_went_meanwhile(world: World) -> None:
    world.run("submit")
    world.provider.next_submits.append(ARREARS)
    shard = world.shard()
    await world.take(shard, "a", "b", "c")
    await world.clock.sleep(2)
    assert waiting(world) == 3
    shard.close()
    await world.clock.sleep(FORGET_SECONDS + 2)
    assert waiting(world) == 0


def waiting(world: World) -> int:
    """How many entries the submit stage keeps."""
    stage = world.submit
    return len(stage._due) + sum(map(len, stage._ready.values()))
