"""The table: every pair is decided, and what each state does with each event."""

from itertools import product

import pytest

from service.core import transitions
from service.core.ending import FailureEnding, ResultEnding
from service.core.events import (
    EVENTS,
    Adopted,
    CancelAsked,
    DeadlinePassed,
    Event,
    Fetched,
    FetchFailed,
    HandlingFailed,
    Intended,
    Looked,
    LookFailed,
    NotFound,
    OutOfReach,
    Published,
    Restored,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
    Submitted,
    Transcribed,
    VocabularyRefused,
)
from service.core.job import Job, State
from service.core.moment import Transition
from service.core.task import TaskStatus
from service.core.transitions import TABLE, advance
from service.errors import FailureCode, IllegalTransition
from service.messages import Stage
from tests.unit.core.samples import NOW_MS, TROUBLE, job, moment, task, transcript

EXAMPLES: dict[type[Event], Event] = {
    Intended: Intended(NOW_MS),
    Submitted: Submitted("t1", 1),
    VocabularyRefused: VocabularyRefused(TROUBLE),
    Transcribed: Transcribed(transcript()),
    SubmitRefused: SubmitRefused(TROUBLE),
    SubmitLost: SubmitLost(TROUBLE),
    SubmitNotSent: SubmitNotSent(TROUBLE),
    Adopted: Adopted("t1", 1),
    NotFound: NotFound(),
    OutOfReach: OutOfReach(),
    Looked: Looked(task(TaskStatus.RUNNING), None),
    LookFailed: LookFailed(TROUBLE),
    Fetched: Fetched(transcript()),
    FetchFailed: FetchFailed(TROUBLE),
    CancelAsked: CancelAsked(),
    DeadlinePassed: DeadlinePassed(),
    HandlingFailed: HandlingFailed("a fault of Scribe itself (KeyError)"),
    Restored: Restored(),
    Published: Published(),
}
ANSWERS_TO_A_POST = (Submitted, Transcribed, SubmitRefused, SubmitLost, SubmitNotSent)
ANSWERS_TO_A_PASS = (Adopted, NotFound, OutOfReach)
IMPOSSIBLE: set[tuple[State, type[Event]]] = {
    # No POST is out.
    *product(
        (
            State.ACCEPTED,
            State.WAITING,
            State.UNCERTAIN,
            State.RUNNING,
            State.COLLECTING,
            State.FINISHING,
        ),
        ANSWERS_TO_A_POST,
    ),
    # Nothing is looked for in the list.
    *product(
        (State.ACCEPTED, State.WAITING, State.SUBMITTING, State.RUNNING, State.COLLECTING), ANSWERS_TO_A_PASS
    ),
    # The submit stage takes only what waits for a submit.
    *product((State.SUBMITTING, State.UNCERTAIN, State.RUNNING, State.COLLECTING), (Intended,)),
    # No outcome is on its way.
    *product(
        (
            State.ACCEPTED,
            State.WAITING,
            State.SUBMITTING,
            State.UNCERTAIN,
            State.RUNNING,
            State.COLLECTING,
        ),
        (Published,),
    ),
    # Not journalled.
    (State.COLLECTING, Restored),
}
FAILED = FailureEnding(Stage.POLL, FailureCode.PROVIDER_ERROR, "failed")
PAIRS = list(product(State, EVENTS))


def sample(state: State) -> Job:
    """A job in the state, ended where the state says so."""
    return job(state, ending=FAILED) if state in (State.FINISHING, State.DONE) else job(state)


def name(pair: object) -> str:
    """How a pair is called in the list of tests."""
    return pair.__name__ if isinstance(pair, type) else str(pair)


def test_every_pair_of_state_and_event_is_in_the_table_and_nothing_else() -> None:
    assert set(TABLE) == set(product(State, EVENTS))
    assert set(EXAMPLES) == set(EVENTS)


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=name)
def test_a_pair_is_answered_unless_it_is_listed_as_impossible(state: State, event: type[Event]) -> None:
    before = sample(state)
    if (state, event) in IMPOSSIBLE:
        with pytest.raises(IllegalTransition, match=f"r/0/0 in state {state} met {event.__name__}"):
            advance(before, EXAMPLES[event], moment())
    else:
        assert advance(before, EXAMPLES[event], moment()).job.key == before.key


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=name)
def test_only_an_intent_leads_into_submitting(state: State, event: type[Event]) -> None:
    if (state, event) not in IMPOSSIBLE and state is not State.SUBMITTING:
        after = advance(sample(state), EXAMPLES[event], moment()).job
        assert (after.state is State.SUBMITTING) == (
            event is Intended and state in (State.ACCEPTED, State.WAITING)
        )


@pytest.mark.parametrize("event", EVENTS, ids=name)
def test_a_finished_job_ignores_everything(event: type[Event]) -> None:
    done = job(State.DONE, ending=FAILED)
    assert advance(done, EXAMPLES[event], moment()) == Transition(done)


@pytest.mark.parametrize("event", [e for e in EVENTS if (State.FINISHING, e) not in IMPOSSIBLE], ids=name)
@pytest.mark.parametrize("ending", [FAILED, ResultEnding(transcript())])
def test_an_ending_is_decided_once(event: type[Event], ending: FailureEnding | ResultEnding) -> None:
    before = job(State.FINISHING, ending=ending, task_id="t1")
    after = advance(before, EXAMPLES[event], moment())
    assert after.job.ending == ending
    if event not in (Published, Restored):
        assert after == Transition(before)


def test_publication_ends_the_job() -> None:
    after = advance(job(State.FINISHING, ending=FAILED), Published(), moment())
    assert after.job.state is State.DONE
    assert not after.durable
    assert not after.steps


def test_a_job_taken_for_a_submit_while_a_cancel_ended_it_is_not_submitted() -> None:
    cancelled = advance(job(State.ACCEPTED), CancelAsked(), moment()).job
    assert advance(cancelled, Intended(NOW_MS), moment()) == Transition(cancelled)


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=name)
def test_what_is_not_durable_keeps_the_job_where_a_restore_finds_it(state: State, event: type[Event]) -> None:
    """A change that is not journalled may only be one between RUNNING and COLLECTING, or the end."""
    if (state, event) in IMPOSSIBLE:
        return
    before = sample(state)
    answer = advance(before, EXAMPLES[event], moment())
    if not answer.durable and answer.job.state is not state:
        assert (state, answer.job.state) in {(State.RUNNING, State.COLLECTING), (State.FINISHING, State.DONE)}
    if not answer.durable:
        assert answer.job.task_id == before.task_id
        assert answer.job.submit_attempts == before.submit_attempts


def test_impossible_names_the_job_its_state_and_the_event() -> None:
    with pytest.raises(IllegalTransition, match="r/0/0 in state done met Published"):
        transitions.impossible(job(State.DONE), Published(), moment())
