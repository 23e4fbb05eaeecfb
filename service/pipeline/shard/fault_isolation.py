"""Isolate: a fault of ours in the handling of one job or submission stays with it, and is tried again.

What is raised inside a border has changed nothing (`core.shard.shard`), so it can be tried anew. The third
fault ends the job, or the jobs of the submission. Nothing ends a job while its shard is suspended, or for
want of memory; and no fault counts against it while the stage that fails is stopped (`StageBreaker`).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from service.clock import Clock
from service.core.job.events import Adopted, HandlingFailed, JobEvent, Posted, SubmissionEvent, TaskMade
from service.core.job.identity import JobRef, SubmissionKey
from service.core.limits.backoff import Backoff
from service.pipeline.shard.stage_breaker import StageBreaker, StageName

MAX_FAULTS = 3
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=60.0)

Key = JobRef | SubmissionKey
Event = JobEvent | SubmissionEvent
Again = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Retry:
    """What is to be done again."""

    at: float
    key: Key
    stage: StageName
    again: Again


@dataclass(slots=True)
class FaultBoundary:
    """The border around what happens to single jobs and submissions of one shard.

    `request_of` names the request behind a key. `may_end` says whether the shard may end jobs at all; `end`
    lets the job, or the jobs of the submission, meet the event that ends them.
    """

    clock: Clock
    breaker: StageBreaker
    report: Callable[[str, Exception], None]
    request_of: Callable[[Key], str]
    may_end: Callable[[], bool]
    end: Callable[[Key, HandlingFailed], None]
    _faults: Counter[Key] = field(default_factory=Counter)
    _made: dict[Key, str] = field(default_factory=dict)
    """The task that could not be noted yet and is paid for: the failure names it."""
    _given_up: set[Key] = field(default_factory=set)
    _waiting: list[Retry] = field(default_factory=list)

    def guard(
        self, key: Key, again: Again, stage: StageName, event: Event | None = None
    ) -> AbstractContextManager[None]:
        """Keep what is raised inside; `again` is called later, in a border of its own.

        `event` is what the job or submission is to meet.
        """
        return _kept(partial(self._keep, Retry(0.0, key, stage, again), event))

    def isolate(self, subject: str) -> AbstractContextManager[None]:
        """Keep what is raised inside, and go on without it."""
        return _kept(partial(self.report, subject))

    def has_given_up(self, key: Key) -> bool:
        """Whether its ending was tried: nothing else is to happen to it."""
        return key in self._given_up

    def waiting(self) -> Iterator[Key]:
        """What is to be tried again."""
        return (retry.key for retry in self._waiting)

    def forget_gone(self, is_gone: Callable[[Key], bool]) -> None:
        """Forget what has gone without a word."""
        for key in [key for key in (*self._faults, *self._given_up) if is_gone(key)]:
            self.forget(key)

    def forget(self, key: Key) -> None:
        """The job or submission is gone."""
        self._faults.pop(key, None)
        self._made.pop(key, None)
        self._given_up.discard(key)

    def try_again(self) -> None:
        """Do again what is due, but nothing in a stage that is stopped, or on trial for others.

        What fails once more goes behind the rest: on trial, each has its turn.
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
            # Not even its ending can be made: it stays as it is, for the next owner or version.
            return
        self._count(retry, error)
        if self._faults[key] < MAX_FAULTS:
            wait_ms = BACKOFF.wait_ms(max(1, self._faults[key]), self.clock.draw())
            at = self.clock.boot_seconds() + wait_ms / 1000
            self._waiting.append(Retry(at, key, retry.stage, retry.again))
            return
        self._given_up.add(key)
        told = f"a fault of Scribe itself ({type(error).__name__}), met {MAX_FAULTS} times"
        # Not here: this may be in the middle of another decision about the shard.
        end = partial(self.end, key, HandlingFailed(told, self._made.get(key)))
        self._waiting.append(Retry(self.clock.boot_seconds(), key, retry.stage, end))

    def _count(self, retry: Retry, error: Exception) -> None:
        if isinstance(error, MemoryError) or not self.may_end():
            return
        if self.breaker.failed(retry.stage, self.request_of(retry.key)):
            self._faults[retry.key] += 1


@contextmanager
def _kept(on_error: Callable[[Exception], None]) -> Iterator[None]:
    try:
        yield
    # The border of one job's or submission's event.
    except Exception as error:
        on_error(error)
