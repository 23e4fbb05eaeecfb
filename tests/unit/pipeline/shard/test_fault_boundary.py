"""Faults of our own, injected at each boundary: one record, job or answer pays, and the next goes on."""

import asyncio
from collections.abc import Callable

import pytest
from pydantic import JsonValue

from service.contract.outcome import Failure
from service.contract.request_decoder import read_request
from service.core.job.events import CancelAsked, HandlingFailed, Posted
from service.core.job.identity import SubmissionKey
from service.core.job.submission import SubmissionState
from service.core.outcome import build
from service.core.provider.answers import TaskStatus
from service.core.reconciliation.candidates import Candidates
from service.core.reconciliation.task_listing import TaskListing
from service.core.shard import admission, decisions, finishing
from service.core.shard.admission import AdmissionKind, admit
from service.core.shard.shard import Shard
from service.errors import FailureCode
from service.observability.provider_instrumentation import InstrumentedProvider
from service.pipeline import accept, collect, post, reconcile, submit
from service.pipeline.assignment.assigned_partition import PartitionState
from service.pipeline.collecting import transcripts
from service.pipeline.guards.file_limits import FileLimits
from service.pipeline.guards.submit_guards import SubmitGuards
from service.pipeline.hotwords import directory
from service.pipeline.polling.poll_requests import PollRequests
from service.pipeline.shard.fault_boundary import MAX_FAULTS, FaultBoundary
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageName
from tests.fakes.clock import settle
from tests.fakes.provider import AfterWork
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import ARREARS, Limits, World, journalled, ref, state, urls

MINUTE = 60.0
SECRET = "the word nobody may read"


class OurFault(Exception):
    """A bug."""


def fails(times: int = 10**9, error: type[BaseException] = OurFault) -> Callable[..., None]:
    """Raises so often, then no more."""
    left = iter(range(times))

    def fail(*_args: object, **_kwargs: object) -> None:
        if next(left, None) is not None:
            raise error(SECRET)

    return fail


def spoil(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, fail: Callable[..., None], only: str = ""
) -> None:
    """Let a function raise before it begins, where its arguments name `only`."""
    proper = getattr(owner, name)

    if asyncio.iscoroutinefunction(proper):

        async def later(*args: object, **kwargs: object) -> object:
            if only in repr(args):
                fail()
            return await proper(*args, **kwargs)

        monkeypatch.setattr(owner, name, later)
        return

    def spoilt(*args: object, **kwargs: object) -> object:
        if only in repr(args):
            fail()
        return proper(*args, **kwargs)

    monkeypatch.setattr(owner, name, spoilt)


def failure(world: World, request_id: str = "bad") -> Failure:
    """The one failure of the request."""
    [found] = [each.body for each in world.seen.outcomes if each.body.request_id == request_id]
    assert isinstance(found, Failure)
    return found


def lose_an_answer(world: World) -> None:
    """The next submit makes a task that is over at once and has to be found in the list."""
    world.provider.offset_ms = 0
    world.provider.statuses = (TaskStatus.SUCCEEDED,)
    world.provider.next_submits.append(AfterWork.LOSE_ANSWER)


def snapshot(shard: ShardRunner) -> object:
    state = shard.state
    return (
        state.cursor,
        dict(state.requests),
        dict(state.progress),
        dict(state.jobs),
        dict(state.submissions),
        dict(state.finished),
        dict(state.by_id),
        (state.finished_jobs, state.last_number, state.spend),
    )


def kinds(world: World) -> list[tuple[str, str]]:
    """The faults that were reported, but for whose they were."""
    return [(boundary, error) for boundary, _, error in world.seen.faults]


# One request record.


PLACES_OF_A_RECORD = [
    (accept, "read_request"),
    (accept, "admit"),
    (admission, "encode_request"),
    (admission, "plan_submissions"),
]


@pytest.mark.parametrize(
    ("owner", "name"), PLACES_OF_A_RECORD, ids=lambda each: getattr(each, "__name__", each)
)
@pytest.mark.parametrize("times", [1, MAX_FAULTS - 1, MAX_FAULTS], ids=lambda times: f"{times} times")
async def test_a_fault_while_a_record_is_taken_is_met_again_and_refuses_that_record_the_third_time(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, times: int
) -> None:
    world.run()
    shard = world.shard()
    await world.take(shard, "before")
    spoil(monkeypatch, owner, name, fails(times))
    bad = world.record(0, "bad")
    while not world.accept.accept(shard, bad):
        await world.clock.sleep(world.accept.wait_seconds(shard))
    await settle()
    await world.take(shard, "after")
    await world.clock.sleep(MINUTE)
    assert world.seen.faults == [("record", "transcription.requests/0/1", "OurFault")] * times
    if times < MAX_FAULTS:
        assert set(world.seen.ends().values()) == {"result"}
        return
    told = failure(world, "bad") if name != "read_request" else world.seen.outcomes[0].body
    assert isinstance(told, Failure)
    assert (told.code, told.retryable) == (FailureCode.INTERNAL_ERROR, False)
    assert told.raw is not None
    assert told.origin is not None
    assert told.origin.offset == 1
    assert SECRET not in told.model_dump_json()
    ends = world.seen.ends()
    assert (ends["before/0/0"], ends["after/0/0"]) == ("result", "result")
    assert shard.durable_cursor.next_offset == 3
    assert [each.kind for each in world.seen.admissions] == [
        AdmissionKind.ACCEPTED,
        AdmissionKind.REFUSED,
        AdmissionKind.ACCEPTED,
    ]


@pytest.mark.parametrize("limits", [Limits(share=0.0)])
@pytest.mark.parametrize(
    "fields", [{"file_urls": urls("a", "b", "c")}, {"ttl_seconds": 60}, {"action": "cancel"}], ids=str
)
@pytest.mark.parametrize(
    ("owner", "place"),
    [
        (admission, "encode_request"),
        (finishing, "encode_job"),
        (finishing, "finished_of"),
        (finishing, "job_outcome"),
        (decisions, "advance_job"),
        (decisions, "advance_submission"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
@pytest.mark.parametrize("good_ones", [0, 1, 2])
async def test_an_admission_that_fails_half_way_has_changed_nothing(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, JsonValue],
    owner: object,
    place: str,
    good_ones: int,
) -> None:
    """Of a request of several files, of one that is late already, and of a cancel of several jobs."""
    shard = world.shard()
    await world.take(shard, "known", file_urls=urls("a", "b", "c"))
    request_id = "known" if "action" in fields else "new"
    record = world.record(0, request_id, **fields)
    if "ttl_seconds" in fields:
        world.clock.jump(3600)
    before = snapshot(shard)
    calls = iter(range(good_ones))

    def fail(*_args: object) -> None:
        if next(calls, None) is None:
            raise OurFault

    with monkeypatch.context() as patch:
        spoil(patch, owner, place, fail)
        read = read_request(record.value, record.headers, world.accept.limits)
        try:
            admit(shard.state, record, read, world.accept.rules, shard.context())
        except OurFault:
            assert snapshot(shard) == before
        else:
            return
    world.deliver(shard, record)
    await settle()
    assert world.seen.admissions[-1].kind in (AdmissionKind.ACCEPTED, AdmissionKind.CANCEL)


async def test_want_of_memory_refuses_no_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = world.shard()
    before = snapshot(shard)
    spoil(monkeypatch, accept, "admit", fails(error=MemoryError))
    with pytest.raises(MemoryError):
        world.deliver(shard, world.record(0, "r"))
    assert snapshot(shard) == before
    assert world.seen.outcomes == []


# One job's event.

PLACES_OF_A_JOB = [
    (collect, "rendered", ""),
    (transcripts, "read_transcript", ""),
    (transcripts, "normalise", ""),
    (finishing, "job_outcome", ""),
    (finishing, "finished_of", ""),
    (build.Outcome, "__post_init__", "transcript="),
    *((decisions, "advance_submission", event) for event in ("Intended", "Posted", "Polled")),
    *(
        (decisions, "advance_job", event)
        for event in ("PostIntended", "TaskMade", "ReadyToCollect", "Fetched")
    ),
]


def _ids(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("owner", "name", "only"), PLACES_OF_A_JOB, ids=_ids)
@pytest.mark.parametrize("times", [1, MAX_FAULTS - 1, MAX_FAULTS], ids=lambda times: f"{times} times")
async def test_a_fault_in_one_jobs_event_is_met_again_and_ends_that_job_the_third_time(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, only: str, times: int
) -> None:
    world.run()
    shard = world.shard()
    await world.take(shard, "before")
    await world.clock.sleep(MINUTE)
    spoil(monkeypatch, owner, name, fails(times), only)
    await world.take(shard, "bad", output={"formats": ["srt"]})
    await world.done(10 * MINUTE)
    monkeypatch.undo()
    await world.take(shard, "after")
    await world.clock.sleep(MINUTE)
    ends = world.seen.ends()
    assert (len(ends), len(shard.state.jobs)) == (3, 0)
    assert (ends["before/0/0"], ends["after/0/0"]) == ("result", "result")
    assert kinds(world) == [("job", "OurFault")] * times
    is_unsent = times == MAX_FAULTS and only in ("Intended", "PostIntended")
    assert len(world.provider.submits) == (2 if is_unsent else 3)
    assert "finished" in journalled(world.broker, "bad/0/0")
    if times < MAX_FAULTS:
        assert ends["bad/0/0"] == "result"
        return
    told = failure(world)
    assert (told.code, told.retryable) == (FailureCode.INTERNAL_ERROR, True)
    assert (told.task_id is None) == is_unsent
    assert SECRET not in told.model_dump_json()


@pytest.mark.parametrize("times", [1, MAX_FAULTS])
async def test_a_fault_while_a_synchronous_answer_is_read_makes_no_second_call(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    world.run()
    shard = world.shard()
    spoil(monkeypatch, transcripts, "normalise", fails(times))
    await world.take(shard, "bad", model="qwen3-asr-flash")
    await world.done(10 * MINUTE)
    assert len(world.provider.submits) == 1
    assert world.seen.ends() == {"bad/0/0": "result" if times == 1 else "internal_error"}


async def test_a_fault_behind_a_post_refuses_nothing_and_posts_nothing_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    shard = world.shard()
    spoil(monkeypatch, type(world.guards), "judge", fails(1))
    await world.take(shard, "r")
    await world.clock.sleep(MINUTE)
    assert len(world.provider.submits) == 1
    assert world.seen.ends() == {"r/0/0": "result"}


@pytest.mark.parametrize(
    "places",
    [
        [(decisions, "advance_submission", "Posted", 3)],
        [(decisions, "advance_submission", "Intended", 2), (decisions, "advance_submission", "Posted", 1)],
        [(decisions, "advance_submission", "Intended", 2), (SubmitGuards, "judge", "Accepted", 1)],
        [(decisions, "advance_submission", "Intended", 2), (FileLimits, "learn", "Accepted", 1)],
        [(decisions, "advance_submission", "Adopted", 3)],
    ],
    ids=lambda places: " ".join(f"{times} {name} {only}" for _, name, only, times in places),
)
async def test_a_job_that_cannot_handle_its_task_names_the_task_in_its_failure(
    world: World, monkeypatch: pytest.MonkeyPatch, places: list[tuple[object, str, str, int]]
) -> None:
    """It is paid for, whatever kept the job from meeting the answer to its submit."""
    for owner, name, only, times in places:
        spoil(monkeypatch, owner, name, fails(times), only)
    is_lost, is_cancelled = (
        any(only == each for _, _, only, _ in places) for each in ("Adopted", "CancelAsked")
    )
    if is_lost:
        lose_an_answer(world)
    world.run()
    shard = world.shard()
    await world.take(shard, "bad")
    if is_cancelled:
        for _ in range(2):
            shard.on_job(ref(shard, "bad"), CancelAsked())
    await world.done(30 * MINUTE)
    told = failure(world)
    assert (told.code, told.retryable) == (FailureCode.INTERNAL_ERROR, True)
    assert [each.task_id for each in world.provider.submits] == [told.task_id]
    assert kinds(world) == [("job", "OurFault")] * MAX_FAULTS
    assert shard.state.jobs == {}


@pytest.mark.parametrize("name", ["_durable", "proves"])
async def test_a_fault_before_a_post_lets_nothing_leave_and_is_made_up_for(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world.run()
    shard = world.shard()
    spoil(monkeypatch, post if name == "_durable" else type(world.fence), name, fails(2))
    await world.take(shard, "r")
    await world.done(5 * MINUTE)
    assert len(world.provider.submits) == 1
    assert world.seen.ends() == {"r/0/0": "result"}
    assert kinds(world) == [("job", "OurFault")] * 2


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (submit.SubmitStage, "_make_ready"),
        (submit.SubmitStage, "_send_queued"),
        (PollRequests, "enqueue"),
        (collect.CollectStage, "_enqueue"),
    ],
    ids=_ids,
)
async def test_a_fault_in_a_queue_puts_the_job_back_into_it(
    world: World, monkeypatch: pytest.MonkeyPatch, stage: object, name: str
) -> None:
    world.guards.hold.judge(ARREARS)
    world.run()
    shard = world.shard()
    spoil(monkeypatch, stage, name, fails(2))
    await world.take(shard, "a", "b")
    await world.done(10 * MINUTE)
    assert world.seen.ends() == {"a/0/0": "result", "b/0/0": "result"}
    assert len(world.seen.faults) == 2


@pytest.mark.parametrize("stage", ["submit", "poll", "collect"])
async def test_a_step_that_cannot_be_queued_is_queued_later(
    world: World, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    spoil(monkeypatch, type(getattr(world, stage)), "queue", fails(2))
    world.guards.hold.judge(ARREARS)
    world.run()
    await world.take(world.shard(), "bad", "good")
    await world.done(10 * MINUTE)
    assert world.seen.ends() == {"bad/0/0": "result", "good/0/0": "result"}
    assert kinds(world) == [("job", "OurFault")] * 2


async def test_a_job_whose_ending_cannot_be_made_either_is_set_aside_and_kept_in_the_journal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    shard = world.shard()
    spoil(monkeypatch, build.Outcome, "__post_init__", fails(), "'bad'")
    await world.take(shard, "bad", ttl_seconds=600)
    await world.take(shard, "good")
    await world.clock.sleep(1200)
    assert world.seen.ends() == {"good/0/0": "result"}
    assert len(world.seen.faults) == MAX_FAULTS + 1
    assert journalled(world.broker, "bad/0/0")[-1] == "running"
    monkeypatch.undo()
    member = Member(world)
    shard.close()
    await member.own(0)
    await world.clock.sleep(MINUTE)
    assert set(world.seen.ends()) == {"good/0/0", "bad/0/0"}


@pytest.mark.parametrize("times", [1, MAX_FAULTS])
async def test_a_fault_while_one_job_is_restored_keeps_no_shard_from_being_taken_over(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    left = world.shard()
    await world.take(left, "bad", "good")
    left.close()
    world.shards.clear()
    spoil(monkeypatch, decisions, "advance_submission", fails(times), "Restored")
    world.run()
    member = Member(world)
    [shard] = await member.own(0)
    world.shards.append(shard)
    assert member.state() is PartitionState.READY
    await world.done(10 * MINUTE)
    assert kinds(world) == [("job", "OurFault")] * times
    assert len(world.seen.ends()) == 2
    assert shard.state.jobs == {}


async def test_a_fault_while_a_job_is_settled_leaves_its_outcome_published_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    shard = world.shard()
    spoil(monkeypatch, Shard, "forget_job", fails(2))
    await world.take(shard, "r")
    await world.clock.sleep(MINUTE)
    assert shard.state.jobs == {}
    assert len(world.seen.outcomes) == len(world.broker.outcomes()) == 1


@pytest.mark.parametrize("error", [MemoryError, OurFault])
async def test_neither_want_of_memory_nor_a_fault_at_rest_ends_a_job(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    world.run()
    shard = world.shard()
    await world.take(shard, "r")
    shard.takes_work = error is MemoryError
    with monkeypatch.context() as patch:
        spoil(patch, decisions, "advance_job", fails(error=error))
        for _ in range(10):
            shard.on_job(ref(shard, "r"), CancelAsked())
        await world.clock.sleep(MINUTE)
        assert state(shard, "r") is SubmissionState.RUNNING
    shard.takes_work = True
    await world.done(5 * MINUTE)
    assert len(world.seen.ends()) == 1
    assert "internal_error" not in world.seen.ends().values()


async def test_the_task_that_a_fault_named_is_forgotten_with_its_submission(world: World) -> None:
    """A fault that does not count, as want of memory, leaves nothing behind either."""
    ended: list[HandlingFailed] = []
    boundary = FaultBoundary(
        world.clock,
        world.breaker,
        report=lambda _subject, _error: None,
        request_of=str,
        may_end=lambda: True,
        end=lambda _key, event: ended.append(event),
    )
    key = SubmissionKey(1, 1)
    with boundary.guard(key, lambda: None, StageName.SUBMIT, Posted("t-1")):
        fails(error=MemoryError)()
    boundary.forget_gone(lambda _key: True)
    for _ in range(MAX_FAULTS):
        with boundary.guard(key, lambda: None, StageName.SUBMIT):
            fails()()
    boundary.try_again()
    assert [event.task_id for event in ended] == [None]


async def test_a_fault_in_one_jobs_event_does_not_hold_up_a_cancel(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes of another event meanwhile counts; the late one changes nothing."""
    world.run()
    shard = world.shard()
    spoil(monkeypatch, decisions, "advance_submission", fails(1), "Polled")
    await world.take(shard, "r")
    await world.clock.sleep(2.1)
    assert world.seen.faults
    await world.take(shard, "r", action="cancel")
    await world.clock.sleep(MINUTE)
    assert world.seen.ends() == {"r/0/0": "cancelled"}


# One answer of the provider.


@pytest.mark.parametrize("model", ["fun-asr", "qwen3-asr-flash"])
async def test_an_error_behind_a_post_means_that_its_answer_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """The task that was made is found in the list; a synchronous call is made again."""
    proper = world.provider.submit
    fault = fails(1)

    async def lose(*args: object) -> object:
        answer = await proper(*args)  # type: ignore[arg-type]
        fault()
        return answer

    lose_an_answer(world)
    world.provider.next_submits.clear()
    monkeypatch.setattr(world.provider, "submit", lose)
    world.run()
    shard = world.shard()
    await world.take(shard, "r", model=model)
    assert state(shard) in (SubmissionState.UNCERTAIN, SubmissionState.WAITING)
    await world.done(10 * MINUTE)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert len(world.provider.submits) == (1 if model == "fun-asr" else 2)
    assert world.seen.faults == [("answer", "submit", "OurFault")]


async def test_a_fault_in_counting_a_post_means_that_its_answer_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The boundary around the provider's answer is not the only one: what counts the call may fail too."""
    lose_an_answer(world)
    world.provider.next_submits.clear()
    spoil(monkeypatch, InstrumentedProvider, "_count", fails(1))
    world.run()
    shard = world.shard()
    await world.take(shard, "r")
    assert state(shard) is SubmissionState.UNCERTAIN
    await world.done(10 * MINUTE)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert len(world.provider.submits) == 1


@pytest.mark.parametrize("name", ["query", "fetch", "list_tasks", "cancel"])
@pytest.mark.parametrize("error", [OurFault, RecursionError, KeyError, UnicodeDecodeError, AssertionError])
async def test_an_error_in_any_other_call_counts_as_an_answer_that_did_not_come(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception]
) -> None:
    made = error("utf-8", b"", 0, 1, SECRET) if error is UnicodeDecodeError else error(SECRET)
    left = iter(range(3))
    proper = getattr(world.provider, name)

    async def fail(*args: object) -> object:
        if next(left, None) is not None:
            raise made
        return await proper(*args)

    monkeypatch.setattr(world.provider, name, fail)
    if name == "list_tasks":
        lose_an_answer(world)
    if name == "cancel":
        world.provider.statuses = (TaskStatus.PENDING,)
    world.run()
    shard = world.shard()
    await world.take(shard, "r")
    if name == "cancel":
        await world.take(shard, "r", action="cancel")
    await world.done(30 * MINUTE)
    assert world.seen.ends() == {"r/0/0": "cancelled" if name == "cancel" else "result"}
    assert len(world.provider.submits) == 1
    kind = "list" if name == "list_tasks" else name
    assert set(world.seen.faults) == {("answer", kind, error.__name__)}


@pytest.mark.parametrize("name", ["list_page", "query", "create"])
async def test_an_error_in_a_call_about_hotwords_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spoil(monkeypatch, type(world.vocabularies), name, fails(3))
    world.run()
    await world.take(world.shard(), "r", options={"hotwords": [{"text": "Scribe"}]})
    await world.done(10 * MINUTE)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert world.seen.faults == [("answer", "hotwords", "OurFault")] * 3


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (reconcile, "decide"),
        (reconcile, "unanswered_of"),
        (Candidates, "add_listing"),
        (TaskListing, "add"),
        (directory, "chosen"),
    ],
    ids=_ids,
)
async def test_a_fault_in_what_follows_from_an_answer_ends_no_loop(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    spoil(monkeypatch, owner, name, fails(2))
    lose_an_answer(world)
    world.run()
    await world.take(world.shard(), "r", options={"hotwords": [{"text": "Scribe"}]})
    await world.done(30 * MINUTE)
    assert world.seen.ends() == {"r/0/0": "result"}
    assert len(world.provider.submits) == 1
    assert len(world.seen.faults) == 2
