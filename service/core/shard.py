"""One shard's state: its open jobs, the markers of finished ones, and its cursor.

Rules this module guarantees:

1. A change of a job is made here at once and carried out only after it is durable: `Change.moves` hold the
   steps that wait for their batch, `Change.steps` those that need not.
2. Each job gets one outcome, built when its ending is decided (N1); the last one decided of a request
   carries the `request_summary`.
3. The window of markers is bounded in age and in number (N8); what leaves it becomes a tombstone.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from service.core.ending import ResultEnding
from service.core.entry import Marker, encode_job, encode_marker, read_key
from service.core.events import Event, Published, QueueSubmit, Restored, Step
from service.core.job import Job, JobKey, State
from service.core.moment import Moment, Transition
from service.core.outcomes import Outcome, OutcomeRules, billed_seconds, job_outcome
from service.core.record import Cursor
from service.core.restore import Restore
from service.core.transitions import advance
from service.messages import RequestSummary

RequestKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Move:
    """Records that stand or fall together, and the steps that follow once they are durable.

    `key` and `entry` are the journal record (None: a tombstone); without a key there is only an outcome.
    `finishing` is the entry that announces the outcome where the writer cannot make both atomic.
    """

    key: str | None = None
    entry: bytes | None = None
    finishing: bytes | None = None
    outcome: Outcome | None = None
    steps: tuple[Step, ...] = ()
    job_key: JobKey | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What an event came to: moves for the next batch, steps for now."""

    moves: tuple[Move, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(slots=True)
class Tally:
    """How far the jobs of one request have come."""

    digest: str
    job_count: int
    ended: dict[int, Marker] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every job's ending is decided."""
        return len(self.ended) >= self.job_count

    def summary(self) -> RequestSummary | None:
        """The request's summary, once complete."""
        if not self.is_complete:
            return None
        succeeded = sum(marker.succeeded for marker in self.ended.values())
        billed = sum(marker.billed_seconds or 0 for marker in self.ended.values())
        return RequestSummary(succeeded=succeeded, failed=len(self.ended) - succeeded, billed_seconds=billed)


@dataclass(frozen=True, slots=True)
class Window:
    """How long, and how many, finished jobs are remembered for de-duplication."""

    seconds: float = 24 * 3600.0
    jobs: int = 100_000


@dataclass(slots=True)
class Shard:
    """The state of one shard; every method is a decision, none does anything."""

    partition: int
    window: Window = Window()
    outcomes: OutcomeRules = OutcomeRules()
    cursor: Cursor = Cursor(0)
    jobs: dict[JobKey, Job] = field(default_factory=dict)
    tallies: dict[RequestKey, Tally] = field(default_factory=dict)
    remembered: OrderedDict[RequestKey, int] = field(default_factory=OrderedDict)
    """Finished requests and when they finished, the oldest first."""
    remembered_jobs: int = 0

    def open_request(self, jobs: Iterable[Job]) -> Change:
        """Take the jobs of a new request."""
        moves: list[Move] = []
        for job in jobs:
            spec = job.spec
            self.tallies.setdefault(job.key.request, Tally(spec.digest, spec.job_count))
            self.jobs[job.key] = job
            moves.append(Move(str(job.key), encode_job(job), steps=(QueueSubmit(job.key, job.due_ms),)))
        return Change(tuple(moves))

    def apply(self, key: JobKey, event: Event, moment: Moment) -> Change:
        """Let one job meet one event; an event for a job that is gone changes nothing."""
        job = self.jobs.get(key)
        if job is None:
            return Change()
        return self._record(advance(job, event, moment), moment)

    def _record(self, transition: Transition, moment: Moment) -> Change:
        job = transition.job
        self.jobs[job.key] = job
        if not transition.durable:
            return Change(steps=transition.steps)
        if job.state is State.FINISHING:
            return Change((self._finish(job, transition.steps, moment),))
        return Change((Move(str(job.key), encode_job(job), steps=transition.steps),))

    def _finish(self, job: Job, steps: tuple[Step, ...], moment: Moment) -> Move:
        succeeded = isinstance(job.ending, ResultEnding)
        marker = Marker(
            job.key, job.spec.digest, job.spec.job_count, succeeded, billed_seconds(job), moment.now_ms
        )
        tally = self.tallies[job.key.request]
        tally.ended[job.file_index] = marker
        outcome = job_outcome(job, tally.summary(), moment.now_ms, self.outcomes)
        return Move(
            str(job.key),
            encode_marker(marker),
            finishing=encode_job(job),
            outcome=outcome,
            steps=steps,
            job_key=job.key,
        )

    def settle(self, key: JobKey, moment: Moment) -> None:
        """Forget a job whose outcome and marker are durable; its marker stays for the window."""
        job = self.jobs.get(key)
        if job is None:
            return
        advance(job, Published(), moment)
        del self.jobs[key]
        tally = self.tallies[key.request]
        still_open = any(key._replace(file_index=index) in self.jobs for index in tally.ended)
        if tally.is_complete and not still_open:
            self._remember(key.request, moment.now_ms)

    def _remember(self, request: RequestKey, finished_ms: int) -> None:
        self.remembered[request] = finished_ms
        self.remembered_jobs += self.tallies[request].job_count

    def sweep(self, now_ms: int) -> tuple[Move, ...]:
        """Tombstones for the oldest finished request if it has left the window."""
        if not self.remembered:
            return ()
        request, finished_ms = next(iter(self.remembered.items()))
        oldest_ms = now_ms - round(1000 * self.window.seconds)
        if finished_ms >= oldest_ms and self.remembered_jobs <= self.window.jobs:
            return ()
        del self.remembered[request]
        tally = self.tallies.pop(request)
        self.remembered_jobs -= tally.job_count
        return tuple(Move(str(JobKey(*request, index))) for index in tally.ended)

    def mend(self, keys: Iterable[str]) -> tuple[Move, ...]:
        """The shard's own entries for keys that a stranger wrote to behind its claim."""
        return tuple(self._own_entry(key) for key in keys if not key.startswith("~"))

    def _own_entry(self, key: str) -> Move:
        job_key = read_key(key)
        job = self.jobs.get(job_key)
        if job is not None:
            return Move(key, encode_job(job))
        tally = self.tallies.get(job_key.request)
        marker = tally.ended.get(job_key.file_index) if tally else None
        return Move(key, encode_marker(marker) if marker else None)

    def load(self, restored: Restore, moment: Moment) -> Change:
        """Become what the journal says; the change holds what the open jobs want next."""
        self.cursor = restored.cursor or self.cursor
        for marker in restored.markers():
            tally = self.tallies.setdefault(marker.key.request, Tally(marker.digest, marker.job_count))
            tally.ended[marker.key.file_index] = marker
            if tally.is_complete:
                self._remember(marker.key.request, marker.finished_ms)
        changes = [self._load_job(job, moment) for job in restored.jobs()]
        moves = tuple(move for change in changes for move in change.moves)
        steps = tuple(step for change in changes for step in change.steps)
        return Change((*moves, *self.mend(restored.overwritten)), steps)

    def _load_job(self, job: Job, moment: Moment) -> Change:
        self.tallies.setdefault(job.key.request, Tally(job.spec.digest, job.spec.job_count))
        self.jobs[job.key] = job
        return self.apply(job.key, Restored(), moment)

    def overdue(self, now_ms: int) -> list[JobKey]:
        """Open jobs whose deadline has passed."""
        return [key for key, job in self.jobs.items() if job.spec.deadline_ms <= now_ms]
