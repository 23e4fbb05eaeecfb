"""What is decided on a draft and adopted is what would have been decided on the shard itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.core.admission import Admission, AdmissionRules, admit
from service.core.draft import adopt, draft_of
from service.core.ending import FailureEnding
from service.core.events import Adopted, HandlingFailed, Submitted
from service.core.identity import JobKey
from service.core.job import State
from service.core.moment import Doubt
from service.core.record import Record
from service.core.shard import Shard
from service.core.transitions import advance
from service.errors import FailureCode, InvalidRecord
from service.messages import DecodedRequest, RequestLimits, Stage, read_request
from tests.unit.core.samples import NOW_MS, job, moment, record, request_record

URLS: list[JsonValue] = ["https://h.example/a.wav", "https://h.example/b.wav"]


def decoded(taken: Record) -> DecodedRequest | InvalidRecord:
    try:
        return read_request(taken.value, taken.headers, RequestLimits())
    except InvalidRecord as error:
        return error


def directly(shard: Shard, taken: Record) -> Admission:
    return admit(shard, taken, decoded(taken), AdmissionRules(), moment())


def on_a_draft(shard: Shard, taken: Record) -> Admission:
    draft = draft_of(shard, decoded(taken))
    admission = admit(draft.shard, taken, decoded(taken), AdmissionRules(), moment())
    adopt(shard, draft)
    return admission


def a_record(offset: int, request_id: str, kind: str) -> Record:
    match kind:
        case "cancel":
            return request_record(offset, request_id, action="cancel")
        case "damaged":
            return record(offset, b"{")
        case "late":
            return request_record(offset, request_id, file_urls=URLS, ttl_seconds=1, replay=1)
        case "some":
            return request_record(offset, request_id, file_urls=URLS, file_indexes=[1])
        case _:
            return request_record(offset, request_id, file_urls=URLS)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(["all", "some", "cancel", "damaged", "late"]),
            st.sampled_from(["", "settle", "lose"]),
        ),
        max_size=12,
    )
)
def test_records_admitted_on_drafts_leave_the_shard_that_they_leave_directly(
    steps: list[tuple[str, str, str]],
) -> None:
    plain, drafted = Shard(0), Shard(0)
    for offset, (request_id, kind, then) in enumerate(steps):
        taken = a_record(offset, request_id, kind)
        if kind == "late":
            taken = replace(taken, position=replace(taken.position, timestamp_ms=NOW_MS - 10_000))
        assert directly(plain, taken) == on_a_draft(drafted, taken)
        for shard in (plain, drafted):
            for key, each in list(shard.jobs.items()):
                if then == "settle" and each.state is State.FINISHING:
                    shard.settle(key, moment())
                if then == "lose" and key.file_index == 0:
                    # As after a crash: a job that never became durable, whose record is read again.
                    del shard.jobs[key]
                    shard.tallies[key.request].open.discard(0)
                    shard.tallies[key.request].ended.pop(0, None)
        assert plain == drafted


def test_a_draft_that_is_not_adopted_changes_nothing() -> None:
    shard = Shard(0)
    directly(shard, request_record(0, "r", file_urls=URLS))
    before = (dict(shard.jobs), shard.tallies["r", 0].copy(), shard.cursor, replace(shard.spend))
    cancel = request_record(1, "r", action="cancel")
    admit(draft_of(shard, decoded(cancel)).shard, cancel, decoded(cancel), AdmissionRules(), moment())
    assert (shard.jobs, shard.tallies["r", 0], shard.cursor, shard.spend) == before


@pytest.mark.parametrize("state", [each for each in State if each not in (State.FINISHING, State.DONE)])
@pytest.mark.parametrize("must_be_result", [False, True])
def test_a_fault_of_ours_ends_a_job_under_its_own_name(state: State, must_be_result: bool) -> None:
    before = job(state, must_be_result=must_be_result)
    answer = advance(before, HandlingFailed("a fault"), moment())
    ending = answer.job.ending
    assert isinstance(ending, FailureEnding)
    assert (ending.code, ending.retryable) == (FailureCode.INTERNAL_ERROR, True)
    assert (answer.job.state, answer.job.task_id) == (State.FINISHING, before.task_id)
    assert answer.doubts == ((Doubt.FAILED,) if state is State.UNCERTAIN else ())
    assert before.key == JobKey("r", 0, 0)


@pytest.mark.parametrize("state", [State.SUBMITTING, State.UNCERTAIN])
@pytest.mark.parametrize("made", [Submitted("paid", 2), Adopted("paid", 2)], ids=repr)
def test_a_fault_of_ours_keeps_the_task_that_the_job_could_not_be_told_of(
    state: State, made: Submitted | Adopted
) -> None:
    before = job(state, sealed_ms=5, task_id=None, former_tasks=("former",), tasks_made=1)
    after = advance(before, HandlingFailed("a fault", made), moment()).job
    assert (after.state, after.task_id, after.task_files) == (State.FINISHING, "paid", 2)
    assert (after.former_tasks, after.tasks_made, after.submitted_ms) == (("former",), 2, 5)
    assert isinstance(after.ending, FailureEnding)
    assert after.ending.stage is Stage.SUBMIT


@pytest.mark.parametrize(("task_id", "former"), [("paid", ()), (None, ("paid",))])
def test_a_task_that_the_job_has_had_already_is_not_counted_again(
    task_id: str | None, former: tuple[str, ...]
) -> None:
    state = State.RUNNING if task_id else State.WAITING
    before = job(state, task_id=task_id, former_tasks=former, tasks_made=1)
    after = advance(before, HandlingFailed("a fault", Submitted("paid", 1)), moment()).job
    assert (after.task_id, after.former_tasks, after.tasks_made) == (task_id, former, 1)


def test_the_task_of_a_job_without_an_intent_counts_from_now() -> None:
    before = job(State.UNCERTAIN, sealed_ms=None, task_id=None)
    after = advance(before, HandlingFailed("a fault", Adopted("paid", 1)), moment(now_ms=77)).job
    assert (after.task_id, after.submitted_ms) == ("paid", 77)


def test_a_draft_knows_of_every_other_request_how_far_it_is() -> None:
    shard = Shard(0)
    directly(shard, request_record(0, "r"))
    directly(shard, request_record(1, "r", replay=1))
    draft = draft_of(shard, decoded(request_record(2, "r", replay=2)))
    assert {("r", 0), ("r", 1)} <= draft.shard.tallies.keys()
    assert draft.shard.tallies["r", 1] == shard.tallies["r", 1]
    adopt(shard, draft)
    assert isinstance(shard.tallies, dict)
