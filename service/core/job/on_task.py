"""Transitions of a job on events of its submission, on a cancel and on its deadline.

Rules this module guarantees:

1. A cancel while the POST may be in flight is journalled; the POST's answer decides whether there is a task.
2. A deadline that passes while the task runs asks for one last poll. It ends the job once a poll no earlier
   than `FRESH_POLL_MS` before the deadline found the task unfinished, or
   `LAST_POLL_GRACE_MS` after the deadline.
3. An event that is retried after a fault of ours changes nothing if the submission has moved on.
4. A failed file is tried again only if the error table says so (N3), as often as the table allows, and never
   if a result for it may already be published.
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
    PostIntended,
    SubmitFailed,
    TaskMade,
    Transcribed,
)
from service.core.job.job import Job, JobState, TaskEnd
from service.core.job.job_endings import cancel, expire, fail, finish, note_end, stage_of
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import (
    LAST_POLL_GRACE_MS,
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

FRESH_POLL_MS = 30_000
"""A poll this shortly before a deadline counts as a poll at the deadline."""


def post_intended(job: Job, _event: PostIntended, submission: Submission, _context: Context) -> JobTransition:
    """The job is SUBMITTED from the intent on; the submission's record journals that."""
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
    """Note the task; a job whose cancel is noted ends, which may cancel the task."""
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
    """End the job with the transcript, even after its deadline, since it is paid for; a noted cancel wins."""
    billed = replace(
        job,
        submitted_ms=event.submitted_ms,
        task_end=TaskEnd(context.now_ms, event.bill.seconds, bill=event.bill),
    )
    if job.cancelled:
        return cancel(billed, submission)
    if any(channel.text for channel in event.transcript.channels):
        return finish(billed, ResultEnding(event.transcript), submission)
    return finish(billed, ResultEnding(replace(event.transcript, channels=()), silent=True), submission)


def submit_failed(job: Job, event: SubmitFailed, submission: Submission, _context: Context) -> JobTransition:
    """End the job as the error policy of its submission says."""
    provider_error, policy = event.provider_error, event.policy
    if policy.action is Action.EMPTY:
        return finish(job, ResultEnding(empty_transcript(), silent=True), submission)
    ending = FailureEnding(
        Stage.SUBMIT, policy.code, provider_error.message, provider_error.provider_code, policy.retryable
    )
    return finish(job, ending, submission, may_be_billed=event.may_be_billed)


def no_result(job: Job, event: NoResult, submission: Submission, context: Context) -> JobTransition:
    """End the job, or try its file again in another submission, as the error table says."""
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
    """Ask for a new submission; the record of the old task stays and shows whose task it was."""
    backoff, asked = context.rules.submit_backoff, provider_error.retry_after_seconds
    due_ms = context.now_ms + backoff.wait_ms(submission.counters.submits, context.draw, asked)
    waiting = replace(_without_task(job), poll_attempts=job.poll_attempts + submission.poll_attempts)
    successor = Successor((job.ref,), submission.model, submission.counters, due_ms)
    return JobTransition(waiting, leaves=True, resubmit=successor)


def _without_task(job: Job) -> Job:
    """The job, WAITING; it keeps the ids of earlier tasks."""
    return replace(job, state=JobState.WAITING, submitted_ms=None, task_files=0, is_last_poll_asked=False)


def cancel_now(job: Job, _event: CancelAsked, submission: Submission, _context: Context) -> JobTransition:
    """End the job, unless its result may already be published."""
    return JobTransition(job) if job.must_be_result else cancel(job, submission)


def cancel_submitted(job: Job, event: CancelAsked, submission: Submission, context: Context) -> JobTransition:
    """Note the cancel while the POST may be in flight, else end the job; `must_be_result` ignores it."""
    if submission.state is not SubmissionState.INTENDED:
        return cancel_now(job, event, submission, context)
    if job.must_be_result or job.cancelled:
        return JobTransition(job)
    return JobTransition(replace(job, cancelled=True), durable=True)


def expire_waiting(
    job: Job, event: DeadlinePassed, submission: Submission, context: Context
) -> JobTransition:
    """End the job if its deadline has passed, unless its result may already be published."""
    return expire(job, submission, event.reason) if is_overdue(job, context) else JobTransition(job)


def expire_submitted(
    job: Job, event: DeadlinePassed, submission: Submission, context: Context
) -> JobTransition:
    """Wait for the POST's answer and one last poll of the task; then the deadline ends the job."""
    if submission.state is SubmissionState.INTENDED or not is_overdue(job, context):
        return JobTransition(job)
    task_id, deadline_ms = submission.task_id, job.request.deadline_ms
    seen_ms = submission.unfinished_ms
    was_at_work = seen_ms is not None and seen_ms >= deadline_ms - FRESH_POLL_MS
    if task_id is None or was_at_work or context.has_come(deadline_ms + LAST_POLL_GRACE_MS):
        return expire(job, submission, event.reason)
    if job.is_last_poll_asked:
        return JobTransition(job)
    last = Poll(submission.key, task_id, context.now_ms, is_last=True)
    return JobTransition(replace(job, is_last_poll_asked=True), steps=(last,))


def end_internally(
    job: Job, event: HandlingFailed, submission: Submission, _context: Context
) -> JobTransition:
    """End the job because of a fault of ours; its task goes on, and the failure names the task."""
    stage, task_id = stage_of(job, submission), event.task_id
    if task_id is not None and task_id not in job.task_ids:
        job = replace(job, task_ids=(*job.task_ids, task_id))
    ending = FailureEnding(stage, FailureCode.INTERNAL_ERROR, event.message, retryable=True)
    return finish(job, ending, submission)


def resume_finish(
    job: Job, _event: JobRestored, _submission: Submission | None, _context: Context
) -> JobTransition:
    """Publish the failure again unchanged; a job that ended with a result is restored as open instead."""
    return JobTransition(job, durable=True)
