"""The input of a transition (time, random draw, rules) and the form of its result.

How a shard applies events, in one group of records:

1. A submission gets its event together with its open jobs. Each job in `to_jobs` then gets its own event,
   with the submission *as the transition has changed it*. Jobs named only by a `Successor` get no event.
2. A job gets its event together with the submission that it is in.
3. `successors` and `resubmit` become new submissions with new keys (`Successor.submission`). They are written
   and queued (`QueueSubmit`), and their jobs are in them from then on.
4. A submission that jobs have left and that is not over then gets `JobsLeft`, with the jobs still in it.

A job is open while it is WAITING, SUBMITTED or COLLECTING: its ending is not decided. A job whose result was
announced before a crash is restored with `must_be_result`, as SUBMITTED, or as WAITING if its submission
waits: its transcript is not in the journal. Jobs are restored before their submissions.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from service.core.job.events import JobEvent, Step, SubmissionEvent
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.job import Job
from service.core.job.submission import Counters, Submission
from service.core.job.uncertainty import UncertainOutcome
from service.core.limits.backoff import Backoff
from service.core.limits.schedule import PollSchedule
from service.core.provider.answers import TaskView
from service.core.provider.error_table import ErrorPolicy
from service.dataclasses import dataclass

INTENT_SECONDS = 2.0
"""How long an intent is valid for a POST, counted from the sealing of its batch."""
COMMIT_WAIT_SECONDS = 10.0
"""Within this time of the intent, its batch must be sealed and durable, or its POST is not sent."""
MAX_LOST_CALLS = 3
"""Calls of a synchronous model that one job may lose, by crashes or in transit: each is paid."""
LAST_POLL_GRACE_MS = 900_000
"""How long after a job's deadline the last poll of its task, and the fetch that follows, may take."""

OnUncertain = Literal["reconcile", "resubmit", "fail"]


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that the tables use."""

    uncertain: OnUncertain = "reconcile"
    """What to do with jobs whose submission may have created a task."""
    submit_seconds: float = 30.0
    """The maximum duration of a POST: no byte of it arrives later."""
    settle_seconds: float = 60.0
    """How long after its POST a task may take to be created and listed."""
    skew_seconds: float = 5.0
    """How far the vendor's clock may differ from the intent's offset: `Date` has whole seconds."""
    unknown_skew_seconds: float = 900.0
    """The same for an intent without an offset, when only this process's own offset is known."""
    listings_apart_seconds: float = 5.0
    """Time between the two task listings that are needed to conclude that a task does not exist."""
    list_reach_seconds: float = 23 * 3600.0
    """The list shows tasks of the last 24 h; a submit older than this may no longer be in it."""
    submit_backoff: Backoff = Backoff(1.0, 60.0)
    poll_backoff: Backoff = Backoff(2.0, 60.0)
    fetch_backoff: Backoff = Backoff(1.0, 30.0)
    poll_schedule: PollSchedule = PollSchedule(1.0, 5.0)
    """As the vendor advises (2 to 5 s), and never slower than its own SDK: 1 s at first, 5 s at most."""
    reconcile_schedule: PollSchedule = PollSchedule(2.0, 30.0)
    """A pass reads the whole list."""
    unknown_grace_seconds: float = 60.0
    """A new task may be invisible for a moment; UNKNOWN counts only this long after its submit."""


@dataclass(frozen=True, slots=True)
class Context:
    """The trusted time and one random draw in [0, 1)."""

    now_ms: int
    draw: float
    rules: Rules = Rules()
    confirmed_ms: int | None = None
    """The confirmed trusted time; None: the same as `now_ms`."""

    def has_come(self, time_ms: int) -> bool:
        """Whether the confirmed time has reached `time_ms`."""
        return self.ending_ms >= time_ms

    @property
    def ending_ms(self) -> int:
        """The time that decides deadlines and other ends: the confirmed time."""
        return self.now_ms if self.confirmed_ms is None else self.confirmed_ms


@dataclass(frozen=True, slots=True)
class Successor:
    """A submission to create; it has no key yet."""

    jobs: tuple[JobRef, ...]
    model: str
    counters: Counters
    due_ms: int

    def submission(self, key: SubmissionKey, created_ms: int) -> Submission:
        """The submission, WAITING under its key."""
        return Submission(key, self.model, self.jobs, created_ms, due_ms=self.due_ms, counters=self.counters)


@dataclass(frozen=True, slots=True)
class SubmissionTransition:
    """The changed submission, whether it must be written before the steps run, and what follows.

    `to_jobs` are the events for its open jobs. `is_over`: no further event can happen, and its record waits
    for its tombstone. `bill` is the task, on the first poll that found it finished: it gives the cost of jobs
    that ended earlier (those of `submission.jobs` that are not open and whose end has no bill).
    """

    submission: Submission
    durable: bool = False
    steps: tuple[Step, ...] = ()
    to_jobs: tuple[tuple[JobRef, JobEvent], ...] = ()
    successors: tuple[Successor, ...] = ()
    uncertain_outcomes: tuple[UncertainOutcome, ...] = ()
    is_over: bool = False
    bill: TaskView | None = None


@dataclass(frozen=True, slots=True)
class JobTransition:
    """The changed job, whether it needs a record of its own, and what follows.

    `durable`: a cancel was noted, or the ending is decided (FINISHING). `leaves`: the job is no longer open
    in its submission; `is_unwanted`: because of a cancel or its deadline. `resubmit` is the new submission
    that the job is WAITING for.
    """

    job: Job
    durable: bool = False
    steps: tuple[Step, ...] = ()
    leaves: bool = False
    is_unwanted: bool = False
    resubmit: Successor | None = None
    uncertain_outcomes: tuple[UncertainOutcome, ...] = ()


Boundary = Callable[[JobRef | SubmissionKey, JobEvent | SubmissionEvent], AbstractContextManager[None]]
"""Makes the context that contains an error while a job, or a restored submission, handles an event."""


class JobLookup(Protocol):
    """Jobs by reference: a mapping, or a shard's draft."""

    def get(self, key: JobRef, /) -> Job | None:
        """The job, or None if there is none."""
        ...


def open_jobs(submission: Submission, jobs: JobLookup) -> dict[JobRef, Job]:
    """The jobs in the submission whose ending is not decided."""
    found = ((ref, jobs.get(ref)) for ref in submission.jobs)
    return {ref: job for ref, job in found if job and job.is_open and job.submission == submission.key}


def without_boundary(
    _of: JobRef | SubmissionKey, _event: JobEvent | SubmissionEvent
) -> AbstractContextManager[None]:
    """A boundary that contains no error."""
    return nullcontext()


def may_try_again(attempts: int, policy: ErrorPolicy) -> bool:
    """Whether the policy allows more than `attempts`; without a maximum the deadline decides."""
    return policy.max_attempts is None or attempts < policy.max_attempts


def is_overdue(job: Job, context: Context) -> bool:
    """Whether the job's deadline has passed; never for a job whose result may already be published."""
    return not job.must_be_result and context.has_come(job.request.deadline_ms)


def is_given_up(job: Job, context: Context) -> bool:
    """Whether the job must not be posted again: it was cancelled, or its deadline has passed."""
    return job.cancelled or is_overdue(job, context)
