"""What a transition is told about the world, and the form of its answer."""

from dataclasses import dataclass, replace

from service.core.ending import Ending, FailureEnding
from service.core.events import QueueSubmit, Step
from service.core.job import Job, State
from service.core.retry import Backoff
from service.core.schedule import LookSchedule
from service.core.task import Trouble
from service.core.verdicts import Verdict
from service.errors import FailureCode
from service.messages import Stage


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers the table works with."""

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
    """The job as it is now, whether its entry must be durable before the steps run, and the steps."""

    job: Job
    durable: bool = False
    steps: tuple[Step, ...] = ()


def finish(job: Job, ending: Ending, *steps: Step) -> Transition:
    """Decide how the job ends."""
    if job.must_be_result and isinstance(ending, FailureEnding):
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
    """Forget the last attempt's task, if any, and queue the job for another submit."""
    wait_ms = moment.rules.submit_backoff.wait_ms(
        job.submit_attempts, moment.draw, trouble.retry_after_seconds
    )
    due_ms = moment.now_ms + wait_ms
    waiting = replace(
        job, state=State.WAITING, due_ms=due_ms, sealed_ms=None, task_id=None, task_files=0, submitted_ms=None
    )
    return Transition(waiting, durable=True, steps=(QueueSubmit(job.key, due_ms),))


def is_overdue(job: Job, moment: Moment) -> bool:
    """Whether the job's deadline has passed."""
    return moment.now_ms >= job.spec.deadline_ms


def expire(job: Job, _event: object, _moment: Moment) -> Transition:
    """End the job because its deadline has passed; one whose result may be out already goes on."""
    if job.must_be_result:
        return Transition(job)
    stage = STAGE_OF.get(job.state, Stage.SUBMIT)
    message = f"the deadline passed while the job was {job.state}"
    return finish(job, FailureEnding(stage, FailureCode.DEADLINE_EXCEEDED, message, retryable=True))
