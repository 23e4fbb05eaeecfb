"""Transitions of a submission that has a provider task: it polls the task and passes results to its jobs.

Rules this module guarantees:

1. A finished task is read file by file; the status or error of the whole task counts only for a file that
   has neither a result nor an error of its own.
2. A task is lost only if two polls `UNKNOWN_APART_MS` apart found it UNKNOWN, and none between knew it.
   An answer tells of the time when it was asked for: the process may have slept before it read it.
3. While the task runs, a job's deadline ends it only after a poll that found the task unfinished
   (`core.job.on_task` says how late at most).
4. A task that no job waits for is polled until its bill is known, or can no longer be known.
5. A task is cancelled at the provider only when no job waits for it any more, because of a cancel or a
   deadline.
"""

from dataclasses import replace

from service.core.job.events import (
    CancelTask,
    DeadlinePassed,
    JobEvent,
    JobsLeft,
    NoResult,
    Poll,
    Polled,
    PollFailed,
    ReadyToCollect,
    SubmissionRestored,
)
from service.core.job.file_matching import file_of
from service.core.job.identity import JobRef
from service.core.job.job import Job, JobState
from service.core.job.on_submit import Jobs, task_made
from service.core.job.submission import Submission
from service.core.job.transition_context import Context, SubmissionTransition, is_overdue
from service.core.job.urgency import retention_end_ms
from service.core.provider.answers import ProviderError, TaskStatus, TaskView
from service.core.provider.own_codes import OwnCode

UNKNOWN_APART_MS = 60_000
"""Time between the two polls that declare a task lost: long enough to outlast a short vendor fault."""
JOBLESS_TASK_POLL_MS = 60_000
"""Minimum poll interval of a task that no job waits for: other tasks go first."""
MISSING = ProviderError(OwnCode.MISSING_RESULT, "the finished task does not name this file")
CANCELED = ProviderError("CANCELED", "the task was cancelled at the provider")


def polled(submission: Submission, event: Polled, jobs: Jobs, context: Context) -> SubmissionTransition:
    """Pass a finished task to the jobs; poll an unfinished one later, and let overdue jobs end."""
    seen = replace(submission, poll_attempts=submission.poll_attempts + 1)
    if event.task.status is TaskStatus.UNKNOWN:
        return _unknown(seen, event, jobs, context)
    seen = replace(seen, unknown_since_ms=None)
    if event.task.is_terminal:
        return _finished(seen, event.task, jobs)
    unfinished_ms = max(event.asked_ms, submission.unfinished_ms or 0)
    later = _poll_later(replace(seen, unfinished_ms=unfinished_ms), jobs, context)
    overdue = (ref for ref, job in _waiting(jobs).items() if is_overdue(job, context))
    return replace(later, to_jobs=tuple((ref, DeadlinePassed()) for ref in overdue))


def poll_failed(
    submission: Submission, event: PollFailed, jobs: Jobs, context: Context
) -> SubmissionTransition:
    """Poll again after a backoff: the task is paid for."""
    failed = replace(submission, poll_attempts=submission.poll_attempts + 1)
    backoff, asked = context.rules.poll_backoff, event.provider_error.retry_after_seconds
    wait_ms = backoff.wait_ms(failed.poll_attempts, context.draw, asked)
    return _poll_at(failed, context.now_ms + round(1000 * backoff.first_seconds) + wait_ms, jobs, context)


def poll_again(
    submission: Submission, _event: SubmissionRestored, jobs: Jobs, context: Context
) -> SubmissionTransition:
    """Poll within a second, at a random time so that a shard's tasks spread out; inform jobs of the task."""
    if not jobs and (submission.is_task_over or not submission.is_followed):
        return SubmissionTransition(submission, is_over=True)
    due_ms = context.now_ms + round(1000 * context.draw)
    polled = _poll_at(submission, due_ms, jobs, context)
    to_inform = {ref: job for ref, job in _waiting(jobs).items() if _is_news(submission, job)}
    return replace(polled, to_jobs=task_made(submission, to_inform)) if to_inform else polled


def follow(submission: Submission, event: JobsLeft, jobs: Jobs, _context: Context) -> SubmissionTransition:
    """When the last job has left, follow the task until its bill is known; cancel it if it is unwanted."""
    if jobs:
        return SubmissionTransition(submission)
    if submission.is_task_over:
        return SubmissionTransition(submission, is_over=True)
    assert submission.task_id is not None
    steps = (CancelTask(submission.task_id),) if event.is_unwanted else ()
    return SubmissionTransition(replace(submission, is_followed=True), durable=True, steps=steps)


def _is_news(submission: Submission, job: Job) -> bool:
    """Whether the job does not know the task yet, or has a cancel noted that may now end it."""
    return job.task_id != submission.task_id or job.cancelled


def _waiting(jobs: Jobs) -> dict[JobRef, Job]:
    """The jobs that wait for the task; the others are collecting their results."""
    return {ref: job for ref, job in jobs.items() if job.state is JobState.SUBMITTED}


def _finished(submission: Submission, task: TaskView, jobs: Jobs) -> SubmissionTransition:
    ended = replace(submission, is_task_over=True, is_followed=False)
    return SubmissionTransition(
        ended,
        durable=not jobs,
        to_jobs=tuple((ref, _event_of(task, job)) for ref, job in _waiting(jobs).items()),
        is_over=not jobs,
        bill=None if submission.is_task_over else task,
    )


def _event_of(task: TaskView, job: Job) -> JobEvent:
    file = file_of(task, job)
    if file and file.transcription_url:
        return ReadyToCollect(task, file.transcription_url)
    if task.status is TaskStatus.CANCELED:
        return NoResult(task, CANCELED)
    return NoResult(task, (file and file.provider_error) or task.provider_error or MISSING)


def _unknown(submission: Submission, event: Polled, jobs: Jobs, context: Context) -> SubmissionTransition:
    if event.is_foreign:
        waiting = replace(submission, unknown_since_ms=None)
        return _poll_at(waiting, context.now_ms + UNKNOWN_APART_MS, jobs, context)
    # The first answer may have been read late as well: it counts from when it was read, the second from
    # when it was asked for.
    age_ms = event.asked_ms - (submission.submitted_ms or 0)
    if age_ms < 1000 * context.rules.unknown_grace_seconds:
        return _poll_later(submission, jobs, context)
    since_ms = submission.unknown_since_ms
    if since_ms is None or event.asked_ms - since_ms < UNKNOWN_APART_MS:
        since_ms = context.now_ms if since_ms is None else since_ms
        asked = replace(submission, unknown_since_ms=since_ms)
        return _poll_at(asked, since_ms + UNKNOWN_APART_MS, jobs, context)
    message = f"the provider does not know the task {round(age_ms / 1000)} s after its submit"
    gone = NoResult(event.task, ProviderError("UNKNOWN", message))
    return SubmissionTransition(
        replace(submission, is_task_over=True, is_followed=False),
        durable=not jobs,
        to_jobs=tuple((ref, gone) for ref in _waiting(jobs)),
        is_over=not jobs,
    )


def _poll_later(submission: Submission, jobs: Jobs, context: Context) -> SubmissionTransition:
    submitted_ms = submission.submitted_ms if submission.submitted_ms is not None else context.now_ms
    due_ms = context.rules.poll_schedule.next_poll_ms(submitted_ms, context.now_ms)
    return _poll_at(submission, due_ms, jobs, context)


def _poll_at(submission: Submission, due_ms: int, jobs: Jobs, context: Context) -> SubmissionTransition:
    """Poll at `due_ms`; without jobs, poll seldom and only until the provider has deleted the task."""
    assert submission.task_id is not None
    if not jobs and context.has_come(retention_end_ms(submission)):
        return SubmissionTransition(
            replace(submission, is_task_over=True, is_followed=False), durable=True, is_over=True
        )
    if not jobs:
        due_ms = max(due_ms, context.now_ms + JOBLESS_TASK_POLL_MS)
    is_last = any(is_overdue(job, context) for job in _waiting(jobs).values())
    return SubmissionTransition(
        submission, steps=(Poll(submission.key, submission.task_id, due_ms, is_last),)
    )
