"""The transitions of a job: one pure table over (state, event).

Rules this module guarantees:

1. Every pair of `JobState` and event is in `TRANSITIONS`. A pair that only a bug can cause is `impossible`:
   an error.
2. An ending is decided once: FINISHING ignores everything but its own publication and a restore (N1).
3. A late answer changes nothing.
4. A restore reaches the same state as a transition that is not `durable`, from the submission's record or by
   polling the task again.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from service.core.job import on_fetch, on_task
from service.core.job.events import (
    JOB_EVENTS,
    CancelAsked,
    DeadlinePassed,
    Fetched,
    FetchFailed,
    GivenBack,
    HandlingFailed,
    JobEvent,
    JobRestored,
    NoResult,
    PostIntended,
    Published,
    ReadyToCollect,
    SubmitFailed,
    TaskMade,
    Transcribed,
)
from service.core.job.job import Job, JobState
from service.core.job.submission import Submission
from service.core.job.transition_context import Context, JobTransition
from service.errors import IllegalTransition

JobHandler = Callable[..., JobTransition]


def advance_job(job: Job, event: JobEvent, submission: Submission | None, context: Context) -> JobTransition:
    """Apply `event` to the job.

    Raises `IllegalTransition` for a pair that only a bug can cause.

    `submission` is the current state of the job's submission; a FINISHING or DONE job may have none.
    """
    if submission is None and job.is_open:
        raise IllegalTransition(f"{job.key} in state {job.state} is in no submission")
    return TRANSITIONS[job.state, type(event)].handler(job, event, submission, context)


def ignore(job: Job, _event: JobEvent, _submission: Submission | None, _context: Context) -> JobTransition:
    """Change nothing: the event is late, or the state does not need it."""
    return JobTransition(job)


def impossible(job: Job, event: JobEvent, _submission: Submission | None, _context: Context) -> JobTransition:
    """Raise for a pair that only a bug can cause."""
    raise IllegalTransition(f"{job.key} in state {job.state} met {type(event).__name__}")


def stay(job: Job, _event: JobRestored, _submission: Submission, _context: Context) -> JobTransition:
    """Change nothing: the job's submission is restored too, and schedules the next step."""
    return JobTransition(job)


def published(
    job: Job, _event: Published, _submission: Submission | None, _context: Context
) -> JobTransition:
    """The outcome is durable: only how the job ended is kept."""
    return JobTransition(replace(job, state=JobState.DONE))


class Transition(NamedTuple):
    """The function that handles a pair, and the other states that it may lead to."""

    handler: JobHandler
    to: tuple[JobState, ...] = ()


_WAITING, _SUBMITTED, _FINISHING = (JobState.WAITING,), (JobState.SUBMITTED,), (JobState.FINISHING,)
_IGNORE = Transition(ignore)
_LATE_FETCH: dict[type[JobEvent], Transition] = {Fetched: _IGNORE, FetchFailed: _IGNORE}
"""The job meanwhile polls for a new result URL, or gave the task up."""
_LATE_POLL: dict[type[JobEvent], Transition] = {ReadyToCollect: _IGNORE, NoResult: _IGNORE}
"""An event that is retried after a fault of ours, when another poll was handled meanwhile."""
_ROWS: dict[JobState, dict[type[JobEvent], Transition]] = {
    JobState.WAITING: {
        PostIntended: Transition(on_task.post_intended, _SUBMITTED),
        # A fault of ours kept the job from handling PostIntended.
        TaskMade: Transition(on_task.task_made, _SUBMITTED),
        GivenBack: Transition(on_task.given_back, _FINISHING),
        SubmitFailed: Transition(on_task.submit_failed, _FINISHING),
        CancelAsked: Transition(on_task.cancel_now, _FINISHING),
        DeadlinePassed: Transition(on_task.expire_waiting, _FINISHING),
        HandlingFailed: Transition(on_task.end_internally, _FINISHING),
        JobRestored: Transition(stay),
        **_LATE_POLL,
        **_LATE_FETCH,
    },
    JobState.SUBMITTED: {
        PostIntended: _IGNORE,
        GivenBack: Transition(on_task.given_back, _WAITING + _FINISHING),
        TaskMade: Transition(on_task.task_made, _FINISHING),
        ReadyToCollect: Transition(on_fetch.ready, (JobState.COLLECTING,)),
        NoResult: Transition(on_task.no_result, _WAITING + _FINISHING),
        Transcribed: Transition(on_task.transcribed, _FINISHING),
        SubmitFailed: Transition(on_task.submit_failed, _FINISHING),
        CancelAsked: Transition(on_task.cancel_submitted, _FINISHING),
        DeadlinePassed: Transition(on_task.expire_submitted, _FINISHING),
        HandlingFailed: Transition(on_task.end_internally, _FINISHING),
        JobRestored: Transition(stay),
        **_LATE_FETCH,
    },
    JobState.COLLECTING: {
        Fetched: Transition(on_fetch.fetched, _FINISHING),
        FetchFailed: Transition(on_fetch.fetch_failed, _SUBMITTED + _FINISHING),
        CancelAsked: Transition(on_task.cancel_now, _FINISHING),
        DeadlinePassed: Transition(on_fetch.expire_collecting, _FINISHING),
        HandlingFailed: Transition(on_task.end_internally, _FINISHING),
        TaskMade: _IGNORE,
        **_LATE_POLL,
    },
    JobState.FINISHING: {
        **dict.fromkeys(JOB_EVENTS, _IGNORE),
        PostIntended: Transition(impossible),
        JobRestored: Transition(on_task.resume_finish),
        Published: Transition(published, (JobState.DONE,)),
    },
    JobState.DONE: dict.fromkeys(JOB_EVENTS, _IGNORE),
}
_NO_TRANSITION = Transition(impossible)
TRANSITIONS: dict[tuple[JobState, type[JobEvent]], Transition] = {
    (state, event): row.get(event, _NO_TRANSITION) for state, row in _ROWS.items() for event in JOB_EVENTS
}
"""Every pair with its transition."""
