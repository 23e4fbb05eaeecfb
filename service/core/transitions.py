"""What a job does next: one pure table over (state, event).

Rules this module guarantees:

1. Every pair of `State` and event type is in `TABLE`. One that cannot be is `impossible`: a bug, an error.
2. A job comes into SUBMITTING only by `Intended`, which the submit stage reports before it posts (N2).
3. A job that has a `task_id` loses it only when the table of `core.verdicts` says RESUBMIT (N3).
4. An ending is decided once: FINISHING ignores everything but its own publication (N1).
5. A late answer changes nothing.
6. A transition that is not `durable` is one that a restore, by looking at the task again, comes to as well.
"""

from collections.abc import Callable
from dataclasses import replace

from service.core import doubting, sending, watching
from service.core.ending import FailureEnding
from service.core.events import (
    EVENTS,
    Adopted,
    CancelAsked,
    DeadlinePassed,
    Event,
    Fetched,
    FetchFailed,
    HandlingFailed,
    Intended,
    Looked,
    LookFailed,
    NotFound,
    OutOfReach,
    Published,
    Restored,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
    Submitted,
    Transcribed,
    VocabularyRefused,
)
from service.core.job import Job, State
from service.core.moment import Moment, Transition, end_internally, expire
from service.errors import IllegalTransition

Answer = Callable[..., Transition]


def advance(job: Job, event: Event, moment: Moment) -> Transition:
    """Answer `event`; raises `IllegalTransition` for a pair that only a bug can make."""
    return TABLE[job.state, type(event)](job, event, moment)


def ignore(job: Job, _event: Event, _moment: Moment) -> Transition:
    """Change nothing: the event is late, or the state has its own way to meet it."""
    return Transition(job)


def impossible(job: Job, event: Event, _moment: Moment) -> Transition:
    """Refuse a pair that only a bug can make."""
    raise IllegalTransition(f"{job.key} in state {job.state} met {type(event).__name__}")


def resume_finish(job: Job, event: Restored, moment: Moment) -> Transition:
    """Send the outcome again; a result's transcript is fetched, or called for, once more."""
    if job.is_synchronous and not isinstance(job.ending, FailureEnding):
        return doubting.result_lost(job, moment)
    return watching.resume_finish(job, event, moment)


def done(job: Job, _event: Published, _moment: Moment) -> Transition:
    """Nothing is left but the marker."""
    return Transition(replace(job, state=State.DONE))


_LATE_LIST: dict[type[Event], Answer] = {VocabularyRefused: ignore}
"""Of a job that has gone on meanwhile."""
_LATE_FETCH: dict[type[Event], Answer] = {Fetched: ignore, FetchFailed: ignore}
"""Of a result whose URL was asked for anew meanwhile."""
_UNSENT: dict[type[Event], Answer] = {
    Intended: sending.intend,
    VocabularyRefused: sending.vocabulary_refused,
    Restored: sending.queue_again,
    CancelAsked: sending.cancel,
    DeadlinePassed: expire,
    HandlingFailed: end_internally,
    # A look that was out when the job went back to waiting for another submit.
    Looked: ignore,
    LookFailed: ignore,
    **_LATE_FETCH,
}
_ROWS: dict[State, dict[type[Event], Answer]] = {
    State.ACCEPTED: _UNSENT,
    State.WAITING: _UNSENT,
    State.SUBMITTING: {
        **_LATE_LIST,
        Submitted: sending.submitted,
        Transcribed: sending.transcribed,
        SubmitRefused: sending.refused,
        SubmitLost: doubting.lost,
        SubmitNotSent: sending.not_sent,
        Restored: doubting.lost_by_crash,
        CancelAsked: sending.note_cancel,
        # The answer to the POST is bounded in time and checks the deadline when it comes.
        DeadlinePassed: ignore,
        HandlingFailed: end_internally,
        Looked: ignore,
        LookFailed: ignore,
        **_LATE_FETCH,
    },
    State.UNCERTAIN: {
        **_LATE_LIST,
        Adopted: doubting.adopted,
        NotFound: doubting.not_found,
        OutOfReach: doubting.out_of_reach,
        **_LATE_FETCH,
        Restored: doubting.doubt_again,
        CancelAsked: doubting.cancel_uncertain,
        DeadlinePassed: doubting.expire_uncertain,
        HandlingFailed: doubting.end_uncertain_internally,
        Looked: ignore,
        LookFailed: ignore,
    },
    State.RUNNING: {
        **_LATE_LIST,
        Looked: watching.looked,
        LookFailed: watching.look_failed,
        Restored: watching.look_again,
        CancelAsked: sending.cancel,
        DeadlinePassed: expire,
        HandlingFailed: end_internally,
        **_LATE_FETCH,
    },
    State.COLLECTING: {
        **_LATE_LIST,
        Fetched: watching.fetched,
        FetchFailed: watching.fetch_failed,
        CancelAsked: sending.cancel,
        DeadlinePassed: watching.expire_collecting,
        HandlingFailed: end_internally,
        Looked: ignore,
        LookFailed: ignore,
    },
    State.FINISHING: {
        **_LATE_LIST,
        Published: done,
        # Taken for a submit that waited for its budget while a cancel or the deadline ended the job.
        Intended: ignore,
        # A pass over the list that was under way meanwhile.
        Adopted: ignore,
        NotFound: ignore,
        OutOfReach: ignore,
        Restored: resume_finish,
        CancelAsked: ignore,
        DeadlinePassed: ignore,
        HandlingFailed: ignore,
        Looked: ignore,
        LookFailed: ignore,
        Fetched: ignore,
        FetchFailed: ignore,
    },
    State.DONE: dict.fromkeys(EVENTS, ignore),
}
TABLE: dict[tuple[State, type[Event]], Answer] = {
    (state, event): row.get(event, impossible) for state, row in _ROWS.items() for event in EVENTS
}
"""Every pair, decided."""
