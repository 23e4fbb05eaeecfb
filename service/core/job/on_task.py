"""Answers of a job to what becomes of its submission, and to a cancel or its deadline meanwhile.

Rules this module guarantees:

1. A cancel while the POST may be out is written down; the answer to the POST decides whether there is a task.
2. A deadline that passes while the task runs asks for one last poll, and ends the job once a poll, begun no
   earlier than `COUNTS_MS` before it, found the task at work, or `LAST_MS` after it.
3. An event that is met again after a fault of ours, when its submission has gone on, changes nothing.
4. A file that failed is tried again only where the table of policies says so (N3), as often as it allows, and
   never where a result of it may be out already.
"""

from dataclasses import replace

from service.contract.stage import Stage
from service.contract.transcript import empty_transcript
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.events import (
    CancelAsked,
    DeadlinePassed,
    GivenBack,
    HandlingFailed,
    JobRestored,
    NoResult,
    Poll,
    SubmitFailed,
    Taken,
    TaskMade,
    Transcribed,
)
from service.core.job.job import Job, JobState
from service.core.job.job_endings import cancel, expire, fail, finish, note_end, stage_of
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import (
    LAST_MS,
    Context,
    JobTransition,
    Successor,
    is_overdue,
    may_try_again,
)
from service.core.job.urgency import retention_end_ms
from service.core.provider import error_table
from service.core.provider.answers import ProviderError, TaskStatus
from service.core.provider.error_table import Action
from service.errors import FailureCode

COUNTS_MS = 30_000
"""A poll so soon before a deadline is as good as one at it."""


def taken(job: Job, _event: Taken, submission: Submission, _context: Context) -> JobTransition:
    """Its POST is about to go out; the submission's record says so."""
    if submission.state is not SubmissionState.INTENDED:
        return JobTransition(job)
    attempts = submission.counters.submits
    return JobTransition(replace(job, state=JobState.SUBMITTED, submit_attempts=attempts))


def given_back(job: Job, event: GivenBack, submission: Submission, context: Context) -> JobTransition:
    """Wait for the next POST, unless a cancel or the deadline came meanwhile."""
    back = replace(_without_task(job), submit_attempts=submission.counters.submits)
    if job.cancelled:
        return cancel(back, submission, may_be_billed=event.may_be_billed)
    if is_overdue(job, context):
        return expire(back, submission, event.reason, may_be_billed=event.may_be_billed)
    return JobTransition(back if submission.state is SubmissionState.WAITING else job)


def task_made(job: Job, event: TaskMade, submission: Submission, _context: Context) -> JobTransition:
    """Its task runs; one whose cancel is noted ends, and the task may be dropped."""
    if event.task_id != submission.task_id:
        return JobTransition(job)
    is_new = event.task_id not in job.task_ids
    running = replace(
        job,
        state=JobState.SUBMITTED,
        task_ids=(*job.task_ids, event.task_id) if is_new else job.task_ids,
        task_files=event.task_files,
        submitted_ms=event.submitted_ms,
    )
    return cancel(running, submission) if job.cancelled else JobTransition(running)


def transcribed(job: Job, event: Transcribed, submission: Submission, context: Context) -> JobTransition:
    """The transcript is here, and paid for: that is how the job ends, whatever its deadline says."""
    heard = replace(
        job,
        submitted_ms=event.submitted_ms,
        completed_ms=context.now_ms,
        task_billed_seconds=event.bill.seconds,
        bill=event.bill,
    )
    if job.cancelled:
        return cancel(heard, submission)
    if any(channel.text for channel in event.transcript.channels):
        return finish(heard, ResultEnding(event.transcript), submission)
    return finish(heard, ResultEnding(replace(event.transcript, channels=()), silent=True), submission)


def submit_failed(job: Job, event: SubmitFailed, submission: Submission, _context: Context) -> JobTransition:
    """End the job as the policy on its submission says."""
    provider_error, policy = event.provider_error, event.policy
    if policy.action is Action.EMPTY:
        return finish(job, ResultEnding(empty_transcript(), silent=True), submission)
    ending = FailureEnding(
        Stage.SUBMIT, policy.code, provider_error.message, provider_error.provider_code, policy.retryable
    )
    return finish(job, ending, submission, may_be_billed=event.may_be_billed)


def no_result(job: Job, event: NoResult, submission: Submission, context: Context) -> JobTransition:
    """End the job, or try its file again in another submission, as the table of policies says."""
    provider_error = event.provider_error
    if submission.state is not SubmissionState.RUNNING:
        return JobTransition(job)
    if event.task.status is TaskStatus.UNKNOWN:
        return _lost(job, provider_error, submission, context)
    seen = note_end(job, event.task, context)
    if event.task.status is TaskStatus.CANCELED:
        ending = FailureEnding(
            Stage.POLL, FailureCode.CANCELLED, provider_error.message, provider_error.provider_code
        )
        return finish(seen, ending, submission)
    policy = error_table.on_file(provider_error)
    if policy.action is Action.EMPTY:
        return finish(seen, ResultEnding(empty_transcript(), silent=True), submission)
    may_resubmit = policy.action is Action.RESUBMIT and not job.must_be_result
    if not may_resubmit or not may_try_again(submission.counters.tasks_made, policy):
        return fail(seen, Stage.POLL, provider_error, policy, submission)
    if is_overdue(job, context):
        return expire(seen, submission, provider_error.message)
    return _resubmit(seen, provider_error, submission, context)


def _lost(job: Job, provider_error: ProviderError, submission: Submission, context: Context) -> JobTransition:
    is_expired = context.has_come(retention_end_ms(submission))
    code = FailureCode.RESULT_EXPIRED if is_expired else FailureCode.TASK_LOST
    ending = FailureEnding(
        Stage.POLL, code, provider_error.message, provider_error.provider_code, retryable=True
    )
    return finish(job, ending, submission)


def _resubmit(
    job: Job, provider_error: ProviderError, submission: Submission, context: Context
) -> JobTransition:
    """The old task is over; its record stays, so that everybody knows whose it was."""
    backoff, asked = context.rules.submit_backoff, provider_error.retry_after_seconds
    due_ms = context.now_ms + backoff.wait_ms(submission.counters.submits, context.draw, asked)
    waiting = replace(_without_task(job), poll_attempts=job.poll_attempts + submission.poll_attempts)
    successor = Successor((job.ref,), submission.model, submission.counters, due_ms)
    return JobTransition(waiting, leaves=True, resubmit=successor)


def _without_task(job: Job) -> Job:
    """The job, waiting; the tasks that were made for it are remembered."""
    return replace(job, state=JobState.WAITING, submitted_ms=None, task_files=0, is_last_poll_asked=False)


def cancel_now(job: Job, _event: CancelAsked, submission: Submission, _context: Context) -> JobTransition:
    """End the job; one whose result may be out already goes on."""
    return JobTransition(job) if job.must_be_result else cancel(job, submission)


def cancel_submitted(job: Job, event: CancelAsked, submission: Submission, context: Context) -> JobTransition:
    """Note the cancel while the POST may be out, else end the job; no result that may be out is stopped."""
    if submission.state is not SubmissionState.INTENDED:
        return cancel_now(job, event, submission, context)
    if job.must_be_result or job.cancelled:
        return JobTransition(job)
    return JobTransition(replace(job, cancelled=True), durable=True)


def expire_waiting(
    job: Job, event: DeadlinePassed, submission: Submission, context: Context
) -> JobTransition:
    """End the job because its deadline has passed; one whose result may be out already goes on."""
    return expire(job, submission, event.reason) if is_overdue(job, context) else JobTransition(job)


def expire_submitted(
    job: Job, event: DeadlinePassed, submission: Submission, context: Context
) -> JobTransition:
    """Wait for the POST's answer, and for one last poll of a task; then the deadline ends the job."""
    if submission.state is SubmissionState.INTENDED or not is_overdue(job, context):
        return JobTransition(job)
    task_id, deadline_ms = submission.task_id, job.request.deadline_ms
    seen_ms = submission.unfinished_ms
    was_at_work = seen_ms is not None and seen_ms >= deadline_ms - COUNTS_MS
    if task_id is None or was_at_work or context.has_come(deadline_ms + LAST_MS):
        return expire(job, submission, event.reason)
    if job.is_last_poll_asked:
        return JobTransition(job)
    last = Poll(submission.key, task_id, context.now_ms, is_last=True)
    return JobTransition(replace(job, is_last_poll_asked=True), steps=(last,))


def end_internally(
    job: Job, event: HandlingFailed, submission: Submission, _context: Context
) -> JobTransition:
    """End the job for a fault of ours; the task that was made for it goes on, and the failure names it."""
    stage, task_id = stage_of(job, submission), event.task_id
    if task_id is not None and task_id not in job.task_ids:
        job = replace(job, task_ids=(*job.task_ids, task_id))
    ending = FailureEnding(stage, FailureCode.INTERNAL_ERROR, event.message, retryable=True)
    return finish(job, ending, submission)


def resume_finish(
    job: Job, _event: JobRestored, _submission: Submission | None, _context: Context
) -> JobTransition:
    """Send the failure again as it was; a result is restored as a job that waits for it again."""
    return JobTransition(job, durable=True)
