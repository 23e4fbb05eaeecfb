"""One shard's state: its open jobs, the markers of finished ones, and its cursor.

Rules this module guarantees:

1. A change of a job is made here at once and carried out only after it is durable: `Change.moves` hold the
   steps that wait for their batch, `Change.steps` those that need not.
2. Each job gets one outcome, built when its ending is decided (N1); the last one decided of a request
   carries the `request_summary`.
3. The window of markers is bounded in age and in number (N8); what leaves it becomes a tombstone.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace

from service.core.ending import Tallied
from service.core.entry import (
    CURSOR_KEY,
    Marker,
    encode_cursor,
    encode_job,
    encode_marker,
    marker_of,
    read_key,
)
from service.core.events import Event, Published, QueueSubmit, Restored, Step
from service.core.identity import JobKey
from service.core.job import WITHOUT_TASK, Job, Spec, State
from service.core.moment import Border, Doubt, Moment, Transition, without_border
from service.core.outcomes import Outcome, OutcomeRules, billed_seconds, job_outcome, usage_of
from service.core.price import Price, cost_of
from service.core.record import Cursor
from service.core.restore import Restore
from service.core.spend import DaySpend
from service.core.tally import Tally
from service.core.transitions import advance

RequestKey = tuple[str, int]
RESTORED_SECONDS = 600.0
"""What a restore finds is remembered at least so long, however old it is: the first records after the cursor
may have been accepted, and even finished, before a crash kept the cursor from moving."""
SWEEP_MOVES = 1_000
"""Tombstones of one batch, give or take a request: a day without work must not end in one huge batch."""


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
    """What an event came to: moves for the next batch, steps for now, words on uncertain submits."""

    moves: tuple[Move, ...] = ()
    steps: tuple[Step, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def together(changes: Iterable[Change]) -> Change:
    """All of them as one."""
    every = tuple(changes)
    moves = tuple(move for change in every for move in change.moves)
    steps = tuple(step for change in every for step in change.steps)
    return Change(moves, steps, tuple(doubt for change in every for doubt in change.doubts))


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
    tallies: MutableMapping[RequestKey, Tally] = field(default_factory=dict)
    remembered: OrderedDict[RequestKey, int] = field(default_factory=OrderedDict)
    """Finished requests and when they finished, the oldest first."""
    remembered_jobs: int = 0
    spend: DaySpend = field(default_factory=DaySpend)
    prices: Mapping[str, Price] = field(default_factory=dict)

    def unknown(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        """Those of the jobs that are neither open nor remembered."""
        return tuple(job for job in jobs if not self._knows(job.key))

    def _knows(self, key: JobKey) -> bool:
        tally = self.tallies.get(key.request)
        return tally is not None and (key.file_index in tally.open or key.file_index in tally.ended)

    def open_request(self, jobs: Iterable[Job]) -> Change:
        """Take the jobs of a new request, or those of a known one that were not known yet."""
        new = [(job, QueueSubmit(job.key, job.due_ms)) for job in jobs]
        moves = tuple(Move(str(job.key), encode_job(job), steps=(step,)) for job, step in new)
        for job, _ in new:
            self._hold(job)
        return Change(moves)

    def _tally(self, request: RequestKey, of: Spec | Marker) -> Tally:
        origin_offset = of.origin.offset if isinstance(of, Spec) else of.origin_offset
        return self.tallies.setdefault(request, Tally(of.digest, of.job_count, origin_offset))

    def _hold(self, job: Job) -> None:
        """Take an open job in; a request that has one is not finished."""
        request = job.key.request
        tally = self._tally(request, job.spec)
        self.jobs[job.key] = job
        tally.open.add(job.file_index)
        if self.remembered.pop(request, None) is not None:
            self.remembered_jobs -= tally.job_count

    def apply(self, key: JobKey, event: Event, moment: Moment) -> Change:
        """Let one job meet one event; an event for a job that is gone changes nothing.

        Where this raises, nothing has changed.
        """
        job = self.jobs.get(key)
        if job is None:
            return Change()
        return self._record(advance(job, event, moment), moment)

    def _record(self, transition: Transition, moment: Moment) -> Change:
        job = transition.job
        if transition.durable and job.state is State.FINISHING:
            return Change((self._finish(job, transition.steps, moment),), doubts=transition.doubts)
        if transition.durable:
            move = Move(str(job.key), encode_job(job), steps=transition.steps)
            change = Change((move,), doubts=transition.doubts)
        else:
            change = Change(steps=transition.steps)
        self.jobs[job.key] = job
        return change

    def _finish(self, job: Job, steps: tuple[Step, ...], moment: Moment) -> Move:
        tally = self.tallies[job.key.request]
        is_last = len(tally.ended.keys() | {job.file_index}) >= tally.job_count
        tallied = job.tallied or self._tallied(job, is_last)
        finishing = replace(job, tallied=tallied)
        marker = marker_of(finishing, tallied, moment.now_ms)
        summary = tally.summary_with(marker) if tallied.carries_summary else None
        move = Move(
            str(job.key),
            encode_marker(marker),
            finishing=encode_job(finishing),
            outcome=job_outcome(job, summary, moment.now_ms, self.outcomes),
            steps=steps,
            job_key=job.key,
        )
        # Nothing raises from here on: an outcome that cannot be made has changed nothing.
        self.jobs[job.key] = finishing
        tally.ended[job.file_index] = marker
        self.spend.add(marker.finished_ms, marker.billed_seconds, marker.cost)
        return move

    def _tallied(self, job: Job, is_last: bool) -> Tallied:
        price = self.prices.get(job.spec.model)
        cost = cost_of(usage_of(job), price) if price else 0.0
        return Tallied(billed_seconds(job), is_last, cost)

    def settle(self, key: JobKey, moment: Moment) -> None:
        """Forget a job whose outcome and marker are durable; its marker stays for the window."""
        job = self.jobs.get(key)
        if job is None:
            return
        advance(job, Published(), moment)
        tally = self.tallies[key.request]
        del self.jobs[key]
        tally.open.discard(key.file_index)
        if not tally.open:
            self._remember(key.request, moment.now_ms)

    def _remember(self, request: RequestKey, finished_ms: int) -> None:
        self.remembered[request] = finished_ms
        self.remembered_jobs += self.tallies[request].job_count

    def sweep(self, now_ms: int) -> tuple[Move, ...]:
        """Tombstones for finished requests that have left the window, the oldest first, a bounded number."""
        moves: list[Move] = []
        while len(moves) < SWEEP_MOVES and (request := self._first_outside(now_ms)):
            tally = self.tallies.pop(request)
            del self.remembered[request]
            self.remembered_jobs -= tally.job_count
            moves.extend(Move(str(JobKey(*request, index))) for index in tally.ended)
        return tuple(moves)

    def _first_outside(self, now_ms: int) -> RequestKey | None:
        if not self.remembered:
            return None
        request, finished_ms = next(iter(self.remembered.items()))
        oldest_ms = now_ms - round(1000 * self.window.seconds)
        is_inside = finished_ms >= oldest_ms and self.remembered_jobs <= self.window.jobs
        return None if is_inside else request

    def mend(self, keys: Iterable[str]) -> tuple[Move, ...]:
        """The shard's own entries for keys that a stranger wrote to behind its claim.

        Not for `~cursor`: how far the cursor is durable is known to the writer of the batches alone.
        """
        return tuple(self._own_entry(key) for key in keys if not key.startswith("~"))

    def _own_entry(self, key: str) -> Move:
        job_key = read_key(key)
        job = self.jobs.get(job_key)
        if job is not None and job.state is not State.FINISHING:
            return Move(key, encode_job(job))
        # Of a FINISHING job the marker: this is written behind its outcome, and must not bring it back.
        tally = self.tallies.get(job_key.request)
        marker = tally.ended.get(job_key.file_index) if tally else None
        return Move(key, encode_marker(marker) if marker else None)

    def load(self, restored: Restore, moment: Moment, border: Border = without_border) -> Change:
        """Become what the journal says; the change holds what the open jobs want next.

        `border` is put around what happens to each open job.
        The cursor stays as it was given: whether the journal's still holds is for the take-over to judge.
        """
        for marker in restored.markers():
            self._tally(marker.key.request, marker).ended[marker.key.file_index] = marker
            self.spend.add(marker.finished_ms, marker.billed_seconds, marker.cost)
        for job in restored.jobs():
            self._load_job(job, moment)
        self._take_back_summaries()
        self._remember_finished(moment)
        return together(self._go_on(restored, moment, border))

    def _go_on(self, restored: Restore, moment: Moment, border: Border) -> Iterator[Change]:
        """What the open jobs want next, then what a stranger's entries have to give way to."""
        for job in restored.jobs():
            change = Change()
            with border(job.key, Restored()):
                change = self.apply(job.key, Restored(), moment)
            yield change
        yield Change(self.mend(sorted(restored.overwritten)))
        if CURSOR_KEY in restored.overwritten:
            yield Change((Move(CURSOR_KEY, encode_cursor(self.cursor)),))

    def _load_job(self, job: Job, moment: Moment) -> None:
        """An ending that was decided counts for the summary, as it did when it was decided."""
        self._hold(job)
        if job.tallied is not None:
            marker = marker_of(job, job.tallied, moment.now_ms)
            self.tallies[job.key.request].ended[job.file_index] = marker

    def _take_back_summaries(self) -> None:
        """A job that carries the summary of endings the journal does not know was not sent: begin anew."""
        for key, job in self.jobs.items():
            tally = self.tallies[key.request]
            if job.tallied is not None and job.tallied.carries_summary and not tally.is_complete:
                self.jobs[key] = replace(job, tallied=None)
                del tally.ended[job.file_index]

    def _remember_finished(self, moment: Moment) -> None:
        """Requests without an open job, also those whose other jobs are not, or no longer, in the journal."""
        earliest_ms = moment.now_ms - round(1000 * (self.window.seconds - RESTORED_SECONDS))
        finished = [
            (max(marker.finished_ms for marker in tally.ended.values()), request)
            for request, tally in self.tallies.items()
            if not tally.open
        ]
        for finished_ms, request in sorted(finished):
            self._remember(request, max(finished_ms, earliest_ms))

    def tasks_of(self, request: RequestKey) -> set[str]:
        """Every task that some job of the request is known to have had."""
        tally = self.tallies.get(request)
        if tally is None:
            return set()
        found = {task_id for marker in tally.ended.values() for task_id in marker.task_ids}
        jobs = (self.jobs.get(JobKey(*request, index)) for index in tally.open)
        return found | {task_id for job in jobs if job is not None for task_id in job.task_ids}

    def jobs_without_task(self, model: str | None = None) -> int:
        """How many open jobs, or those of a model, wait for a submit, or for its answer."""
        waiting = (job for job in self.jobs.values() if job.state in WITHOUT_TASK)
        return sum(model in (None, job.spec.model) for job in waiting)

    def overdue(self, now_ms: int) -> list[JobKey]:
        """Open jobs whose deadline has passed."""
        return [key for key, job in self.jobs.items() if job.spec.deadline_ms <= now_ms]
