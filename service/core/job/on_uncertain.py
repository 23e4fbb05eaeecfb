"""Transitions of a submission whose POST was sent and whose answer is lost.

Rules this module guarantees:

1. With the policy `reconcile`, the jobs of such a submission of an asynchronous model are posted again only
   after `NotFound` (N4), in a new submission for each request.
2. A synchronous call leaves no task to find: it is repeated until `MAX_LOST_CALLS` calls are lost.
3. A submission whose jobs ended meanwhile is still reconciled: its task, if there is one, has a bill.
"""

from dataclasses import replace

from service.core.job.events import (
    Adopted,
    CancelAsked,
    DeadlinePassed,
    GivenBack,
    JobEvent,
    JobsLeft,
    NotFound,
    OutOfReach,
    Poll,
    Reconcile,
    SubmissionRestored,
    SubmitFailed,
    SubmitLost,
)
from service.core.job.identity import JobRef
from service.core.job.on_submit import (
    Jobs,
    end_all,
    give_back,
    still_wanted,
    task_made,
    with_task,
    without_intent,
)
from service.core.job.packing import by_request
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import (
    INTENT_SECONDS,
    MAX_LOST_CALLS,
    Context,
    SubmissionTransition,
    Successor,
    is_overdue,
)
from service.core.job.uncertainty import UncertainOutcome
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action, ErrorPolicy
from service.core.provider.own_codes import OwnCode
from service.errors import FailureCode

UNCERTAIN = ErrorPolicy(Action.FAIL, FailureCode.SUBMIT_UNCERTAIN, retryable=True)


def lost(submission: Submission, event: SubmitLost, jobs: Jobs, context: Context) -> SubmissionTransition:
    """Begin reconciling soon: this POST has ended, and a second one might be billed twice."""
    policy = error_table.on_submit(event.provider_error)
    is_final = policy.action is Action.FAIL and policy.code is not FailureCode.SUBMIT_UNCERTAIN
    if submission.is_synchronous and is_final:
        # The stream broke off with an error that another call would get as well.
        return end_all(submission, jobs, event.provider_error, policy, context)
    due_ms = context.rules.reconcile_schedule.next_poll_ms(context.now_ms, context.now_ms)
    message = f"no usable answer to the submit: {event.provider_error.message}"
    return _begin(submission, jobs, message, due_ms - context.now_ms, 0, context)


def lost_by_crash(
    submission: Submission, _event: SubmissionRestored, jobs: Jobs, context: Context
) -> SubmissionTransition:
    """The former owner ended or was fenced after its intent, before it journalled the answer."""
    in_flight_ms = _longest_in_flight_ms(context)
    return _begin(submission, jobs, "the worker ended during the submit", in_flight_ms, in_flight_ms, context)


def reconcile_again(
    submission: Submission, _event: SubmissionRestored, jobs: Jobs, context: Context
) -> SubmissionTransition:
    """Reconcile again by the new owner's clock; a former owner's POST may still be in flight."""
    in_flight_ms = _longest_in_flight_ms(context)
    to_jobs = tuple((ref, CancelAsked()) for ref, job in jobs.items() if job.cancelled)
    return replace(
        _reconcile(submission, in_flight_ms, in_flight_ms, context), durable=False, to_jobs=to_jobs
    )


def adopted(submission: Submission, event: Adopted, jobs: Jobs, context: Context) -> SubmissionTransition:
    """Journal the task as if the POST had been answered, and poll it at once."""
    running = with_task(submission, event.task_id, jobs, context)
    return SubmissionTransition(
        running,
        durable=True,
        steps=(Poll(submission.key, event.task_id, context.now_ms),),
        to_jobs=task_made(running, jobs),
        uncertain_outcomes=(UncertainOutcome.ADOPTED,) * len(jobs),
    )


def not_found(submission: Submission, _event: NotFound, jobs: Jobs, context: Context) -> SubmissionTransition:
    """Post the jobs again at once, each request's in a new submission: there is no task."""
    return _resubmit(submission, jobs, context)


def out_of_reach(
    submission: Submission, _event: OutOfReach, jobs: Jobs, _context: Context
) -> SubmissionTransition:
    """End the jobs as uncertain: the user decides whether to risk a second bill."""
    message = "the submit was never answered, and is too old to be found in the provider's list"
    return _end(submission, jobs, message)


def search_on(
    submission: Submission, _event: JobsLeft, jobs: Jobs, _context: Context
) -> SubmissionTransition:
    """Go on reconciling when all jobs have left: the bill counts, and other submissions may match its task.

    `is_followed` is journalled, so that every shard ranks it behind equal submissions that still have jobs.
    """
    if jobs or submission.is_followed:
        return SubmissionTransition(submission)
    return SubmissionTransition(replace(submission, is_followed=True), durable=True)


def _begin(
    submission: Submission, jobs: Jobs, message: str, delay_ms: int, in_flight_ms: int, context: Context
) -> SubmissionTransition:
    answer = _decide(submission, jobs, message, delay_ms, in_flight_ms, context)
    return replace(
        answer, uncertain_outcomes=(*(UncertainOutcome.BEGUN for _ in jobs), *answer.uncertain_outcomes)
    )


def _decide(
    submission: Submission, jobs: Jobs, message: str, delay_ms: int, in_flight_ms: int, context: Context
) -> SubmissionTransition:
    if submission.is_synchronous and not jobs:
        return SubmissionTransition(submission, is_over=True)
    if context.rules.uncertain == "fail":
        return _end(submission, jobs, message)
    if submission.is_synchronous:
        return _call_again(submission, jobs, message, context)
    if context.rules.uncertain == "resubmit":
        return _resubmit(submission, jobs, context, message, may_be_billed=True)
    answer = _reconcile(replace(submission, is_followed=not jobs), delay_ms, in_flight_ms, context)
    return replace(answer, to_jobs=_tell_given_up(jobs, message, context))


def _tell_given_up(jobs: Jobs, message: str, context: Context) -> tuple[tuple[JobRef, JobEvent], ...]:
    to_jobs: list[tuple[JobRef, JobEvent]] = []
    for ref, job in jobs.items():
        if job.cancelled:
            to_jobs.append((ref, CancelAsked()))
        elif is_overdue(job, context):
            to_jobs.append((ref, DeadlinePassed(message)))
    return tuple(to_jobs)


def _call_again(submission: Submission, jobs: Jobs, message: str, context: Context) -> SubmissionTransition:
    lost_calls = submission.counters.lost_calls + 1
    if lost_calls >= MAX_LOST_CALLS:
        return _end(submission, jobs, f"{message}, {lost_calls} times")
    counted = replace(submission, counters=submission.counters._replace(lost_calls=lost_calls))
    wait_ms = context.rules.submit_backoff.wait_ms(counted.counters.submits, context.draw)
    again = give_back(counted, jobs, context.now_ms + wait_ms, context, message, may_be_billed=True)
    return replace(again, uncertain_outcomes=(UncertainOutcome.RESUBMITTED,) * len(again.submission.jobs))


def _resubmit(
    submission: Submission, jobs: Jobs, context: Context, reason: str = "", *, may_be_billed: bool = False
) -> SubmissionTransition:
    """Stop reconciling the submission; the jobs that are still wanted get new ones, each request its own."""
    wanted = still_wanted(jobs, context)
    to_jobs = tuple((ref, GivenBack(reason, may_be_billed)) for ref in jobs)
    counters, now_ms = submission.counters, context.now_ms
    successors = tuple(Successor(part, submission.model, counters, now_ms) for part in by_request(wanted))
    return SubmissionTransition(
        without_intent(submission),
        durable=True,
        to_jobs=to_jobs,
        successors=successors,
        uncertain_outcomes=(UncertainOutcome.RESUBMITTED,) * len(wanted),
        is_over=True,
    )


def _reconcile(
    submission: Submission, delay_ms: int, in_flight_ms: int, context: Context
) -> SubmissionTransition:
    """Reconcile from `delay_ms` after now on; the POST may be in flight for another `in_flight_ms`."""
    due_ms = context.now_ms + delay_ms
    settled_ms = context.now_ms + in_flight_ms + round(1000 * context.rules.settle_seconds)
    uncertain = replace(submission, state=SubmissionState.UNCERTAIN, due_ms=due_ms)
    return SubmissionTransition(
        uncertain, durable=True, steps=(Reconcile(submission.key, due_ms, settled_ms),)
    )


def _longest_in_flight_ms(context: Context) -> int:
    """How long a former owner's POST may be in flight: the intent's validity plus the POST's whole time."""
    return round(1000 * (INTENT_SECONDS + context.rules.submit_seconds))


def _end(submission: Submission, jobs: Jobs, message: str) -> SubmissionTransition:
    """End the jobs with a failure that says that they may be billed; noted cancels end as cancelled.

    The record stays unchanged: without its intent, a restore before the endings are durable would post again.
    """
    cancelled = GivenBack(message, may_be_billed=True)
    failed = SubmitFailed(ProviderError(OwnCode.RESTORED, message), UNCERTAIN, may_be_billed=True)
    to_jobs = tuple((ref, cancelled if job.cancelled else failed) for ref, job in jobs.items())
    return SubmissionTransition(submission, to_jobs=to_jobs, is_over=True)
