"""Transitions of a job whose task is finished: it fetches its result.

Rules this module guarantees:

1. Only the first fetch of a result may outlast the job's deadline, by `LAST_POLL_GRACE_MS` at most.
2. A result on a host that the settings do not allow is held until the job's deadline or the end of the
   provider's 24 h retention.
"""

from dataclasses import replace

from service.contract.stage import Stage
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.events import DeadlinePassed, Fetch, Fetched, FetchFailed, Poll, ReadyToCollect
from service.core.job.job import Job, JobState
from service.core.job.job_endings import expire, fail, finish, note_end
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import (
    LAST_POLL_GRACE_MS,
    Context,
    JobTransition,
    is_overdue,
    may_try_again,
)
from service.core.job.urgency import retention_end_ms
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action
from service.errors import FailureCode

HELD_RETRY_MS = 300_000
"""Pause between the attempts to fetch a held result."""


def ready(job: Job, event: ReadyToCollect, submission: Submission, context: Context) -> JobTransition:
    """Fetch the result at once; a restore polls again."""
    if submission.state is not SubmissionState.RUNNING:
        return JobTransition(job)
    fetch = replace(job.fetch, url=event.transcription_url, held=None)
    found = replace(note_end(job, event.task, context), fetch=fetch)
    return _collect(found, context.now_ms)


def _collect(job: Job, due_ms: int) -> JobTransition:
    assert job.fetch.url is not None
    step = Fetch(job.ref, job.fetch.url, due_ms)
    return JobTransition(replace(job, state=JobState.COLLECTING), steps=(step,))


def fetched(job: Job, event: Fetched, submission: Submission, _context: Context) -> JobTransition:
    """End the job with the fetched transcript."""
    ending = ResultEnding(event.transcript, renderings=event.renderings)
    return finish(replace(job, fetch=job.fetch.tried()), ending, submission)


def fetch_failed(job: Job, event: FetchFailed, submission: Submission, context: Context) -> JobTransition:
    """Try again as long as the error table and the number of attempts allow."""
    policy = error_table.on_fetch(event.provider_error)
    if policy.action is Action.HOLD:
        return _hold(job, event.provider_error, submission, context)
    failed = replace(job, fetch=job.fetch.tried(event.provider_error.message))
    if is_overdue(failed, context):
        return expire(failed, submission, event.provider_error.message)
    if policy.action is Action.RETRY and may_try_again(failed.fetch.attempts, policy):
        asked = event.provider_error.retry_after_seconds
        wait_ms = context.rules.fetch_backoff.wait_ms(failed.fetch.attempts, context.draw, asked)
        return _collect(failed, context.now_ms + wait_ms)
    if policy.action is Action.REFRESH_URL and may_try_again(failed.fetch.url_polls, policy):
        return _ask_for_url(failed, submission, context)
    return fail(failed, Stage.COLLECT, event.provider_error, policy, submission)


def _hold(job: Job, provider_error: ProviderError, submission: Submission, context: Context) -> JobTransition:
    """Hold the paid result until a process with the right setting, the deadline, or the end of retention.

    A retry of a held result makes no call. Its time is bounded so that no queue keeps a closed shard alive.
    """
    held = job if job.fetch.held else replace(job, fetch=replace(job.fetch.tried(), held=provider_error))
    if is_overdue(held, context):
        return fail(held, Stage.COLLECT, provider_error, error_table.on_fetch(provider_error), submission)
    end_ms = retention_end_ms(submission)
    if context.has_come(end_ms):
        message = f"{provider_error.message}, and the provider keeps no result for longer than 24 h"
        ending = FailureEnding(Stage.COLLECT, FailureCode.RESULT_EXPIRED, message, retryable=True)
        return finish(held, ending, submission)
    # If the end of retention has passed but is not yet confirmed, retries must not loop without a pause.
    later_ms = context.now_ms + HELD_RETRY_MS
    return _collect(held, min(later_ms, end_ms) if end_ms > context.now_ms else later_ms)


def _ask_for_url(job: Job, submission: Submission, context: Context) -> JobTransition:
    """Poll the task for a new URL after the host refused this one."""
    assert submission.task_id is not None
    fetch = replace(job.fetch, url_polls=job.fetch.url_polls + 1)
    waiting = replace(job, state=JobState.SUBMITTED, fetch=fetch)
    wait_ms = context.rules.fetch_backoff.wait_ms(fetch.attempts, context.draw)
    step = Poll(submission.key, submission.task_id, context.now_ms + wait_ms)
    return JobTransition(waiting, steps=(step,))


def expire_collecting(
    job: Job, _event: DeadlinePassed, submission: Submission, context: Context
) -> JobTransition:
    """Let the first fetch go on for `LAST_POLL_GRACE_MS` after the deadline: the work is paid for."""
    if not is_overdue(job, context):
        return JobTransition(job)
    held = job.fetch.held
    if held:
        return fail(job, Stage.COLLECT, held, error_table.on_fetch(held), submission)
    is_late = context.has_come(job.request.deadline_ms + LAST_POLL_GRACE_MS)
    if job.fetch.attempts or is_late:
        return expire(job, submission, job.fetch.error)
    return JobTransition(job)
