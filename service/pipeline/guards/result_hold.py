"""The result hold: stops a model's submits while its results lie on a host that the settings do not allow.

Each finished task is billed, so a wrong setting must not fail job after job. A job whose result's host was
refused waits, whether or not submits stop; here it is only counted. The setting cannot change in this
process: the next process, with the right setting, fetches the waiting results.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import field
from typing import Literal, Protocol

from service.clock import Clock
from service.core.job.identity import JobRef
from service.core.job.job import Job, JobState
from service.core.shard.shard import Shard
from service.frozen import dataclass

TASKS_IN_A_ROW = 2
"""Refused tasks of a model, none fetched between, that begin the hold; a single one may be an outlier."""
REFRESH_SECONDS = 1.0
"""How often waiting jobs are checked, and how long a held submit waits before it asks again."""

HoldChange = Literal["refused", "stopped", "resumed"]


class Holder(Protocol):
    """The part of a job's shard that is needed here."""

    state: Shard

    @property
    def is_open(self) -> bool:
        """Whether the shard may still have effects."""
        ...


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job whose result's host is refused."""

    model: str
    host: str


@dataclass(slots=True)
class RefusedHost:
    """A model's consecutive tasks with results on one refused host.

    `since_ms` is when the hold began.
    """

    tasks: set[str] = field(default_factory=set)
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HeldResults:
    """The jobs of a model that wait for a host.

    `since_ms` is None while its submits go on.
    """

    model: str
    host: str
    jobs: int
    since_ms: int | None


class ResultHolds:
    """The models whose submits are stopped, and the waiting jobs; one for the process.

    `on_change` is called with a model and a host: `refused` when the first job waits for the host, `stopped`
    when the model's submits stop, `resumed` when they go on.
    """

    def __init__(self, clock: Clock, on_change: Callable[[str, str, HoldChange], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._waiting: dict[tuple[Holder, JobRef], WaitingJob] = {}
        self._reported: set[tuple[str, str]] = set()
        """Models and hosts that were reported as refused."""
        self._refused: dict[tuple[str, str], RefusedHost] = {}
        """By model and host."""
        self._refreshed_at = clock.boot_seconds()

    def refused(self, shard: Holder, ref: JobRef, host: str) -> None:
        """The host of the job's result is refused.

        A job that already waits is not counted again.
        """
        job = _waiting(shard, ref)
        if job is None or job.task_id is None or (shard, ref) in self._waiting:
            return
        model = job.request.model
        if (model, host) not in self._reported:
            self._reported.add((model, host))
            self._on_change(model, host, "refused")
        self._waiting[shard, ref] = WaitingJob(model, host)
        refused = self._refused.setdefault((model, host), RefusedHost())
        refused.tasks.add(job.task_id)
        if refused.since_ms is None and len(refused.tasks) >= TASKS_IN_A_ROW:
            refused.since_ms = self._clock.now_ms()
            self._on_change(model, host, "stopped")

    def fetched(self, model: str) -> None:
        """A result of the model was on an allowed host: end the model's holds, so that submits go on."""
        for at in [at for at in self._refused if at[0] == model]:
            self._end(at)

    def is_held(self, model: str) -> bool:
        """Whether submits of the model are stopped."""
        return any(at[0] == model and each.since_ms is not None for at, each in self._refused.items())

    def wait_seconds(self, model: str) -> float:
        """How long until a submit of the model should ask again; zero while it may go."""
        return REFRESH_SECONDS if self.is_held(model) else 0.0

    def refresh(self) -> None:
        """Forget jobs that no longer wait, and end holds without waiting jobs.

        At most once a second.
        """
        now = self._clock.boot_seconds()
        if now - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = now
        self._waiting = {at: each for at, each in self._waiting.items() if _waiting(*at) is not None}
        left = {(each.model, each.host) for each in self._waiting.values()}
        self._reported &= left
        for at in [at for at in self._refused if at not in left]:
            self._end(at)

    def held(self) -> list[HeldResults]:
        """The waiting jobs, by model and host."""
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
