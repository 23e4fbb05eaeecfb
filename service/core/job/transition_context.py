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
from service.frozen import dataclass

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
    """Never slower than the vendor's own SDK: 1 s at first, 5 s at most (its page advises 2 to 5 s)."""
    reconcile_schedule: PollSchedule = PollSchedule(2.0, 30.0)
    """A pass reads the whole list."""
    unknown_grace_seconds: float = 60.0
    """A new task may be invisible for a moment; UNKNOWN counts only this long after its submit."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision takes from outside: the time, one random draw, and the rules."""

    now_ms: int
    """Trusted time."""
    draw: float
    """Uniform in [0, 1): spreads retries."""
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
    """The changed submission, and what follows."""

    submission: Submission
    durable: bool = False
    """Whether it must be written before the steps run."""
    steps: tuple[Step, ...] = ()
    to_jobs: tuple[tuple[JobRef, JobEvent], ...] = ()
    """The events for its open jobs."""
    successors: tuple[Successor, ...] = ()
    """The submissions that its jobs move to."""
    uncertain_outcomes: tuple[UncertainOutcome, ...] = ()
    """What became of it, if it was uncertain: for the metric."""
    is_over: bool = False
    """No further event can happen; its record waits for its tombstone."""
    bill: TaskView | None = None
    """The task, on the first poll that found it finished.

    It gives the cost of jobs that ended earlier: those of `submission.jobs` that are not open and whose end
    has no bill.
    """


@dataclass(frozen=True, slots=True)
class JobTransition:
    """The changed job, and what follows."""

    job: Job
    durable: bool = False
    """Whether it needs a record: a cancel was noted, or the ending is decided (FINISHING)."""
    steps: tuple[Step, ...] = ()
    leaves: bool = False
    """The job is no longer open in its submission."""
    is_unwanted: bool = False
    """It leaves because of a cancel or its deadline."""
    resubmit: Successor | None = None
    """The new submission that the job is WAITING for."""
    uncertain_outcomes: tuple[UncertainOutcome, ...] = ()
    """What became of the job, if its submission was uncertain: for the metric."""


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
    """Whether the job's deadline has passed.

    Never for a job whose result may already be published.
    """
    return not job.must_be_result and context.has_come(job.request.deadline_ms)


def is_given_up(job: Job, context: Context) -> bool:
    """Whether the job must not be posted again: it was cancelled, or its deadline has passed."""
    return job.cancelled or is_overdue(job, context)
