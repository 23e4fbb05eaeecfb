"""The transitions of a submission: one pure table over (state, event).

Rules this module guarantees:

1. Every pair of `SubmissionState` and event is in `TRANSITIONS`. A pair that only a bug can cause is
   `impossible`: an error.
2. A submission enters INTENDED only by `Intended`, which the submit stage reports before it posts (N2).
3. A submission with a task keeps that task and is never posted again (N3): a file is tried again in another
   submission.
4. A submission has a task, or certainly none, for all its jobs at once.
5. A restore that polls the task again reaches the same state as a transition that is not `durable`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from service.core.job import on_poll, on_submit, on_uncertain
from service.core.job.events import (
    SUBMISSION_EVENTS,
    Adopted,
    HotwordListRefused,
    Intended,
    JobsLeft,
    NotFound,
    OutOfReach,
    Polled,
    PollFailed,
    Posted,
    SubmissionEvent,
    SubmissionRestored,
    SubmitAnswered,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
)
from service.core.job.identity import JobRef
from service.core.job.job import Job
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Context, JobLookup, SubmissionTransition, open_jobs
from service.errors import IllegalTransition

SubmissionHandler = Callable[..., SubmissionTransition]


def advance_submission(
    submission: Submission, event: SubmissionEvent, jobs: JobLookup, context: Context
) -> SubmissionTransition:
    """Apply `event` to the submission.

    Raises `IllegalTransition` for a pair that only a bug can cause.

    Of `jobs`, those that are open and in the submission take part.
    """
    transition = TRANSITIONS[submission.state, type(event)]
    return transition.handler(submission, event, open_jobs(submission, jobs), context)


def ignore(
    submission: Submission, _event: SubmissionEvent, _jobs: Mapping[JobRef, Job], _context: Context
) -> SubmissionTransition:
    """Change nothing: the event is late, or the state does not need it."""
    return SubmissionTransition(submission)


def impossible(
    submission: Submission, event: SubmissionEvent, _jobs: Mapping[JobRef, Job], _context: Context
) -> SubmissionTransition:
    """Raise for a pair that only a bug can cause."""
    raise IllegalTransition(f"{submission.key} in state {submission.state} met {type(event).__name__}")


def await_answer(
    submission: Submission, _event: JobsLeft, _jobs: Mapping[JobRef, Job], _context: Context
) -> SubmissionTransition:
    """Change nothing: the POST may be in flight, and its answer decides."""
    return SubmissionTransition(submission)


class Transition(NamedTuple):
    """The function that handles a pair, and the other states it may lead to.

    None: the submission is over.
    """

    handler: SubmissionHandler
    to: tuple[SubmissionState | None, ...] = ()


_ROWS: dict[SubmissionState, dict[type[SubmissionEvent], Transition]] = {
    SubmissionState.WAITING: {
        Intended: Transition(on_submit.intend, (SubmissionState.INTENDED, None)),
        HotwordListRefused: Transition(on_submit.hotword_list_refused, (None,)),
        JobsLeft: Transition(on_submit.drop_left_jobs, (None,)),
        SubmissionRestored: Transition(on_submit.queue_again, (None,)),
    },
    SubmissionState.INTENDED: {
        Posted: Transition(on_submit.posted, (SubmissionState.RUNNING,)),
        SubmitAnswered: Transition(on_submit.answered, (None,)),
        SubmitRefused: Transition(on_submit.refused, (SubmissionState.WAITING, None)),
        SubmitLost: Transition(on_uncertain.lost, (SubmissionState.UNCERTAIN, SubmissionState.WAITING, None)),
        SubmitNotSent: Transition(on_submit.not_sent, (SubmissionState.WAITING, None)),
        # The submission no longer waited for the hotword list.
        HotwordListRefused: Transition(ignore),
        JobsLeft: Transition(await_answer),
        SubmissionRestored: Transition(
            on_uncertain.lost_by_crash, (SubmissionState.UNCERTAIN, SubmissionState.WAITING, None)
        ),
    },
    SubmissionState.UNCERTAIN: {
        Adopted: Transition(on_uncertain.adopted, (SubmissionState.RUNNING,)),
        NotFound: Transition(on_uncertain.not_found, (None,)),
        OutOfReach: Transition(on_uncertain.out_of_reach, (None,)),
        HotwordListRefused: Transition(ignore),
        JobsLeft: Transition(on_uncertain.search_on),
        SubmissionRestored: Transition(on_uncertain.reconcile_again),
    },
    SubmissionState.RUNNING: {
        Polled: Transition(on_poll.polled, (None,)),
        PollFailed: Transition(on_poll.poll_failed, (None,)),
        # Two reconciling passes found the task while the shard was suspended.
        Adopted: Transition(ignore),
        HotwordListRefused: Transition(ignore),
        JobsLeft: Transition(on_poll.follow, (None,)),
        SubmissionRestored: Transition(on_poll.poll_again, (None,)),
    },
}
_NO_TRANSITION = Transition(impossible)
TRANSITIONS: dict[tuple[SubmissionState, type[SubmissionEvent]], Transition] = {
    (state, event): row.get(event, _NO_TRANSITION)
    for state, row in _ROWS.items()
    for event in SUBMISSION_EVENTS
}
"""Every pair with its transition."""
