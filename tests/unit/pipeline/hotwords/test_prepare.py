"""Vocabulary: no submit without its list, one list for all, and only what is ours is changed."""

import pytest
from pydantic import JsonValue

from service.contract.outcome import Failure
from service.core.job.events import CancelAsked
from service.core.job.submission import SubmissionState
from service.core.provider.answers import ProviderError, Refused
from service.core.provider.hotword_lists import HotwordListEntry, Need
from service.errors import FailureCode
from service.pipeline.hotwords import prepare
from service.pipeline.hotwords.prepare import BELIEVED_SECONDS
from tests.fakes.clock import settle
from tests.fakes.vocabularies import FULL
from tests.unit.pipeline.world import World, ref, state

WORDS: JsonValue = [{"text": "etcd", "language": "en"}, {"text": "Kafka"}]
NEED = Need("fun-asr", words=(HotwordListEntry("etcd", 4, "en"), HotwordListEntry("Kafka")))
HOTWORDS: JsonValue = {"hotwords": WORDS}
MINUTES = 60.0
DOWN = ProviderError("timeout", "no answer")
NO_KEY = ProviderError("InvalidApiKey", "no such key", 401)


@pytest.fixture
async def running(world: World) -> World:
    world.run("submit", "vocabulary")
    return world


def sent(world: World) -> list[JsonValue]:
    """The options of every submit."""
    return [dict(task.options) for task in world.provider.submits]


def failure(world: World) -> Failure:
    [outcome] = world.seen.outcomes
    assert isinstance(outcome.body, Failure)
    return outcome.body


async def test_a_submit_goes_out_with_a_list_that_was_made_for_it(running: World) -> None:
    await running.take(running.shard(), "r", options={"hotwords": WORDS, "channel_id": [0]})
    [vocabulary_id] = running.vocabularies.lists
    assert vocabulary_id.startswith(f"vocab-{NEED.prefix}-")
    assert sent(running) == [{"channel_id": [0], "vocabulary_id": vocabulary_id}]
    _, made = running.vocabularies.lists[vocabulary_id]
    assert (made.target_model, made.words) == ("fun-asr", NEED.words)


async def test_many_jobs_with_the_same_hotwords_share_one_lookup(running: World) -> None:
    shard = running.shard()
    running.vocabularies.guards.clear()
    await running.take(shard, "a", "b", options=HOTWORDS)
    assert sent(running) == []
    assert {state(shard, each) for each in "ab"} == {SubmissionState.WAITING}
    running.vocabularies.guards.set()
    await settle()
    await running.take(
        shard, "c", options={"hotwords": [*reversed(WORDS)] if isinstance(WORDS, list) else WORDS}
    )
    assert len(sent(running)) == 3
    assert running.vocabularies.count("create") == 1


async def test_a_list_that_another_replica_made_is_found_by_its_name(running: World) -> None:
    there = running.vocabularies.add("fun-asr", NEED.prefix, NEED.words, age_hours=3)
    await running.take(running.shard(), "r", options=HOTWORDS)
    assert sent(running) == [{"vocabulary_id": there}]
    assert [action for action, _ in running.vocabularies.calls] == ["list", "query"]


async def test_of_a_double_creation_the_later_is_dropped_before_it_is_used(running: World) -> None:
    lists = running.vocabularies
    lists.before_create = lambda: lists.add("fun-asr", NEED.prefix, NEED.words, age_hours=0.1)
    await running.take(running.shard(), "r", options=HOTWORDS)
    [first] = lists.lists
    assert lists.made == 2
    assert sent(running) == [{"vocabulary_id": first}]


async def test_a_list_that_the_directory_does_not_show_yet_is_used_all_the_same(running: World) -> None:
    running.vocabularies.hides = True
    await running.take(running.shard(), "r", options=HOTWORDS)
    [vocabulary_id] = running.vocabularies.lists
    assert sent(running) == [{"vocabulary_id": vocabulary_id}]


@pytest.mark.parametrize(("age_hours", "touched"), [(23.5, 0), (24.5, 1), (300, 1)])
async def test_a_use_touches_what_was_not_touched_for_a_day(
    running: World, age_hours: float, touched: int
) -> None:
    running.vocabularies.add("fun-asr", NEED.prefix, NEED.words, age_hours=age_hours)
    await running.take(running.shard(), "r", options=HOTWORDS)
    assert running.vocabularies.count("update") == touched
    assert len(sent(running)) == 1


async def test_a_list_is_believed_for_an_hour_and_then_looked_at_again(running: World) -> None:
    shard = running.shard()
    await running.take(shard, "a", options=HOTWORDS)
    [first] = running.vocabularies.lists
    await running.clock.sleep(BELIEVED_SECONDS - 10)
    calls = len(running.vocabularies.calls)
    await running.take(shard, "b", options=HOTWORDS)
    assert len(running.vocabularies.calls) == calls
    del running.vocabularies.lists[first]
    await running.clock.sleep(20)
    await running.take(shard, "c", options=HOTWORDS)
    [second] = running.vocabularies.lists
    assert sent(running) == [{"vocabulary_id": first}] * 2 + [{"vocabulary_id": second}]


async def test_a_list_that_was_deleted_just_before_its_use_is_made_again(running: World) -> None:
    lists = running.vocabularies
    gone = lists.add("fun-asr", NEED.prefix, NEED.words, age_hours=50)
    lists.hides = False
    await lists.list_page(0)
    lists.hides = True
    del lists.lists[gone]
    await running.take(running.shard(), "r", options=HOTWORDS)
    assert sent(running) == []
    lists.hides = False
    await running.clock.sleep(MINUTES)
    [made] = lists.lists
    assert sent(running) == [{"vocabulary_id": made}]


# The account's places.


async def test_a_full_account_makes_room_by_what_is_ours_and_unused(running: World) -> None:
    lists = running.vocabularies
    foreign = [lists.add("fun-asr", "demo", age_hours=900) for _ in range(7)]
    fresh = lists.add("fun-asr", "sc00000001", age_hours=47)
    old = [Need("fun-asr", words=(HotwordListEntry(f"old {n}"),)) for n in (2, 3)]
    stale = [lists.add("fun-asr", need.prefix, need.words, age_hours=50 + n) for n, need in enumerate(old)]
    await running.take(running.shard(), "r", options=HOTWORDS)
    await running.clock.sleep(MINUTES)
    [submitted] = sent(running)
    assert isinstance(submitted, dict)
    assert set(lists.lists) == {*foreign, fresh, stale[0], submitted["vocabulary_id"]}
    assert [vocabulary_id for action, vocabulary_id in lists.calls if action == "delete"] == [stale[1]]


async def test_without_a_place_the_job_waits_and_then_fails_with_advice(running: World) -> None:
    lists = running.vocabularies
    for number in range(10):
        lists.add("fun-asr", "demo" if number % 2 else f"sc0000000{number}", age_hours=47)
    shard = running.shard()
    await running.take(shard, "r", options=HOTWORDS)
    await running.clock.sleep(2 * MINUTES)
    assert state(shard) is SubmissionState.WAITING
    await running.clock.sleep(30 * MINUTES)
    assert failure(running).code is FailureCode.VOCABULARY_QUOTA
    assert failure(running).retryable
    assert lists.count("delete") == 0
    assert sent(running) == []


async def test_a_place_that_comes_free_meanwhile_is_taken(running: World) -> None:
    running.vocabularies.provider_errors.extend([FULL] * 3)
    # The first and every second call is the directory's: it is asked for before each attempt.
    await running.take(running.shard(), "r", options=HOTWORDS)
    await running.clock.sleep(10 * MINUTES)
    assert len(sent(running)) == 1


# A list of another model has no effect, and nothing says so.


async def test_a_list_made_for_another_model_is_refused(running: World) -> None:
    other = running.vocabularies.add("fun-asr-mtl", "mine")
    await running.take(running.shard(), "r", options={"vocabulary_id": other})
    assert failure(running).code is FailureCode.VOCABULARY_UNUSABLE
    assert failure(running).message == f"hotword list {other} was made for fun-asr-mtl, not for fun-asr"
    assert sent(running) == []


async def test_a_list_of_ours_with_another_model_is_not_used_either(running: World) -> None:
    running.vocabularies.add("fun-asr-mtl", NEED.prefix, NEED.words)
    await running.take(running.shard(), "r", options=HOTWORDS)
    assert failure(running).code is FailureCode.VOCABULARY_UNUSABLE
    assert sent(running) == []


async def test_a_users_own_hotword_list_is_checked_and_sent_and_never_changed(running: World) -> None:
    mine = running.vocabularies.add("fun-asr", "mine", age_hours=500)
    shard = running.shard()
    await running.take(shard, "a", "b", options={"vocabulary_id": mine})
    assert sent(running) == [{"vocabulary_id": mine}] * 2
    assert running.vocabularies.calls == [("query", mine)]


async def test_an_unknown_hotword_list_is_refused(running: World) -> None:
    await running.take(running.shard(), "r", options={"vocabulary_id": "vocab-mine-1"})
    assert failure(running).code is FailureCode.VOCABULARY_UNUSABLE


async def test_a_list_that_is_not_ready_is_waited_for_and_not_for_ever(running: World) -> None:
    mine = running.vocabularies.add("fun-asr", "mine", is_ready=False)
    shard = running.shard()
    await running.take(shard, "r", options={"vocabulary_id": mine})
    await running.clock.sleep(2 * MINUTES)
    assert state(shard) is SubmissionState.WAITING
    await running.clock.sleep(30 * MINUTES)
    assert failure(running).code is FailureCode.VOCABULARY_UNUSABLE


# Trouble on the way.


@pytest.mark.parametrize(
    "provider_error",
    [DOWN, ProviderError("InternalError", "oops", 500), ProviderError("Throttling", "", 429)],
)
async def test_an_error_that_passes_is_waited_out(running: World, provider_error: ProviderError) -> None:
    running.vocabularies.provider_errors.extend([provider_error] * 15)
    await running.take(running.shard(), "r", options=HOTWORDS)
    await running.clock.sleep(60 * MINUTES)
    assert len(sent(running)) == 1


async def test_a_create_whose_answer_was_lost_is_found_by_its_name(running: World) -> None:
    lists = running.vocabularies

    def lose_the_answer() -> None:
        lists.add("fun-asr", NEED.prefix, NEED.words)
        lists.provider_errors.append(DOWN)

    lists.before_create = lose_the_answer
    await running.take(running.shard(), "r", options=HOTWORDS)
    await running.clock.sleep(MINUTES)
    [there] = lists.lists
    assert sent(running) == [{"vocabulary_id": there}]
    assert lists.count("create") == 1


async def test_a_dead_key_holds_and_the_job_is_kept(running: World) -> None:
    running.vocabularies.provider_errors.extend([NO_KEY] * 3)
    shard = running.shard()
    await running.take(shard, "r", options=HOTWORDS)
    await running.clock.sleep(20)
    assert running.seen.holds == ["InvalidApiKey"]
    assert state(shard) is SubmissionState.WAITING
    assert len(running.vocabularies.calls) == 1
    await running.clock.sleep(10 * MINUTES)
    assert running.seen.holds == ["InvalidApiKey", None]
    assert len(sent(running)) == 1


async def test_a_refusal_of_the_words_fails_the_job(running: World) -> None:
    running.vocabularies.provider_errors.append(ProviderError("InvalidParameter", "bad word", 400))
    await running.take(running.shard(), "r", options=HOTWORDS)
    assert failure(running).code is FailureCode.SUBMIT_REJECTED


async def test_a_job_that_is_cancelled_meanwhile_is_not_submitted(running: World) -> None:
    shard = running.shard()
    running.vocabularies.guards.clear()
    await running.take(shard, "r", options=HOTWORDS)
    shard.on_job(ref(shard), CancelAsked())
    await settle()
    running.vocabularies.guards.set()
    await settle()
    assert failure(running).code is FailureCode.CANCELLED
    assert sent(running) == []


async def test_a_refusal_that_comes_late_changes_nothing(running: World) -> None:
    shard = running.shard()
    running.vocabularies.guards.clear()
    await running.take(shard, "r", options={"vocabulary_id": "vocab-mine-1"})
    shard.on_job(ref(shard), CancelAsked())
    running.vocabularies.guards.set()
    await settle()
    assert failure(running).code is FailureCode.CANCELLED


async def test_no_job_of_a_closed_shard_waits_for_its_hotword_list(running: World) -> None:
    shard = running.shard()
    running.vocabularies.provider_errors.extend([DOWN] * 100)
    await running.take(shard, "r", options=HOTWORDS)
    shard.close()
    calls = len(running.vocabularies.calls)
    await running.clock.sleep(30 * MINUTES)
    assert len(running.vocabularies.calls) <= calls + 1


async def test_what_is_remembered_is_bounded(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "MAX_REMEMBERED", 3)
    shard = running.shard()
    mine = [running.vocabularies.add("fun-asr", "mine") for _ in range(4)]
    for number, vocabulary_id in enumerate(mine):
        await running.take(shard, f"r{number}", options={"vocabulary_id": vocabulary_id})
    calls = len(running.vocabularies.calls)
    await running.take(shard, "last", options={"vocabulary_id": mine[-1]})
    assert len(running.vocabularies.calls) == calls
    await running.take(shard, "first", options={"vocabulary_id": mine[0]})
    assert len(running.vocabularies.calls) == calls + 1


async def test_temporary_errors_do_not_count_towards_those_that_end_a_job(running: World) -> None:
    lists = running.vocabularies
    lists.provider_errors.extend([DOWN] * 30)
    for _ in range(10):
        lists.add("fun-asr", "demo")
    shard = running.shard()
    await running.take(shard, "r", options=HOTWORDS)
    await running.clock.sleep(16 * MINUTES)
    assert state(shard) is SubmissionState.WAITING
    await running.clock.sleep(60 * MINUTES)
    assert failure(running).code is FailureCode.VOCABULARY_QUOTA


async def test_who_joins_late_waits_as_long_as_the_others(running: World) -> None:
    for _ in range(10):
        running.vocabularies.add("fun-asr", "demo")
    shard = running.shard()
    await running.take(shard, "early", options=HOTWORDS)
    await running.clock.sleep(6 * MINUTES)
    await running.take(shard, "late", options=HOTWORDS)
    for _ in range(200):
        if "early/0/0" in running.seen.ends():
            break
        await running.clock.sleep(10)
    assert state(shard, "late") is SubmissionState.WAITING
    await running.clock.sleep(30 * MINUTES)
    assert running.seen.ends() == dict.fromkeys(("early/0/0", "late/0/0"), "vocabulary_quota")


@pytest.mark.parametrize(
    "code", ["Workspace.AccessDenied", "AccessDenied.Unpurchased", "CommodityNotPurchased"]
)
async def test_an_account_without_hotwords_delays_no_other_job(running: World, code: str) -> None:
    running.vocabularies.provider_errors.extend([ProviderError(code, "no hotwords here", 403)] * 100)
    shard = running.shard()
    await running.take(shard, "r", options=HOTWORDS)
    await running.take(shard, "plain")
    assert len(sent(running)) == 1
    await running.clock.sleep(40 * MINUTES)
    assert running.seen.holds == []
    assert failure(running).code is FailureCode.VOCABULARY_UNUSABLE


async def test_a_list_that_only_looks_like_ours_is_not_deleted(running: World) -> None:
    lists, old = running.vocabularies, Need("fun-asr", words=(HotwordListEntry("old"),))
    theirs = [lists.add("fun-asr", "scheduling", NEED.words, age_hours=900 + n) for n in range(9)]
    ours = lists.add("fun-asr", old.prefix, old.words, age_hours=60)
    await running.take(running.shard(), "r", options=HOTWORDS)
    await running.clock.sleep(MINUTES)
    assert set(theirs) < set(lists.lists)
    assert ours not in lists.lists
    assert len(sent(running)) == 1


async def test_a_job_that_waited_long_has_its_hotword_list_checked_again(running: World) -> None:
    shard = running.shard()
    mine = running.vocabularies.add("fun-asr", "mine")
    running.provider.next_submits.append(Refused(NO_KEY))
    await running.take(shard, "plain")
    await running.take(shard, "r", options={"vocabulary_id": mine})
    running.provider.next_submits.extend([Refused(NO_KEY)] * 300)
    del running.vocabularies.lists[mine]
    await running.clock.sleep(2 * BELIEVED_SECONDS)
    assert running.seen.ends() == {"r/0/0": "vocabulary_unusable"}
    assert all("vocabulary_id" not in task.options for task in running.provider.submits)


async def test_a_job_that_waited_long_for_budget_has_its_hotword_list_checked_again(running: World) -> None:
    shard = running.shard()
    mine = running.vocabularies.add("fun-asr", "mine")
    running.serve(0.0)
    await running.take(shard, "r", options={"vocabulary_id": mine})
    await running.clock.sleep(MINUTES)
    del running.vocabularies.lists[mine]
    await running.clock.sleep(2 * BELIEVED_SECONDS)
    running.serve(1.0)
    await running.clock.sleep(MINUTES)
    assert running.provider.submits == []
    assert running.seen.ends() == {"r/0/0": "vocabulary_unusable"}


async def test_nothing_is_made_for_a_job_that_has_ended(running: World) -> None:
    shard = running.shard()
    running.vocabularies.provider_errors.extend([DOWN] * 2)
    await running.take(shard, "r", options=HOTWORDS)
    shard.on_job(ref(shard), CancelAsked())
    await running.clock.sleep(30 * MINUTES)
    assert running.vocabularies.count("create") == 0
    assert len(running.vocabularies.calls) <= 2
