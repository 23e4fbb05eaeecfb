"""Answers of a job whose submit is uncertain: the POST went out, and nobody knows what came of it.

Rules this module guarantees:

1. With the policy `reconcile` such a job of an asynchronous model is submitted again only by `NotFound` (N4).
2. A synchronous model leaves nothing to look for: its call is made again, at most `MOST_LOST_CALLS` in all.
3. What ends it meanwhile, a cancel or its deadline, says that a task may have been billed.
"""

from dataclasses import replace

from service.core import verdicts
from service.core.ending import FailureEnding
from service.core.events import (
    Adopted,
    CancelAsked,
    DeadlinePassed,
    HandlingFailed,
    NotFound,
    OutOfReach,
    Reconcile,
    Restored,
    SubmitLost,
    Watch,
)
from service.core.job import Job, State
from service.core.moment import (
    INTENT_SECONDS,
    Doubt,
    Moment,
    Transition,
    end_internally,
    expire,
    fail,
    finish,
    is_overdue,
    submit_again,
    with_task,
)
from service.core.verdict import Action
from service.errors import FailureCode
from service.messages import Stage

MOST_LOST_CALLS = 3
"""Calls of a synchronous model that one job may lose, by crashes or on the way: each is paid."""
MAY_BE_BILLED = "the provider may have done the work, and billed it"


def lost(job: Job, event: SubmitLost, moment: Moment) -> Transition:
    """The answer was lost: a second submit might be billed twice. The POST is over, so one may look soon."""
    verdict = verdicts.on_submit(event.trouble)
    if (
        job.is_synchronous
        and verdict.action is Action.FAIL
        and verdict.code is not FailureCode.SUBMIT_UNCERTAIN
    ):
        # The stream broke off with an error that another call would meet as well.
        return fail(job, Stage.SUBMIT, event.trouble, verdict)
    first_ms = moment.rules.look_schedule.next_look_ms(moment.now_ms, moment.now_ms)
    return _doubt(job, f"no usable answer to the submit: {event.trouble.message}", first_ms, 0, moment)


def lost_by_crash(job: Job, _event: Restored, moment: Moment) -> Transition:
    """The former owner ended, or was replaced, between its intent and writing down the answer."""
    out_ms = _out_ms(moment)
    return _doubt(job, "the worker ended while the submit was out", moment.now_ms + out_ms, out_ms, moment)


def result_lost(job: Job, moment: Moment) -> Transition:
    """The crash took a transcript whose outcome may be out: it is called for again, under the same id."""
    lost = replace(job, ending=None, must_be_result=True)
    return _doubt(lost, "the worker ended with the transcript at hand", 0, 0, moment)


def doubt_again(job: Job, _event: Restored, moment: Moment) -> Transition:
    """A new owner asks anew, by its own clock; the submit may be that of an owner who is not gone yet."""
    out_ms = _out_ms(moment)
    return _reconcile(job, moment.now_ms + out_ms, out_ms, moment)


def adopted(job: Job, event: Adopted, moment: Moment) -> Transition:
    """The task is ours: it goes into the journal as if its answer had come."""
    submitted_ms = job.sealed_ms if job.sealed_ms is not None else moment.now_ms
    running = with_task(job, event.task_id, event.task_files, submitted_ms)
    if is_overdue(job, moment):
        return replace(expire(running, event, moment), doubts=(Doubt.EXPIRED,))
    watch = Watch(job.key, event.task_id, moment.now_ms)
    return Transition(running, durable=True, steps=(watch,), doubts=(Doubt.ADOPTED,))


def not_found(job: Job, _event: NotFound, moment: Moment) -> Transition:
    """There is no task: the submit is made again, at once."""
    return replace(submit_again(job, moment.now_ms), doubts=(Doubt.RESUBMITTED,))


def out_of_reach(job: Job, _event: OutOfReach, _moment: Moment) -> Transition:
    """Nobody will ever know: the user decides whether a second bill is fine."""
    return _fail(job, "the submit was never answered, and is too old to be found in the provider's list")


def cancel_uncertain(job: Job, _event: CancelAsked, _moment: Moment) -> Transition:
    """End the job; there is no task id to cancel at the provider."""
    ending = FailureEnding(Stage.SUBMIT, FailureCode.CANCELLED, "cancelled on request")
    return _end_in_doubt(finish(job, ending), Doubt.CANCELLED)


def expire_uncertain(job: Job, event: object, moment: Moment) -> Transition:
    """End the job because its deadline has passed."""
    return _end_in_doubt(expire(job, event, moment), Doubt.EXPIRED)


def end_uncertain_internally(job: Job, event: HandlingFailed, moment: Moment) -> Transition:
    """End the job for a fault of ours."""
    return _end_in_doubt(end_internally(job, event, moment), Doubt.FAILED)


def _doubt(job: Job, message: str, first_ms: int, out_ms: int, moment: Moment) -> Transition:
    answer = _decide(job, message, first_ms, out_ms, moment)
    return replace(answer, doubts=(Doubt.BEGUN, *answer.doubts))


def _decide(job: Job, message: str, first_ms: int, out_ms: int, moment: Moment) -> Transition:
    if job.cancelled:
        return cancel_uncertain(job, CancelAsked(), moment)
    if moment.rules.uncertain == "fail":
        return _fail(job, message)
    if is_overdue(job, moment):
        return expire_uncertain(job, DeadlinePassed(message), moment)
    if job.is_synchronous:
        return _call_again(job, message, moment)
    if moment.rules.uncertain == "resubmit":
        return not_found(job, NotFound(), moment)
    return _reconcile(job, first_ms, out_ms, moment)


def _call_again(job: Job, message: str, moment: Moment) -> Transition:
    lost_calls = job.lost_calls + 1
    if lost_calls >= MOST_LOST_CALLS:
        return _fail(job, f"{message}, {lost_calls} times")
    wait_ms = moment.rules.submit_backoff.wait_ms(job.submit_attempts, moment.draw)
    again = submit_again(replace(job, lost_calls=lost_calls), moment.now_ms + wait_ms)
    return replace(again, doubts=(Doubt.RESUBMITTED,))


def _reconcile(job: Job, first_ms: int, out_ms: int, moment: Moment) -> Transition:
    """Look from `first_ms` on; the POST may be out for `out_ms` more."""
    settled_ms = moment.now_ms + out_ms + round(1000 * moment.rules.settle_seconds)
    uncertain = replace(job, state=State.UNCERTAIN, due_ms=first_ms)
    return Transition(uncertain, durable=True, steps=(Reconcile(job.key, first_ms, settled_ms),))


def _out_ms(moment: Moment) -> int:
    """How long a former owner's POST may still be out: its intent's worth, then the POST's whole time."""
    return round(1000 * (INTENT_SECONDS + moment.rules.submit_seconds))


def _fail(job: Job, message: str) -> Transition:
    message = f"{message}; {MAY_BE_BILLED}"
    ending = FailureEnding(Stage.SUBMIT, FailureCode.SUBMIT_UNCERTAIN, message, retryable=True)
    return replace(finish(job, ending), doubts=(Doubt.FAILED,))


def _end_in_doubt(answer: Transition, word: Doubt) -> Transition:
    ending = answer.job.ending
    assert isinstance(ending, FailureEnding)
    told = replace(ending, message=f"{ending.message}; {MAY_BE_BILLED}")
    return replace(answer, job=replace(answer.job, ending=told), doubts=(word,))
