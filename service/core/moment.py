"""What a transition is told about the world, and the form of its answer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from service.core.ending import Ending, FailureEnding
from service.core.events import (
    DeadlinePassed,
    Event,
    FetchFailed,
    HandlingFailed,
    QueueSubmit,
    Step,
    SubmitNotSent,
    SubmitRefused,
)
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.retry import Backoff
from service.core.schedule import LookSchedule
from service.core.task import Trouble
from service.core.verdict import Verdict
from service.errors import FailureCode
from service.messages import Stage

INTENT_SECONDS = 2.0
"""How long an intent is worth a POST, counted from the sealing of its batch."""
RECEIPT_SECONDS = 10.0
"""How long after its making an intent's batch may be sealed and durable and still be worth a POST."""

OnUncertain = Literal["reconcile", "resubmit", "fail"]


class Doubt(StrEnum):
    """What becomes of uncertain submits; the label of the metric that counts their jobs."""

    BEGUN = "begun"
    ADOPTED = "adopted"
    RESUBMITTED = "resubmitted"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers the table works with."""

    uncertain: OnUncertain = "reconcile"
    """What to do with a job whose submit may have made a task."""
    submit_seconds: float = 30.0
    """The whole time of a POST: no byte of it arrives later."""
    settle_seconds: float = 60.0
    """How long after its POST a task may take to be made and to be listed."""
    skew_seconds: float = 5.0
    """What the vendor's clock may differ from what an intent says of it: `Date` has whole seconds."""
    unknown_skew_seconds: float = 900.0
    """The same where the intent says nothing of it, and only this process's own reading is at hand."""
    readings_apart_seconds: float = 5.0
    """Between the two readings of the list without which no task counts as not there."""
    list_reach_seconds: float = 23 * 3600.0
    """The list shows tasks of the last 24 h; a submit that is older than this may have left it."""
    submit_backoff: Backoff = Backoff(1.0, 60.0)
    look_backoff: Backoff = Backoff(2.0, 60.0)
    fetch_backoff: Backoff = Backoff(1.0, 30.0)
    look_schedule: LookSchedule = LookSchedule()
    unknown_grace_seconds: float = 60.0
    """A task may be invisible for a moment after its submit; UNKNOWN counts only after this."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The wall clock and one random draw in [0, 1)."""

    now_ms: int
    draw: float
    rules: Rules = Rules()


@dataclass(frozen=True, slots=True)
class Transition:
    """The job as it is now, whether its entry must be durable before the steps run, and the steps.

    `doubts` says what became of an uncertain submit.
    """

    job: Job
    durable: bool = False
    steps: tuple[Step, ...] = ()
    doubts: tuple[Doubt, ...] = ()


Border = Callable[[JobKey, Event], AbstractContextManager[None]]
"""What keeps an error inside while a job meets an event."""


def without_border(_key: JobKey, _event: Event) -> AbstractContextManager[None]:
    """Keeps nothing inside."""
    return nullcontext()


def finish(job: Job, ending: Ending, *steps: Step) -> Transition:
    """Decide how the job ends; a fault of ours keeps its name, whatever may be out already."""
    is_ours = isinstance(ending, FailureEnding) and ending.code is FailureCode.INTERNAL_ERROR
    if job.must_be_result and isinstance(ending, FailureEnding) and not is_ours:
        ending = replace(ending, code=FailureCode.RESULT_EXPIRED)
    return Transition(replace(job, state=State.FINISHING, ending=ending), durable=True, steps=steps)


def may_try_again(attempts: int, verdict: Verdict) -> bool:
    """Whether the verdict allows more than `attempts`; without a number the deadline decides."""
    return verdict.max_attempts is None or attempts < verdict.max_attempts


def fail(job: Job, stage: Stage, trouble: Trouble, verdict: Verdict) -> Transition:
    """End the job with what the verdict says of the trouble."""
    ending = FailureEnding(stage, verdict.code, trouble.message, trouble.provider_code, verdict.retryable)
    return finish(job, ending)


STAGE_OF = {State.RUNNING: Stage.POLL, State.COLLECTING: Stage.COLLECT}


def wait(job: Job, trouble: Trouble, moment: Moment) -> Transition:
    """Give up the last attempt's task, if any, and queue the job for another submit."""
    wait_ms = moment.rules.submit_backoff.wait_ms(
        job.submit_attempts, moment.draw, trouble.retry_after_seconds
    )
    return submit_again(job, moment.now_ms + wait_ms)


def submit_again(job: Job, due_ms: int) -> Transition:
    """Queue the job for another submit; its tasks are remembered, so that none is taken for another's."""
    waiting = replace(
        without_intent(job), state=State.WAITING, due_ms=due_ms, task_id=None, former_tasks=job.task_ids
    )
    return Transition(
        replace(waiting, submitted_ms=None), durable=True, steps=(QueueSubmit(job.key, due_ms),)
    )


def without_intent(job: Job) -> Job:
    """The job with nothing left of its last intent."""
    return replace(job, sealed_ms=None, vendor_offset_ms=None, task_files=0)


def with_task(job: Job, task_id: str, task_files: int, submitted_ms: int) -> Job:
    """The job, running."""
    return replace(
        without_intent(job),
        state=State.RUNNING,
        task_id=task_id,
        task_files=task_files,
        tasks_made=job.tasks_made + 1,
        submitted_ms=submitted_ms,
    )


def is_overdue(job: Job, moment: Moment) -> bool:
    """Whether the job's deadline has passed, and may end it: one whose result may be out already goes on."""
    return not job.must_be_result and moment.now_ms >= job.spec.deadline_ms


def expire(job: Job, event: object, _moment: Moment) -> Transition:
    """End the job because its deadline has passed; one whose result may be out already goes on."""
    if job.must_be_result:
        return Transition(job)
    stage = STAGE_OF.get(job.state, Stage.SUBMIT)
    reason = _reason(event)
    message = f"the deadline passed while the job was {job.state}" + (f": {reason}" if reason else "")
    return finish(job, FailureEnding(stage, FailureCode.DEADLINE_EXCEEDED, message, retryable=True))


def end_internally(job: Job, event: HandlingFailed, moment: Moment) -> Transition:
    """End the job for a fault of ours; the task that was made for it goes on, and the failure names it."""
    stage, made = STAGE_OF.get(job.state, Stage.SUBMIT), event.made
    if made is not None and made.task_id not in job.task_ids:
        submitted_ms = moment.now_ms if job.sealed_ms is None else job.sealed_ms
        job = with_task(job, made.task_id, made.task_files, submitted_ms)
    return finish(job, FailureEnding(stage, FailureCode.INTERNAL_ERROR, event.message, retryable=True))


def _reason(event: object) -> str:
    """What stood in the way last, as the event that met the deadline tells it."""
    match event:
        case DeadlinePassed(reason):
            return reason
        case SubmitRefused(trouble) | SubmitNotSent(trouble) | FetchFailed(trouble):
            return trouble.message
        case _:
            return ""
