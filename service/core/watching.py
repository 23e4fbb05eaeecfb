"""Answers of a job that has a provider task: looking at it, then fetching its result."""

import math
from dataclasses import replace

from service.contract.speech import empty_transcript
from service.core import verdicts
from service.core.ending import FailureEnding, ResultEnding
from service.core.events import (
    DeadlinePassed,
    Fetch,
    Fetched,
    FetchFailed,
    Looked,
    LookFailed,
    Restored,
    Watch,
)
from service.core.job import Job, State
from service.core.moment import Moment, Transition, expire, fail, finish, is_overdue, may_try_again, wait
from service.core.task import Bill, TaskStatus, TaskView, Trouble
from service.core.urgency import edge_ms
from service.core.verdict import Action
from service.errors import FailureCode
from service.messages import Stage

HELD_MS = 300_000
"""How often a result that is held is tried again."""


def looked(job: Job, event: Looked, moment: Moment) -> Transition:
    """Decide per file: the word over the whole task counts only where the task says nothing of this file."""
    task = event.task
    seen = replace(job, poll_attempts=job.poll_attempts + 1)
    if task.status is TaskStatus.UNKNOWN:
        return _unknown(seen, moment)
    if not task.is_terminal:
        return _look_later(replace(seen, unfinished_ms=moment.now_ms), moment)
    seen = _note_end(seen, task, moment)
    if event.file and event.file.transcription_url:
        found = replace(seen, transcription_url=event.file.transcription_url, held=None)
        return _collect(found, moment.now_ms)
    if task.status is TaskStatus.CANCELED:
        ending = FailureEnding(
            Stage.POLL, FailureCode.CANCELLED, "the task was cancelled at the provider", "CANCELED"
        )
        return finish(seen, ending)
    trouble = (event.file and event.file.trouble) or task.trouble
    return _file_failed(
        seen, trouble or Trouble("missing_result", "the finished task does not name this file"), moment
    )


def _note_end(job: Job, task: TaskView, moment: Moment) -> Job:
    times = (task.submit_time, task.scheduled_time, task.end_time)
    return replace(
        job,
        completed_ms=moment.now_ms,
        task_billed_seconds=task.billed_seconds,
        bill=_tokens_of(job, task),
        provider_times=times,
    )


def _tokens_of(job: Job, task: TaskView) -> Bill:
    """This file's tokens; of a task with several files an equal share, since nobody says which are whose."""
    files = max(1, job.task_files)
    return Bill(
        input_tokens=_share(task.input_tokens, files), output_tokens=_share(task.output_tokens, files)
    )


def _share(tokens: int | None, files: int) -> int | None:
    return None if tokens is None else math.ceil(tokens / files)


def _unknown(job: Job, moment: Moment) -> Transition:
    age_seconds = (moment.now_ms - (job.submitted_ms or 0)) / 1000
    if age_seconds < moment.rules.unknown_grace_seconds:
        return _look_later(job, moment)
    code = FailureCode.RESULT_EXPIRED if moment.now_ms >= edge_ms(job) else FailureCode.TASK_LOST
    message = f"the provider does not know the task {round(age_seconds)} s after its submit"
    return finish(job, FailureEnding(Stage.POLL, code, message, "UNKNOWN", retryable=True))


def _file_failed(job: Job, trouble: Trouble, moment: Moment) -> Transition:
    verdict = verdicts.on_file(trouble)
    if verdict.action is Action.EMPTY:
        return finish(job, ResultEnding(empty_transcript(), silent=True))
    may_resubmit = verdict.action is Action.RESUBMIT and not job.must_be_result
    if may_resubmit and may_try_again(job.tasks_made, verdict):
        return wait(job, trouble, moment)
    return fail(job, Stage.POLL, trouble, verdict)


def look_failed(job: Job, event: LookFailed, moment: Moment) -> Transition:
    """The task is paid for: go on looking until it is found, expires or the deadline passes."""
    failed = replace(job, poll_attempts=job.poll_attempts + 1)
    asked = event.trouble.retry_after_seconds
    wait_ms = moment.rules.look_backoff.wait_ms(failed.poll_attempts, moment.draw, asked)
    floor_ms = round(1000 * moment.rules.look_backoff.first_seconds)
    return _look_at(failed, moment.now_ms + floor_ms + wait_ms)


def look_again(job: Job, _event: Restored, moment: Moment) -> Transition:
    """A restored task is looked at soon, spread over a second so that a shard's tasks do not come at once."""
    return _look_at(job, moment.now_ms + round(1000 * moment.draw))


def _look_later(job: Job, moment: Moment) -> Transition:
    submitted_ms = job.submitted_ms if job.submitted_ms is not None else moment.now_ms
    return _look_at(job, moment.rules.look_schedule.next_look_ms(submitted_ms, moment.now_ms))


def _look_at(job: Job, due_ms: int) -> Transition:
    assert job.task_id is not None
    return Transition(job, steps=(Watch(job.key, job.task_id, due_ms),))


def _collect(job: Job, due_ms: int) -> Transition:
    assert job.transcription_url is not None
    step = Fetch(job.key, job.transcription_url, due_ms)
    return Transition(replace(job, state=State.COLLECTING), steps=(step,))


def fetched(job: Job, event: Fetched, _moment: Moment) -> Transition:
    """The transcript is here: that is how the job ends."""
    ending = ResultEnding(event.transcript, renderings=event.renderings)
    return finish(replace(job, fetch_attempts=job.fetch_attempts + 1), ending)


def fetch_failed(job: Job, event: FetchFailed, moment: Moment) -> Transition:
    """Try again while the table and the number of attempts allow."""
    verdict = verdicts.on_fetch(event.trouble)
    if verdict.action is Action.HOLD:
        return _hold(job, event.trouble, moment)
    failed = replace(job, fetch_attempts=job.fetch_attempts + 1, fetch_trouble=event.trouble.message)
    if is_overdue(failed, moment):
        return expire(failed, event, moment)
    if verdict.action is Action.RETRY and may_try_again(failed.fetch_attempts, verdict):
        asked = event.trouble.retry_after_seconds
        wait_ms = moment.rules.fetch_backoff.wait_ms(failed.fetch_attempts, moment.draw, asked)
        return _collect(failed, moment.now_ms + wait_ms)
    if verdict.action is Action.LOOK and may_try_again(failed.url_looks, verdict):
        return _ask_for_url(failed, moment)
    return fail(failed, Stage.COLLECT, event.trouble, verdict)


def _hold(job: Job, trouble: Trouble, moment: Moment) -> Transition:
    """Keep the paid result until another process has the right setting, the deadline or the 24 h edge.

    Trying again makes no call. It is bounded in time so that no shard that has gone is kept in a queue.
    """
    held = job if job.held else replace(job, held=trouble, fetch_attempts=job.fetch_attempts + 1)
    if is_overdue(held, moment):
        return fail(held, Stage.COLLECT, trouble, verdicts.on_fetch(trouble))
    if moment.now_ms >= edge_ms(held):
        message = f"{trouble.message}, and the provider keeps no result for longer than 24 h"
        ending = FailureEnding(Stage.COLLECT, FailureCode.RESULT_EXPIRED, message, retryable=True)
        return finish(held, ending)
    return _collect(held, min(moment.now_ms + HELD_MS, edge_ms(held)))


def _ask_for_url(job: Job, moment: Moment) -> Transition:
    """The host turned the URL down: the task may still be there, and give another."""
    running = replace(job, state=State.RUNNING, url_looks=job.url_looks + 1)
    wait_ms = moment.rules.fetch_backoff.wait_ms(job.fetch_attempts, moment.draw)
    return _look_at(running, moment.now_ms + wait_ms)


def expire_collecting(job: Job, _event: DeadlinePassed, moment: Moment) -> Transition:
    """The work is done and paid for: the first fetch, which is bounded, may still deliver it."""
    if job.held and not job.must_be_result:
        return fail(job, Stage.COLLECT, job.held, verdicts.on_fetch(job.held))
    return expire(job, DeadlinePassed(job.fetch_trouble), moment) if job.fetch_attempts else Transition(job)


def resume_finish(job: Job, _event: Restored, moment: Moment) -> Transition:
    """A restored FINISHING job: a failure is whole in its entry, a result has to be fetched again."""
    if isinstance(job.ending, FailureEnding):
        return Transition(job, durable=True)
    running = replace(job, state=State.RUNNING, must_be_result=True)
    return look_again(running, Restored(), moment)
