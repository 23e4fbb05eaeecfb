"""Jobs without a provider task: intents, and the answers to a POST."""

import pytest

from service.core.ending import FailureEnding
from service.core.events import (
    CancelAsked,
    CancelTask,
    DeadlinePassed,
    Event,
    Intended,
    QueueSubmit,
    Restored,
    SubmitNotSent,
    SubmitRefused,
    Submitted,
    Watch,
)
from service.core.job import State
from service.core.moment import Transition
from service.core.task import Trouble
from service.core.transitions import advance
from service.core.verdicts import PROVIDER_FAULT_ATTEMPTS
from service.errors import FailureCode
from service.messages import Stage
from tests.unit.core.samples import DEADLINE_MS, KEY, NOW_MS, job, moment

THROTTLED = Trouble("Throttling", "slow down", 429, 4.0)
NO_KEY = Trouble("InvalidApiKey", "no such key", 401)
REJECTED = Trouble("InvalidParameter", "no", 400)
FAULT = Trouble("InternalError", "oops", 500)
NO_ROUTE = Trouble("connect_failed", "no route")


def ending_of(answer: Transition) -> FailureEnding:
    """The failure that the job ends in, durably."""
    assert answer.job.state is State.FINISHING
    assert answer.durable
    assert isinstance(answer.job.ending, FailureEnding)
    return answer.job.ending


@pytest.mark.parametrize("state", [State.ACCEPTED, State.WAITING])
def test_an_intent_is_durable_and_counts_an_attempt(state: State) -> None:
    answer = advance(job(state, submit_attempts=2, due_ms=5), Intended(NOW_MS, 4, -7), moment())
    assert answer == Transition(
        job(State.SUBMITTING, submit_attempts=3, sealed_ms=NOW_MS, task_files=4, vendor_offset_ms=-7),
        durable=True,
        steps=(),
    )


@pytest.mark.parametrize("state", [State.ACCEPTED, State.WAITING])
@pytest.mark.parametrize("event", [Intended(DEADLINE_MS), DeadlinePassed()])
def test_an_overdue_job_is_not_submitted(state: State, event: Event) -> None:
    ending = ending_of(advance(job(state), event, moment(DEADLINE_MS)))
    assert (ending.code, ending.stage) == (FailureCode.DEADLINE_EXCEEDED, Stage.SUBMIT)
    assert ending.retryable


@pytest.mark.parametrize("state", [State.ACCEPTED, State.WAITING])
def test_a_restored_job_is_due_when_it_was_due(state: State) -> None:
    before = job(state, due_ms=NOW_MS + 5)
    assert advance(before, Restored(), moment()) == Transition(before, steps=(QueueSubmit(KEY, NOW_MS + 5),))


@pytest.mark.parametrize("state", [State.ACCEPTED, State.WAITING])
def test_a_cancelled_job_is_never_submitted(state: State) -> None:
    answer = advance(job(state), CancelAsked(), moment())
    assert (ending_of(answer).code, ending_of(answer).stage) == (FailureCode.CANCELLED, Stage.SUBMIT)
    assert not answer.steps


def test_an_accepted_submit_makes_the_job_run_and_is_watched() -> None:
    answer = advance(job(State.SUBMITTING), Submitted("t9", 3), moment())
    after = answer.job
    assert (after.state, after.task_id, after.task_files) == (State.RUNNING, "t9", 3)
    assert (after.submitted_ms, after.sealed_ms) == (NOW_MS, None)
    assert answer.durable
    assert answer.steps == (Watch(KEY, "t9", NOW_MS + 2_000),)


def test_a_submit_accepted_after_the_deadline_ends_the_job_with_its_task_id() -> None:
    answer = advance(job(State.SUBMITTING), Submitted("t9", 1), moment(DEADLINE_MS))
    assert ending_of(answer).code is FailureCode.DEADLINE_EXCEEDED
    assert answer.job.task_id == "t9"


def test_a_deadline_that_passes_while_the_post_is_out_waits_for_the_answer() -> None:
    before = job(State.SUBMITTING)
    assert advance(before, DeadlinePassed(), moment(DEADLINE_MS)) == Transition(before)


def test_a_cancel_while_the_post_is_out_drops_the_task_once_there_is_one() -> None:
    noted = advance(job(State.SUBMITTING), CancelAsked(), moment())
    assert noted.durable
    assert noted.job.state is State.SUBMITTING
    answer = advance(noted.job, Submitted("t9", 1), moment())
    assert (ending_of(answer).code, ending_of(answer).stage) == (FailureCode.CANCELLED, Stage.POLL)
    assert answer.steps == (CancelTask("t9"),)


@pytest.mark.parametrize("event", [SubmitRefused(THROTTLED), SubmitRefused(NO_KEY), SubmitNotSent(NO_ROUTE)])
def test_a_cancel_or_a_deadline_meanwhile_ends_a_job_that_was_not_taken(event: Event) -> None:
    cancelled = advance(job(State.SUBMITTING, cancelled=True), event, moment())
    assert ending_of(cancelled).code is FailureCode.CANCELLED
    overdue = advance(job(State.SUBMITTING), event, moment(DEADLINE_MS))
    assert ending_of(overdue).code is FailureCode.DEADLINE_EXCEEDED


def test_an_account_reason_costs_no_attempt_and_no_job() -> None:
    answer = advance(job(State.SUBMITTING), SubmitRefused(NO_KEY), moment())
    assert answer == Transition(job(State.ACCEPTED), durable=True, steps=(QueueSubmit(KEY, NOW_MS),))


def test_a_throttled_submit_waits_at_least_as_long_as_the_provider_asks() -> None:
    answer = advance(job(State.SUBMITTING), SubmitRefused(THROTTLED), moment(draw=0.0))
    assert (answer.job.state, answer.job.due_ms) == (State.WAITING, NOW_MS + 4_000)
    assert answer.durable
    assert answer.steps == (QueueSubmit(KEY, NOW_MS + 4_000),)


def test_a_provider_fault_is_tried_as_often_as_the_table_allows() -> None:
    last = job(State.SUBMITTING, refusals=PROVIDER_FAULT_ATTEMPTS - 1)
    before_last = job(State.SUBMITTING, refusals=PROVIDER_FAULT_ATTEMPTS - 2)
    assert advance(before_last, SubmitRefused(FAULT), moment()).job.state is State.WAITING
    assert ending_of(advance(last, SubmitRefused(FAULT), moment())).code is FailureCode.PROVIDER_ERROR


def test_throttling_uses_up_none_of_the_attempts_that_the_table_bounds() -> None:
    patient = job(State.SUBMITTING, submit_attempts=500)
    throttled = advance(patient, SubmitRefused(Trouble("Throttling.RateQuota", "slow", 429)), moment()).job
    assert (throttled.state, throttled.refusals) == (State.WAITING, 0)
    faulted = advance(patient, SubmitRefused(FAULT), moment()).job
    assert (faulted.state, faulted.refusals) == (State.WAITING, 1)


def test_a_rejected_request_fails_with_the_providers_code() -> None:
    ending = ending_of(advance(job(State.SUBMITTING), SubmitRefused(REJECTED), moment()))
    assert (ending.code, ending.provider_code) == (FailureCode.SUBMIT_REJECTED, "InvalidParameter")


def test_what_was_never_sent_costs_no_attempt() -> None:
    answer = advance(job(State.SUBMITTING, submit_attempts=3), SubmitNotSent(NO_ROUTE), moment(draw=0.0))
    assert (answer.job.state, answer.job.submit_attempts) == (State.WAITING, 2)
    assert answer.durable


def test_a_refusal_in_an_outage_is_no_word_about_the_job() -> None:
    before = job(State.SUBMITTING, refusals=PROVIDER_FAULT_ATTEMPTS - 1)
    fault = Trouble("InternalError", "x", 500)
    kept = advance(before, SubmitRefused(fault, in_outage=True), moment()).job
    assert (kept.state, kept.refusals) == (State.WAITING, before.refusals)
    assert advance(before, SubmitRefused(fault), moment()).job.state is State.FINISHING
