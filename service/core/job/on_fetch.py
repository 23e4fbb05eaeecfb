"""Answers of a job whose task is finished: fetching its result, and what a restore makes of one that was.

Rules this module guarantees:

1. The first fetch of a result may outlast the job's deadline, by `LAST_MS` at most; no other may.
2. A result on a host that the settings do not allow is kept until its deadline or the 24 h edge.
"""

from dataclasses import replace

from service.contract.stage import Stage
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.events import DeadlinePassed, Fetch, Fetched, FetchFailed, Poll, ReadyToCollect
from service.core.job.job import Job, JobState
from service.core.job.job_endings import expire, fail, finish, note_end
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import LAST_MS, Context, JobTransition, is_overdue, may_try_again
from service.core.job.urgency import retention_end_ms
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action
from service.errors import FailureCode

HELD_MS = 300_000
"""How often a result that is held is tried again."""


def ready(job: Job, event: ReadyToCollect, submission: Submission, context: Context) -> JobTransition:
    """Fetch the result at once; a restore polls again."""
    if submission.state is not SubmissionState.RUNNING:
        return JobTransition(job)
    found = replace(note_end(job, event.task, context), transcription_url=event.transcription_url, held=None)
    return _collect(found, context.now_ms)


def _collect(job: Job, due_ms: int) -> JobTransition:
    assert job.transcription_url is not None
    step = Fetch(job.ref, job.transcription_url, due_ms)
    return JobTransition(replace(job, state=JobState.COLLECTING), steps=(step,))


def fetched(job: Job, event: Fetched, submission: Submission, _context: Context) -> JobTransition:
    """The transcript is here: that is how the job ends."""
    ending = ResultEnding(event.transcript, renderings=event.renderings)
    return finish(replace(job, fetch_attempts=job.fetch_attempts + 1), ending, submission)


def fetch_failed(job: Job, event: FetchFailed, submission: Submission, context: Context) -> JobTransition:
    """Try again while the table of policies and the number of attempts allow."""
    policy = error_table.on_fetch(event.provider_error)
    if policy.action is Action.HOLD:
        return _hold(job, event.provider_error, submission, context)
    failed = replace(job, fetch_attempts=job.fetch_attempts + 1, fetch_error=event.provider_error.message)
    if is_overdue(failed, context):
        return expire(failed, submission, event.provider_error.message)
    if policy.action is Action.RETRY and may_try_again(failed.fetch_attempts, policy):
        asked = event.provider_error.retry_after_seconds
        wait_ms = context.rules.fetch_backoff.wait_ms(failed.fetch_attempts, context.draw, asked)
        return _collect(failed, context.now_ms + wait_ms)
    if policy.action is Action.RECONCILE and may_try_again(failed.url_polls, policy):
        return _ask_for_url(failed, submission, context)
    return fail(failed, Stage.COLLECT, event.provider_error, policy, submission)


def _hold(job: Job, provider_error: ProviderError, submission: Submission, context: Context) -> JobTransition:
    """Keep the paid result until another process has the right setting, the deadline or the 24 h edge.

    Trying again makes no call. It is bounded in time so that no shard that has gone is kept in a queue.
    """
    held = job if job.held else replace(job, held=provider_error, fetch_attempts=job.fetch_attempts + 1)
    if is_overdue(held, context):
        return fail(held, Stage.COLLECT, provider_error, error_table.on_fetch(provider_error), submission)
    edge = retention_end_ms(submission)
    if context.has_come(edge):
        message = f"{provider_error.message}, and the provider keeps no result for longer than 24 h"
        ending = FailureEnding(Stage.COLLECT, FailureCode.RESULT_EXPIRED, message, retryable=True)
        return finish(held, ending, submission)
    # Where the edge is behind us, but not yet confirmed, trying again must not become a loop without a pause.
    later_ms = context.now_ms + HELD_MS
    return _collect(held, min(later_ms, edge) if edge > context.now_ms else later_ms)


def _ask_for_url(job: Job, submission: Submission, context: Context) -> JobTransition:
    """The host turned the URL down: the task may still be there, and give another."""
    assert submission.task_id is not None
    waiting = replace(job, state=JobState.SUBMITTED, url_polls=job.url_polls + 1)
    wait_ms = context.rules.fetch_backoff.wait_ms(job.fetch_attempts, context.draw)
    step = Poll(submission.key, submission.task_id, context.now_ms + wait_ms)
    return JobTransition(waiting, steps=(step,))


def expire_collecting(
    job: Job, _event: DeadlinePassed, submission: Submission, context: Context
) -> JobTransition:
    """The work is done and paid for: the first fetch may still deliver it, for a while."""
    if not is_overdue(job, context):
        return JobTransition(job)
    if job.held:
        return fail(job, Stage.COLLECT, job.held, error_table.on_fetch(job.held), submission)
    is_late = context.has_come(job.request.deadline_ms + LAST_MS)
    if job.fetch_attempts or is_late:
        return expire(job, submission, job.fetch_error)
    return JobTransition(job)
