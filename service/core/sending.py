"""Answers of a job that has no provider task: waiting for its submit, or with its POST out."""

from dataclasses import replace

from service.contract.speech import empty_transcript
from service.core import verdicts
from service.core.division import group_alone, is_about_number, may_be_about_one
from service.core.ending import FailureEnding, ResultEnding
from service.core.events import (
    CancelAsked,
    CancelTask,
    Intended,
    QueueSubmit,
    Restored,
    SubmitNotSent,
    SubmitRefused,
    Submitted,
    Transcribed,
    VocabularyRefused,
    Watch,
)
from service.core.job import Job, State
from service.core.moment import (
    Moment,
    Transition,
    expire,
    fail,
    finish,
    is_overdue,
    may_try_again,
    wait,
    with_task,
    without_intent,
)
from service.core.verdict import Action
from service.errors import FailureCode
from service.messages import Stage


def intend(job: Job, event: Intended, moment: Moment) -> Transition:
    """Take the job for a submit, unless its time is over."""
    if is_overdue(job, moment):
        return expire(job, event, moment)
    taken = replace(
        job,
        state=State.SUBMITTING,
        submit_attempts=job.submit_attempts + 1,
        sealed_ms=event.sealed_ms,
        vendor_offset_ms=event.vendor_offset_ms,
        task_files=event.files,
        group=job.group if event.group is None else event.group,
        due_ms=0,
    )
    return Transition(taken, durable=True)


def vocabulary_refused(job: Job, event: VocabularyRefused, _moment: Moment) -> Transition:
    """Without its list the job would be heard worse than was asked for, and billed: end it before."""
    return fail(job, Stage.SUBMIT, event.trouble, verdicts.on_vocabulary(event.trouble))


def queue_again(job: Job, _event: Restored, _moment: Moment) -> Transition:
    """A restored job goes back into the queue with the time it was due at."""
    return Transition(job, steps=(QueueSubmit(job.key, job.due_ms),))


def cancel(job: Job, _event: CancelAsked, _moment: Moment) -> Transition:
    """End the job, and drop its task at the provider if that is still possible.

    A job whose result may be out already goes on.
    """
    if job.must_be_result:
        return Transition(job)
    steps = (CancelTask(job.task_id),) if job.task_id else ()
    stage = Stage.POLL if job.task_id else Stage.SUBMIT
    return finish(job, FailureEnding(stage, FailureCode.CANCELLED, "cancelled on request"), *steps)


def note_cancel(job: Job, _event: CancelAsked, _moment: Moment) -> Transition:
    """The POST is out: its answer decides whether there is a task to drop.

    A job whose result may be out already goes on.
    """
    if job.must_be_result:
        return Transition(job)
    return Transition(replace(job, cancelled=True), durable=True)


def submitted(job: Job, event: Submitted, moment: Moment) -> Transition:
    """The task id goes into the journal before anything else happens."""
    running = with_task(job, event.task_id, event.task_files, moment.now_ms)
    if job.cancelled:
        return cancel(running, CancelAsked(), moment)
    if is_overdue(job, moment):
        return expire(running, event, moment)
    due_ms = moment.rules.look_schedule.next_look_ms(moment.now_ms, moment.now_ms)
    return Transition(running, durable=True, steps=(Watch(job.key, event.task_id, due_ms),))


def transcribed(job: Job, event: Transcribed, moment: Moment) -> Transition:
    """The transcript is here, and paid for: that is how the job ends, whatever its deadline says."""
    bill = event.bill
    heard = replace(
        without_intent(job),
        tasks_made=job.tasks_made + 1,
        submitted_ms=job.sealed_ms,
        completed_ms=moment.now_ms,
        task_billed_seconds=bill.seconds,
        bill=bill,
    )
    if job.cancelled:
        return cancel(heard, CancelAsked(), moment)
    if any(channel.text for channel in event.transcript.channels):
        return finish(heard, ResultEnding(event.transcript))
    return finish(heard, ResultEnding(replace(event.transcript, channels=()), silent=True))


def refused(job: Job, event: SubmitRefused, moment: Moment) -> Transition:
    """There is no task: hold, try later or fail, as the table says."""
    over = _over(job, event, moment)
    if over:
        return over
    verdict = verdicts.on_submit(event.trouble)
    if verdict.action is Action.HOLD:
        return _keep(job, moment)
    if job.task_files > 1 and is_about_number(event.trouble):
        return _keep(job, moment)
    if job.task_files > 1 and may_be_about_one(event.trouble):
        return _keep(replace(job, group=group_alone(job.file_index)), moment)
    if verdict.max_attempts is not None and not event.in_outage:
        job = replace(job, refusals=job.refusals + 1)
    if verdict.action is Action.RETRY and may_try_again(job.refusals, verdict):
        return wait(job, event.trouble, moment)
    if verdict.action is Action.EMPTY:
        return finish(job, ResultEnding(empty_transcript(), silent=True))
    return fail(job, Stage.SUBMIT, event.trouble, verdict)


def _keep(job: Job, moment: Moment) -> Transition:
    """The reason says nothing about the job, so it costs no attempt: it is the account's, for which the
    submit stage holds, or that of a submit of several files, of which fewer go together next."""
    kept = replace(without_intent(job), state=State.ACCEPTED, submit_attempts=job.submit_attempts - 1)
    return Transition(kept, durable=True, steps=(QueueSubmit(job.key, moment.now_ms),))


def not_sent(job: Job, event: SubmitNotSent, moment: Moment) -> Transition:
    """Nothing was sent: the provider was out of reach, which costs the job no attempt."""
    over = _over(job, event, moment)
    if over:
        return over
    waited = wait(job, event.trouble, moment)
    return replace(waited, job=replace(waited.job, submit_attempts=job.submit_attempts - 1))


def _over(job: Job, event: SubmitRefused | SubmitNotSent, moment: Moment) -> Transition | None:
    if job.cancelled:
        return cancel(job, CancelAsked(), moment)
    if is_overdue(job, moment):
        return expire(job, event, moment)
    return None
