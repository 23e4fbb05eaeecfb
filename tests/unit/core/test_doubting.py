"""Jobs whose submit is uncertain: the answer was lost, or a crash came between the intent and the answer."""

from dataclasses import replace

import pytest

from service.core.ending import FailureEnding
from service.core.events import (
    Adopted,
    CancelAsked,
    DeadlinePassed,
    Event,
    Looked,
    NotFound,
    OutOfReach,
    QueueSubmit,
    Reconcile,
    Restored,
    SubmitLost,
    Watch,
)
from service.core.job import State
from service.core.moment import Doubt, Rules, Transition
from service.core.task import TaskStatus, Trouble
from service.core.transitions import advance
from service.errors import FailureCode
from service.messages import Stage
from tests.unit.core.samples import DEADLINE_MS, KEY, NOW_MS, job, moment, task

LOST = SubmitLost(Trouble("timeout", "no answer"))
RULES = Rules(submit_seconds=30.0, settle_seconds=60.0)
FAIL, RESUBMIT = replace(RULES, uncertain="fail"), replace(RULES, uncertain="resubmit")
SUBMITTING, UNCERTAIN = job(State.SUBMITTING), job(State.UNCERTAIN)
LOOK_MS, OUT_MS, SETTLE_MS = 2_000, 32_000, 60_000


def ending_of(answer: Transition) -> FailureEnding:
    """The failure that the job ends in, durably, which says that there may be a bill."""
    assert answer.job.state is State.FINISHING
    assert answer.durable
    assert not answer.steps
    assert isinstance(answer.job.ending, FailureEnding)
    assert answer.job.ending.message.endswith("the provider may have done the work, and billed it")
    return answer.job.ending


def test_a_lost_answer_is_looked_for_soon_and_the_task_may_take_its_time() -> None:
    answer = advance(SUBMITTING, LOST, moment(rules=RULES))
    assert (answer.job.state, answer.job.sealed_ms) == (State.UNCERTAIN, SUBMITTING.sealed_ms)
    assert answer.durable
    assert answer.steps == (Reconcile(KEY, NOW_MS + LOOK_MS, NOW_MS + SETTLE_MS),)
    assert answer.doubts == (Doubt.BEGUN,)


def test_after_a_crash_the_former_owners_post_may_still_be_out() -> None:
    answer = advance(SUBMITTING, Restored(), moment(rules=RULES))
    assert answer.job.state is State.UNCERTAIN
    assert answer.steps == (Reconcile(KEY, NOW_MS + OUT_MS, NOW_MS + OUT_MS + SETTLE_MS),)
    assert answer.doubts == (Doubt.BEGUN,)


def test_a_new_owner_asks_anew_by_its_own_clock() -> None:
    answer = advance(UNCERTAIN, Restored(), moment(NOW_MS + 5, rules=RULES))
    assert answer.job.state is State.UNCERTAIN
    assert answer.steps == (Reconcile(KEY, NOW_MS + 5 + OUT_MS, NOW_MS + 5 + OUT_MS + SETTLE_MS),)
    assert answer.doubts == ()


@pytest.mark.parametrize("event", [LOST, Restored()])
def test_a_policy_ends_the_job_instead(event: Event) -> None:
    answer = advance(SUBMITTING, event, moment(DEADLINE_MS + 1, rules=FAIL))
    ending = ending_of(answer)
    assert (ending.code, ending.stage) == (FailureCode.SUBMIT_UNCERTAIN, Stage.SUBMIT)
    assert ending.retryable
    assert answer.doubts == (Doubt.BEGUN, Doubt.FAILED)


@pytest.mark.parametrize("event", [LOST, Restored()])
def test_a_policy_submits_again_at_once(event: Event) -> None:
    answer = advance(SUBMITTING, event, moment(rules=RESUBMIT))
    assert (answer.job.state, answer.job.sealed_ms) == (State.WAITING, None)
    assert answer.steps == (QueueSubmit(KEY, NOW_MS),)
    assert answer.doubts == (Doubt.BEGUN, Doubt.RESUBMITTED)


@pytest.mark.parametrize("rules", [RULES, FAIL, RESUBMIT])
@pytest.mark.parametrize("event", [LOST, Restored()])
def test_a_cancel_that_came_while_the_post_was_out_ends_the_job(event: Event, rules: Rules) -> None:
    answer = advance(replace(SUBMITTING, cancelled=True), event, moment(rules=rules))
    assert (ending_of(answer).code, ending_of(answer).stage) == (FailureCode.CANCELLED, Stage.SUBMIT)
    assert answer.doubts == (Doubt.BEGUN, Doubt.CANCELLED)


@pytest.mark.parametrize("rules", [RULES, RESUBMIT])
def test_a_deadline_that_passed_while_the_post_was_out_ends_the_job(rules: Rules) -> None:
    answer = advance(SUBMITTING, LOST, moment(DEADLINE_MS, rules=rules))
    assert ending_of(answer).code is FailureCode.DEADLINE_EXCEEDED
    assert answer.doubts == (Doubt.BEGUN, Doubt.EXPIRED)


def test_a_cancel_ends_the_doubt() -> None:
    answer = advance(UNCERTAIN, CancelAsked(), moment())
    assert ending_of(answer).code is FailureCode.CANCELLED
    assert answer.doubts == (Doubt.CANCELLED,)


def test_the_deadline_ends_the_doubt() -> None:
    answer = advance(UNCERTAIN, DeadlinePassed(), moment(DEADLINE_MS))
    assert ending_of(answer).code is FailureCode.DEADLINE_EXCEEDED
    assert answer.doubts == (Doubt.EXPIRED,)


def test_an_adopted_task_runs_since_its_submit_and_is_looked_at_at_once() -> None:
    answer = advance(UNCERTAIN, Adopted("t9", 3), moment())
    after = answer.job
    assert (after.state, after.task_id, after.task_files, after.tasks_made) == (State.RUNNING, "t9", 3, 1)
    assert (after.submitted_ms, after.sealed_ms) == (UNCERTAIN.sealed_ms, None)
    assert answer.durable
    assert answer.steps == (Watch(KEY, "t9", NOW_MS),)
    assert answer.doubts == (Doubt.ADOPTED,)


def test_a_task_adopted_by_a_job_without_a_time_runs_since_now() -> None:
    answer = advance(replace(UNCERTAIN, sealed_ms=None), Adopted("t9", 1), moment())
    assert answer.job.submitted_ms == NOW_MS


def test_a_task_found_after_the_deadline_ends_the_job_with_its_id() -> None:
    answer = advance(UNCERTAIN, Adopted("t9", 1), moment(DEADLINE_MS))
    assert answer.job.state is State.FINISHING
    assert answer.job.task_id == "t9"
    assert answer.doubts == (Doubt.EXPIRED,)


def test_a_submit_that_made_no_task_is_made_again_at_once() -> None:
    answer = advance(replace(UNCERTAIN, former_tasks=("t1",)), NotFound(), moment())
    after = answer.job
    assert (after.state, after.due_ms, after.sealed_ms, after.task_files) == (State.WAITING, NOW_MS, None, 0)
    assert after.former_tasks == ("t1",)
    assert answer.steps == (QueueSubmit(KEY, NOW_MS),)
    assert answer.doubts == (Doubt.RESUBMITTED,)


def test_a_submit_that_has_left_the_list_is_the_users_to_weigh() -> None:
    answer = advance(UNCERTAIN, OutOfReach(), moment())
    assert ending_of(answer).code is FailureCode.SUBMIT_UNCERTAIN
    assert ending_of(answer).retryable
    assert answer.doubts == (Doubt.FAILED,)


def test_a_task_that_was_given_up_is_remembered_and_so_is_the_next() -> None:
    running = job(State.RUNNING, former_tasks=("t0",))
    assert running.task_ids == ("t0", "t1")
    failed = task(TaskStatus.FAILED, trouble=Trouble("InternalError", "oops"))
    waiting = advance(running, Looked(failed, None), moment()).job
    assert (waiting.state, waiting.task_id, waiting.task_ids) == (State.WAITING, None, ("t0", "t1"))
