"""Isolate: a fault of ours in the handling of one job stays with that job, and is met again before it counts.

What is raised inside a border has changed nothing (`core.shard`, `core.draft`), so it can be tried anew. The
third time ends the job. Nothing ends a job while its shard is at rest, or for want of memory.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.clock import Clock
from service.core.events import Adopted, Event, HandlingFailed, Submitted
from service.core.identity import JobKey
from service.core.retry import Backoff

MOST_FAULTS = 3
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=60.0)

Again = Callable[[], None]


@dataclass(slots=True)
class JobBorder:
    """The border around what happens to single jobs of one shard.

    `end` lets a job meet the event that ends it; `is_at_work` says whether the shard may end jobs at all.
    """

    clock: Clock
    report: Callable[[str, Exception], None]
    is_at_work: Callable[[], bool]
    end: Callable[[JobKey, HandlingFailed], None]
    _faults_of: Counter[JobKey] = field(default_factory=Counter)
    _made: dict[JobKey, Submitted | Adopted] = field(default_factory=dict)
    """What a job could not be told yet of its task, which is paid for: its ending names it."""
    _given_up: set[JobKey] = field(default_factory=set)
    _waiting: list[tuple[float, JobKey, Again]] = field(default_factory=list)

    @contextmanager
    def around(self, key: JobKey, again: Again, event: Event | None = None) -> Iterator[None]:
        """Keep what is raised inside; `again` is called later, in a border of its own.

        `event` is what the job is to meet.
        """
        try:
            yield
        # The border of one job's event.
        except Exception as error:
            if isinstance(event, Submitted | Adopted):
                self._made[key] = event
            self._keep(key, again, error)

    def has_given_up(self, key: JobKey) -> bool:
        """Whether the job's ending was tried: nothing else is to happen to it."""
        return key in self._given_up

    def forget(self, key: JobKey) -> None:
        """The job is gone."""
        self._faults_of.pop(key, None)
        self._made.pop(key, None)
        self._given_up.discard(key)

    def try_again(self) -> None:
        """Do again what is due."""
        if not self._waiting or not self.is_at_work():
            return
        now = self.clock.boot_seconds()
        due = [each for each in self._waiting if each[0] <= now]
        self._waiting = [each for each in self._waiting if each[0] > now]
        for _, key, again in due:
            with self.around(key, again):
                again()

    def _keep(self, key: JobKey, again: Again, error: Exception) -> None:
        self.report(str(key), error)
        if key in self._given_up:
            # Not even its ending can be made: it stays as it is, for the next owner or version.
            return
        if self.is_at_work() and not isinstance(error, MemoryError):
            self._faults_of[key] += 1
        if self._faults_of[key] < MOST_FAULTS:
            wait_ms = BACKOFF.wait_ms(self._faults_of[key], self.clock.draw())
            self._waiting.append((self.clock.boot_seconds() + wait_ms / 1000, key, again))
            return
        self._given_up.add(key)
        with self.around(key, again):
            kind = type(error).__name__
            message = f"a fault of Scribe itself ({kind}), met {MOST_FAULTS} times"
            self.end(key, HandlingFailed(message, self._made.get(key)))
