"""What a transition is told about the world, and the form of its answer.

How a shard lets things happen, in one group of records:

1. A submission meets its event with its open jobs beside it, then each job of `to_jobs` its own event, with
   the submission *as the transition has made it*. Jobs that only a `Successor` names meet nothing.
2. A job meets its event with the submission that it is in.
3. `successors` and `resubmit` become new submissions (`Successor.submission`) of their own keys, are written,
   and are queued (`QueueSubmit`); their jobs are in them from then on.
4. Where jobs left a submission that is not over, it then meets `JobsLeft`, with those that are still in it.

A job is open while it is WAITING, SUBMITTED or COLLECTING: how it ends is not decided. One whose result was
announced before a crash is restored as SUBMITTED, or WAITING where its submission waits, with
`must_be_result`: its transcript is not in the journal. Jobs are restored before their submissions.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

from service.core.job.events import JobEvent, Step, SubmissionEvent
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.job import Job
from service.core.job.submission import Counters, Submission
from service.core.job.uncertainty import UncertainOutcome
from service.core.limits.backoff import Backoff
from service.core.limits.schedule import PollSchedule
from service.core.provider.answers import TaskView
from service.core.provider.error_table import ErrorPolicy

INTENT_SECONDS = 2.0
"""How long an intent is worth a POST, counted from the sealing of its batch."""
RECEIPT_SECONDS = 10.0
"""How long after its making an intent's batch may be sealed and durable and still be worth a POST."""
MAX_LOST_CALLS = 3
"""Calls of a synchronous model that one job may lose, by crashes or on the way: each is paid."""
LAST_MS = 900_000
"""How long after its deadline the last poll of a job's task, and the fetch that follows, may take."""

OnUncertain = Literal["reconcile", "resubmit", "fail"]


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers the tables work with."""

    uncertain: OnUncertain = "reconcile"
    """What to do with jobs whose submission may have made a task."""
    submit_seconds: float = 30.0
    """The whole time of a POST: no byte of it arrives later."""
    settle_seconds: float = 60.0
    """How long after its POST a task may take to be made and to be listed."""
    skew_seconds: float = 5.0
    """What the vendor's clock may differ from what an intent says of it: `Date` has whole seconds."""
    unknown_skew_seconds: float = 900.0
    """The same where the intent says nothing of it, and only this process's own reading is at hand."""
    listings_apart_seconds: float = 5.0
    """Between the two readings of the list without which no task counts as not there."""
    list_reach_seconds: float = 23 * 3600.0
    """The list shows tasks of the last 24 h; a submit that is older than this may have left it."""
    submit_backoff: Backoff = Backoff(1.0, 60.0)
    poll_backoff: Backoff = Backoff(2.0, 60.0)
    fetch_backoff: Backoff = Backoff(1.0, 30.0)
    poll_schedule: PollSchedule = PollSchedule()
    unknown_grace_seconds: float = 60.0
    """A task may be invisible for a moment after its submit; UNKNOWN counts only after this."""


@dataclass(frozen=True, slots=True)
class Context:
    """The trusted time and one random draw in [0, 1)."""

    now_ms: int
    draw: float
    rules: Rules = Rules()
    confirmed_ms: int | None = None
    """The time as far as the vendor's clock has confirmed it; None: as far as `now_ms`."""

    def has_come(self, time_ms: int) -> bool:
        """Whether a time at which something ends has surely come."""
        return self.ending_ms >= time_ms

    @property
    def ending_ms(self) -> int:
        """The time by which things end."""
        return self.now_ms if self.confirmed_ms is None else self.confirmed_ms


@dataclass(frozen=True, slots=True)
class Successor:
    """A submission that is to be made: it has no key yet."""

    jobs: tuple[JobRef, ...]
    model: str
    counters: Counters
    due_ms: int

    def submission(self, key: SubmissionKey, created_ms: int) -> Submission:
        """The submission, WAITING under its key."""
        return Submission(key, self.model, self.jobs, created_ms, due_ms=self.due_ms, counters=self.counters)


@dataclass(frozen=True, slots=True)
class SubmissionTransition:
    """The submission as it is now, whether it must be written before the steps run, and what follows.

    `to_jobs` is what its open jobs meet. `is_over`: nothing more can happen to it, its record waits for its
    tombstone. `bill` is the task, on the first poll that found it finished: what jobs that ended before it
    cost is known only now (those of `submission.jobs` that are not open and whose end has no bill).
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
    """The job as it is now, whether it needs a record of its own, and what follows.

    `durable`: a cancel was noted, or how it ends is decided (FINISHING). `leaves`: it is not open in its
    submission any more, `is_unwanted` because of a cancel or its deadline. `resubmit` is the submission that
    it wants instead of its own; the job is WAITING for it.
    """

    job: Job
    durable: bool = False
    steps: tuple[Step, ...] = ()
    leaves: bool = False
    is_unwanted: bool = False
    resubmit: Successor | None = None
    uncertain_outcomes: tuple[UncertainOutcome, ...] = ()


Boundary = Callable[[JobRef | SubmissionKey, JobEvent | SubmissionEvent], AbstractContextManager[None]]
"""What keeps an error inside while a job, or a restored submission, meets an event."""


def without_boundary(
    _of: JobRef | SubmissionKey, _event: JobEvent | SubmissionEvent
) -> AbstractContextManager[None]:
    """Keeps nothing inside."""
    return nullcontext()


def may_try_again(attempts: int, policy: ErrorPolicy) -> bool:
    """Whether the policy allows more than `attempts`; without a number the deadline decides."""
    return policy.max_attempts is None or attempts < policy.max_attempts


def is_overdue(job: Job, context: Context) -> bool:
    """Whether the job's deadline has passed, and may end it: one whose result may be out already goes on."""
    return not job.must_be_result and context.has_come(job.request.deadline_ms)


def is_given_up(job: Job, context: Context) -> bool:
    """Whether the job is not to be posted any more: it was cancelled, or its deadline has passed."""
    return job.cancelled or is_overdue(job, context)
