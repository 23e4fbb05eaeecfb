"""Isolate: confine a fault of ours to the record, job or submission being handled, and retry.

`Isolated` is the boundary of all three; `accept` keeps the faults of records, as only the group consumer can
deliver a record again. `FaultBoundary` keeps those of jobs and submissions.

An error raised inside a boundary has changed nothing (`core.shard.shard`), so it can be retried. The third
fault ends the job, or the jobs of the submission. No job ends while its shard is suspended, or because memory
ran out. No fault counts against a job while the failing stage is stopped (`StageBreaker`).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import field
from functools import partial
from types import TracebackType

from service.clock import Clock
from service.core.job.events import Adopted, HandlingFailed, JobEvent, Posted, SubmissionEvent, TaskMade
from service.core.job.identity import JobRef, SubmissionKey
from service.core.limits.backoff import Backoff
from service.frozen import dataclass
from service.pipeline.shard.stage_breaker import StageBreaker, StageName

MAX_FAULTS = 3
"""One fault may come from the circumstances, a second from the same ones; the third is the work's own."""
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=60.0)
"""The wait before a retry. A record blocks its partition meanwhile, so it begins with a second."""

Key = JobRef | SubmissionKey
Event = JobEvent | SubmissionEvent
Again = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Retry:
    """One retry: when, for which job or submission, in which stage."""

    at: float
    key: Key
    stage: StageName
    again: Again


@dataclass(slots=True)
class FaultBoundary:
    """The boundary around the handling of single jobs and submissions of one shard.

    `request_of` names the request behind a key. `may_end` returns whether the shard may end jobs. `end`
    applies the event that ends the job, or the jobs of the submission.
    """

    clock: Clock
    breaker: StageBreaker
    report: Callable[[str, Exception], None]
    request_of: Callable[[Key], str]
    may_end: Callable[[], bool]
    end: Callable[[Key, HandlingFailed], None]
    _faults: Counter[Key] = field(default_factory=Counter)
    _made: dict[Key, str] = field(default_factory=dict)
    """A task that is paid for but could not be recorded; the failure names it."""
    _given_up: set[Key] = field(default_factory=set)
    _waiting: list[Retry] = field(default_factory=list)

    def guard(self, key: Key, again: Again, stage: StageName, event: Event | None = None) -> "Isolated":
        """Catch what is raised inside; `again` is called later, in a boundary of its own.

        `event` is the event being applied to the job or submission.
        """
        return Isolated(partial(self._keep, Retry(0.0, key, stage, again), event))

    def isolate(self, subject: str) -> "Isolated":
        """Catch and report what is raised inside, without a retry."""
        return Isolated(partial(self.report, subject))

    def has_failed(self, key: Key) -> bool:
        """Whether handling an event of it has failed."""
        return key in self._faults

    def has_given_up(self, key: Key) -> bool:
        """Whether its ending was attempted; nothing else may happen to it."""
        return key in self._given_up

    def waiting(self) -> Iterator[Key]:
        """The jobs and submissions that wait for a retry."""
        return (retry.key for retry in self._waiting)

    def forget_gone(self, is_gone: Callable[[Key], bool]) -> None:
        """Forget jobs and submissions that no longer exist."""
        for key in [key for key in (*self._faults, *self._made, *self._given_up) if is_gone(key)]:
            self.forget(key)

    def forget(self, key: Key) -> None:
        """The job or submission is gone."""
        self._faults.pop(key, None)
        self._made.pop(key, None)
        self._given_up.discard(key)

    def try_again(self) -> None:
        """Run due retries, except in a stage that is stopped or on trial for others.

        A retry that fails goes behind the rest, so that each gets its turn during a trial.
        """
        if not self._waiting or not self.may_end():
            return
        waiting, self._waiting = self._waiting, []
        kept: list[Retry] = []
        for retry in waiting:
            if retry.at > self.clock.boot_seconds() or self.breaker.again_seconds(retry.stage) > 0:
                kept.append(retry)
                continue
            with self.guard(retry.key, retry.again, retry.stage):
                retry.again()
        self._waiting = kept + self._waiting

    def _keep(self, retry: Retry, event: Event | None, error: Exception) -> None:
        key = retry.key
        if isinstance(event, Posted | Adopted | TaskMade):
            self._made[key] = event.task_id
        self.report(str(key), error)
        if key in self._given_up:
            # Even ending it fails: leave it as it is, for the next owner or version.
            return
        self._count(retry, error)
        if self._faults[key] < MAX_FAULTS:
            wait_ms = BACKOFF.wait_ms(max(1, self._faults[key]), self.clock.draw())
            at = self.clock.boot_seconds() + wait_ms / 1000
            self._waiting.append(Retry(at, key, retry.stage, retry.again))
            return
        self._given_up.add(key)
        message = fault_text(error)
        # Do not end it here: another decision about the shard may be under way.
        end = partial(self.end, key, HandlingFailed(message, self._made.get(key)))
        self._waiting.append(Retry(self.clock.boot_seconds(), key, retry.stage, end))

    def _count(self, retry: Retry, error: Exception) -> None:
        if isinstance(error, MemoryError) or not self.may_end():
            return
        if self.breaker.failed(retry.stage, self.request_of(retry.key)):
            self._faults[retry.key] += 1


def fault_text(error: Exception) -> str:
    """The message of a failure that a fault of ours caused; it holds no text of the error itself."""
    name = type(error).__name__
    return f"internal error of Scribe ({name}), {MAX_FAULTS} times; see `internal_error` in its log"


class Isolated:
    """Pass what is raised inside to `on_error`, which may raise it again.

    The boundary of one request record, and of one job's or submission's event; a job enters some twenty, and
    a generator would cost three times as much.
    """

    __slots__ = ("_on_error",)

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error

    def __enter__(self) -> None:
        """Enter the boundary."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._on_error(error)
        return True
