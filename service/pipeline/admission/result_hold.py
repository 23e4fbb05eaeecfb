"""The result hold: submits of a model stop while its results lie on a host that the settings do not allow.

Each finished task is billed, so a setting that is wrong must not fail one job after the other. A job whose
result was refused for its host waits, whether or not submits stop; here it is only counted. Nothing in the
process changes the setting: the next process, with the right one, fetches what waits.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.clock import Clock
from service.core.job.identity import JobRef
from service.core.job.job import Job, JobState
from service.core.shard.shard import Shard

TASKS_IN_A_ROW = 2
"""So many tasks of a model, none fetched between, begin the hold: one alone may be the vendor's odd one."""
REFRESH_SECONDS = 1.0
"""How often it is asked whether somebody still waits, and a submit asks again."""

Word = Literal["refused", "stopped", "resumed"]


class Holder(Protocol):
    """The owned shard of a job, as far as it matters here."""

    state: Shard

    @property
    def is_open(self) -> bool:
        """Whether it still has effects."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job whose result's host is refused."""

    model: str
    host: str


@dataclass(slots=True)
class Refused:
    """The tasks of a model in a row whose results lie on one host; `since_ms` is when its hold began."""

    tasks: set[str] = field(default_factory=set)
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HeldResults:
    """How many jobs of a model wait for a host; `since_ms` is None while its submits go on."""

    model: str
    host: str
    jobs: int
    since_ms: int | None


class ResultHolds:
    """Which models' submits are stopped, and who waits; one for the process.

    `on_change` is told of a model and a host: `refused` when the first job waits for it, `stopped` when that
    stops the model's submits, `resumed` when they go on.
    """

    def __init__(self, clock: Clock, on_change: Callable[[str, str, Word], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._waiting: dict[tuple[Holder, JobRef], Waiting] = {}
        self._said: set[tuple[str, str]] = set()
        """Models and hosts that somebody is known to wait for."""
        self._refused: dict[tuple[str, str], Refused] = {}
        """By model and host."""
        self._refreshed_at = clock.boot_seconds()

    def refused(self, shard: Holder, ref: JobRef, host: str) -> None:
        """The host of the job's result is refused; that of one that waits already says nothing new."""
        job = _waiting(shard, ref)
        if job is None or job.task_id is None or (shard, ref) in self._waiting:
            return
        model = job.request.model
        if (model, host) not in self._said:
            self._said.add((model, host))
            self._on_change(model, host, "refused")
        self._waiting[shard, ref] = Waiting(model, host)
        refused = self._refused.setdefault((model, host), Refused())
        refused.tasks.add(job.task_id)
        if refused.since_ms is None and len(refused.tasks) >= TASKS_IN_A_ROW:
            refused.since_ms = self._clock.now_ms()
            self._on_change(model, host, "stopped")

    def fetched(self, model: str) -> None:
        """A result of the model lies where it may: what is refused is odd, and its submits go on."""
        for at in [at for at in self._refused if at[0] == model]:
            self._end(at)

    def is_held(self, model: str) -> bool:
        """Whether submits of the model are stopped."""
        return any(at[0] == model and each.since_ms is not None for at, each in self._refused.items())

    def wait_seconds(self, model: str) -> float:
        """How long until a submit of the model may be asked for again; zero while it may go."""
        return REFRESH_SECONDS if self.is_held(model) else 0.0

    def refresh(self) -> None:
        """Forget jobs that wait no longer, and end the hold that nobody waits for; costs nothing at times."""
        now = self._clock.boot_seconds()
        if now - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = now
        self._waiting = {at: each for at, each in self._waiting.items() if _waiting(*at) is not None}
        left = {(each.model, each.host) for each in self._waiting.values()}
        self._said &= left
        for at in [at for at in self._refused if at not in left]:
            self._end(at)

    def held(self) -> list[HeldResults]:
        """Who waits, by model and host."""
        counts = Counter((each.model, each.host) for each in self._waiting.values())
        return [HeldResults(*at, jobs, self._since_ms(at)) for at, jobs in sorted(counts.items())]

    def _since_ms(self, at: tuple[str, str]) -> int | None:
        return self._refused[at].since_ms if at in self._refused else None

    def _end(self, at: tuple[str, str]) -> None:
        if self._refused.pop(at).since_ms is not None:
            self._on_change(*at, "resumed")


def _waiting(shard: Holder, ref: JobRef) -> Job | None:
    job = shard.state.jobs.get(ref)
    is_waiting = shard.is_open and job is not None and job.state is JobState.COLLECTING
    return job if is_waiting else None
