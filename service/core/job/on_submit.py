"""Transitions of a submission that waits for its POST, or whose POST was answered.

Rules this module guarantees:

1. An intent names exactly the files that its POST may hold: jobs that ended meanwhile are not in it (N2).
2. A submission whose POST certainly created no task waits for the next POST, without the jobs that are no
   longer wanted.
3. A refused submit of several files, if one file or their number may be the reason, costs no attempt: it is
   divided. The submission keeps the first part, and each other part becomes a submission.
4. No request ends for another's sake: a refusal that would end jobs, or that is limited in number, divides
   a submit of several requests by request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from service.core.job.division import is_about_number, may_be_about_one
from service.core.job.events import (
    CancelAsked,
    DeadlinePassed,
    GivenBack,
    HotwordListRefused,
    Intended,
    JobEvent,
    JobsLeft,
    Poll,
    Posted,
    PostIntended,
    QueueSubmit,
    SubmissionRestored,
    SubmitAnswered,
    SubmitFailed,
    SubmitNotSent,
    SubmitRefused,
    TaskMade,
    Transcribed,
)
from service.core.job.file_matching import files_digest
from service.core.job.identity import JobRef
from service.core.job.job import Job
from service.core.job.packing import by_request
from service.core.job.submission import Intent, Submission, SubmissionState
from service.core.job.transition_context import (
    Context,
    SubmissionTransition,
    Successor,
    is_given_up,
    is_overdue,
    may_try_again,
)
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action, ErrorPolicy
from service.errors import FailureCode

Jobs = Mapping[JobRef, Job]
"""The open jobs of a submission, in its order."""


def intend(submission: Submission, event: Intended, jobs: Jobs, context: Context) -> SubmissionTransition:
    """Take the jobs for a POST; overdue jobs end, and jobs beyond `max_files` get new submissions."""
    overdue = [ref for ref, job in jobs.items() if is_overdue(job, context)]
    going = [ref for ref in jobs if ref not in overdue]
    first, *others = _parts(going, event.max_files or max(1, len(going)))
    to_jobs: tuple[tuple[JobRef, JobEvent], ...] = tuple((ref, DeadlinePassed()) for ref in overdue)
    if not first:
        return SubmissionTransition(replace(submission, jobs=()), to_jobs=to_jobs, is_over=True)
    urls = [jobs[ref].file_url for ref in first]
    intended = replace(
        submission,
        jobs=first,
        state=SubmissionState.INTENDED,
        due_ms=0,
        counters=submission.counters._replace(submits=submission.counters.submits + 1),
        intent=Intent(event.intended_ms, event.vendor_offset_ms, len(urls), files_digest(urls)),
    )
    return SubmissionTransition(
        intended,
        durable=True,
        to_jobs=(*to_jobs, *((ref, PostIntended()) for ref in first)),
        successors=_successors(submission, others, context.now_ms),
    )


def hotword_list_refused(
    submission: Submission, event: HotwordListRefused, jobs: Jobs, context: Context
) -> SubmissionTransition:
    """End the jobs before their POST: without the hotword list they would be billed for a worse result."""
    policy = error_table.on_hotword_list(event.provider_error)
    return replace(end_all(submission, jobs, event.provider_error, policy, context), durable=False)


def queue_again(
    submission: Submission, _event: SubmissionRestored, jobs: Jobs, _context: Context
) -> SubmissionTransition:
    """Queue a restored submission for its old due time; a job whose cancel is noted ends."""
    kept = tuple(ref for ref, job in jobs.items() if not job.cancelled)
    cancelled = tuple((ref, CancelAsked()) for ref, job in jobs.items() if job.cancelled)
    steps = (QueueSubmit(submission.key, submission.due_ms),) if kept else ()
    return SubmissionTransition(
        replace(submission, jobs=kept), steps=steps, to_jobs=cancelled, is_over=not kept
    )


def drop_left_jobs(
    submission: Submission, _event: JobsLeft, jobs: Jobs, _context: Context
) -> SubmissionTransition:
    """Keep the jobs that are left; without any the submission is over."""
    return SubmissionTransition(replace(submission, jobs=tuple(jobs)), is_over=not jobs)


def posted(submission: Submission, event: Posted, jobs: Jobs, context: Context) -> SubmissionTransition:
    """Journal the task id for all jobs at once, before any step runs."""
    running = with_task(submission, event.task_id, jobs, context)
    due_ms = context.rules.poll_schedule.next_poll_ms(context.now_ms, context.now_ms)
    return SubmissionTransition(
        running,
        durable=True,
        steps=(Poll(submission.key, event.task_id, due_ms),),
        to_jobs=task_made(running, jobs),
    )


def answered(
    submission: Submission, event: SubmitAnswered, jobs: Jobs, _context: Context
) -> SubmissionTransition:
    """Pass the transcript, which is paid for, to the jobs; the submission is over and needs no record."""
    counters = submission.counters._replace(tasks_made=submission.counters.tasks_made + 1)
    intended_ms = submission.intent.intended_ms if submission.intent else None
    to_jobs = tuple((ref, Transcribed(event.transcript, event.bill, intended_ms)) for ref in jobs)
    return SubmissionTransition(replace(submission, counters=counters), to_jobs=to_jobs, is_over=True)


def refused(
    submission: Submission, event: SubmitRefused, jobs: Jobs, context: Context
) -> SubmissionTransition:
    """There is no task: hold, divide, try later or fail, as the error table says."""
    provider_error, policy = event.provider_error, error_table.on_submit(event.provider_error)
    if policy.action is Action.HOLD:
        return _keep(submission, jobs, provider_error, submission.task_files, context)
    if submission.task_files > 1 and (divided := _divided(submission, jobs, provider_error, context)):
        return divided
    is_counted = policy.max_attempts is not None and not event.is_circuit_open
    if is_counted:
        refusals = submission.counters.refusals + 1
        submission = replace(submission, counters=submission.counters._replace(refusals=refusals))
    if policy.action is Action.RETRY and may_try_again(submission.counters.refusals, policy):
        due_ms = _later_ms(submission, provider_error, context)
        again = give_back(submission, jobs, due_ms, context, provider_error.message)
        return _in_parts(again, by_request(again.submission.jobs)) if is_counted else again
    return end_all(submission, jobs, provider_error, policy, context)


def _divided(
    submission: Submission, jobs: Jobs, provider_error: ProviderError, context: Context
) -> SubmissionTransition | None:
    """The submission in parts, if the refusal may be about one file, their number, or one request."""
    files, policy = submission.task_files, error_table.on_submit(provider_error)
    if is_about_number(provider_error):
        return _keep(submission, jobs, provider_error, files // 2, context)
    if may_be_about_one(provider_error):
        return _keep(submission, jobs, provider_error, 1, context)
    is_final = policy.action is not Action.RETRY and policy.code is not FailureCode.SUBMIT_UNCERTAIN
    if not is_final or len(by_request(tuple(jobs))) < 2:
        return None
    kept = _given_back_uncounted(submission, jobs, provider_error, context)
    return _in_parts(kept, by_request(kept.submission.jobs))


def not_sent(
    submission: Submission, event: SubmitNotSent, jobs: Jobs, context: Context
) -> SubmissionTransition:
    """Post the jobs that are still wanted again later; a POST that was not sent costs no attempt."""
    due_ms = _later_ms(submission, event.provider_error, context)
    return give_back(_uncounted(submission), jobs, due_ms, context, event.provider_error.message)


def _keep(
    submission: Submission, jobs: Jobs, provider_error: ProviderError, size: int, context: Context
) -> SubmissionTransition:
    """Queue the submission again at no cost of an attempt, divided into parts of `size` jobs.

    The refusal is about the account, for which the submit stage holds, or about a submit of several files.
    """
    kept = _given_back_uncounted(submission, jobs, provider_error, context)
    return _in_parts(kept, tuple(_parts(kept.submission.jobs, size)))


def _given_back_uncounted(
    submission: Submission, jobs: Jobs, provider_error: ProviderError, context: Context
) -> SubmissionTransition:
    return give_back(_uncounted(submission), jobs, context.now_ms, context, provider_error.message)


def _in_parts(kept: SubmissionTransition, parts: Sequence[tuple[JobRef, ...]]) -> SubmissionTransition:
    """The waiting submission with the first part of its jobs, and a new one for each other part."""
    if len(parts) < 2:
        return kept
    first, *others = parts
    successors = _successors(kept.submission, others, kept.submission.due_ms)
    return replace(kept, submission=replace(kept.submission, jobs=first), successors=successors)


def give_back(
    submission: Submission,
    jobs: Jobs,
    due_ms: int,
    context: Context,
    reason: str = "",
    *,
    may_be_billed: bool = False,
) -> SubmissionTransition:
    """Queue the submission for another POST with the jobs that are still wanted; the others end."""
    kept = still_wanted(jobs, context)
    to_jobs = tuple((ref, GivenBack(reason, may_be_billed)) for ref in jobs)
    steps = (QueueSubmit(submission.key, due_ms),) if kept else ()
    waiting = replace(without_intent(submission), jobs=kept, due_ms=due_ms)
    return SubmissionTransition(waiting, durable=True, steps=steps, to_jobs=to_jobs, is_over=not kept)


def end_all(
    submission: Submission,
    jobs: Jobs,
    provider_error: ProviderError,
    policy: ErrorPolicy,
    context: Context,
    *,
    may_be_billed: bool = False,
) -> SubmissionTransition:
    """End the jobs as the policy says; cancelled and overdue jobs end as such.

    A refused submission is journalled, so that no owner reconciles it. A synchronous call creates no task but
    may be paid, so it is not journalled as refused: a restore that finds its job open counts a lost call.
    """
    given_up, failed = (
        GivenBack(provider_error.message, may_be_billed),
        SubmitFailed(provider_error, policy, may_be_billed),
    )
    to_jobs = tuple((ref, given_up if is_given_up(job, context) else failed) for ref, job in jobs.items())
    if submission.is_synchronous:
        return SubmissionTransition(submission, to_jobs=to_jobs, is_over=True)
    return SubmissionTransition(without_intent(submission), durable=True, to_jobs=to_jobs, is_over=True)


def without_intent(submission: Submission) -> Submission:
    """The submission without a POST to reconcile; its record still keeps the counters."""
    return replace(submission, state=SubmissionState.WAITING, intent=None, is_followed=False)


def with_task(submission: Submission, task_id: str, jobs: Jobs, context: Context) -> Submission:
    """The submission, RUNNING; if its jobs ended meanwhile, its task is followed only for the bill.

    Its submit counts from the intent, since the POST's answer may have been read late.
    """
    submitted_ms = submission.intent.intended_ms if submission.intent else context.now_ms
    counters = submission.counters._replace(tasks_made=submission.counters.tasks_made + 1)
    intent = submission.intent and submission.intent._replace(files_digest="")
    return replace(
        submission,
        state=SubmissionState.RUNNING,
        intent=intent,
        due_ms=0,
        task_id=task_id,
        submitted_ms=submitted_ms,
        is_followed=not jobs,
        counters=counters,
    )


def task_made(submission: Submission, jobs: Jobs) -> tuple[tuple[JobRef, JobEvent], ...]:
    """The events by which the jobs learn of the submission's task."""
    assert submission.task_id is not None
    assert submission.submitted_ms is not None
    made = TaskMade(submission.task_id, submission.task_files, submission.submitted_ms)
    return tuple((ref, made) for ref in jobs)


def still_wanted(jobs: Jobs, context: Context) -> tuple[JobRef, ...]:
    """The jobs that may be posted again."""
    return tuple(ref for ref, job in jobs.items() if not is_given_up(job, context))


def _uncounted(submission: Submission) -> Submission:
    counters = submission.counters
    return replace(submission, counters=counters._replace(submits=counters.submits - 1))


def _later_ms(submission: Submission, provider_error: ProviderError, context: Context) -> int:
    backoff, asked = context.rules.submit_backoff, provider_error.retry_after_seconds
    return context.now_ms + backoff.wait_ms(submission.counters.submits, context.draw, asked)


def _parts(refs: Sequence[JobRef], size: int) -> Iterator[tuple[JobRef, ...]]:
    """The jobs in parts of at most `size`, in their order; at least one part."""
    yield tuple(refs[:size])
    for first in range(size, len(refs), size):
        yield tuple(refs[first : first + size])


def _successors(
    submission: Submission, parts: Sequence[tuple[JobRef, ...]], due_ms: int
) -> tuple[Successor, ...]:
    return tuple(Successor(part, submission.model, submission.counters, due_ms) for part in parts)
