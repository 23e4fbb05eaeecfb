"""The requested polls: one per submission, when each is due, and which of the due ones goes first.

Rules this module guarantees:

1. At most one request per submission is valid; a superseded one is dropped when its turn comes.
2. Hinted polls (the account's list says that the task has ended) go before all others, and every
   `HINTS_IN_A_ROW + 1`-th turn goes to another poll, if one waits.
3. Last polls that are not hinted go before ordinary ones, in turns, and only while few enough are in flight.
4. In one queue, the poll whose result may expire first goes first.
5. A poll is postponed while the list shows its task as running (`Rest`); a last poll, and one whose result
   may expire soon, is not.
6. Among the first `CHOICES` ordinary polls that can wait, the one whose task is expected to have waited
   longest for it, by the run times of its model, goes first; one passed over `MOST_PASSES` times goes next.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from service.clock import Clock
from service.core.job.identity import SubmissionKey
from service.core.job.submission import Submission, SubmissionState
from service.core.job.urgency import CAN_WAIT, Priority, PriorityQueue, priority, retention_end_ms
from service.core.limits.schedule import SharedTimes
from service.core.polling.list_trust import PageSource
from service.core.polling.run_times import ModelRunTimes, run_ms
from service.core.provider.answers import TaskView
from service.pipeline.shard.backlog import BEHIND_MS, SLICE
from service.pipeline.shard.fault_boundary import Key
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageName
from service.pipeline.shard.timers import Timers

HINTS_IN_A_ROW = 3
"""A list that names tasks as ended which run must not hold up the others."""
CHOICES = 16
"""Nearly as good as the choice among all, which would take time in proportion to their number."""
MOST_PASSES = 4 * CHOICES
"""For about as long as four polls of each waiting task take."""

PollTarget = tuple[ShardRunner, SubmissionKey]


@dataclass(slots=True, eq=False)
class PollRequest:
    """A requested poll.

    `asked_ms` is when a poll was first asked for since the last answer, `listed_ms` when the list last showed
    the task as not ended; both by the boot clock.
    """

    runner: ShardRunner
    key: SubmissionKey
    task_id: str
    due_ms: int
    is_last: bool
    asked_ms: int
    listed_ms: int | None = None
    hint: PageSource | None = None
    """Whose page says that the task has ended."""
    passes: int = 0
    """How often another poll was preferred to this one."""

    @property
    def target(self) -> PollTarget:
        """The polled submission."""
        return (self.runner, self.key)

    @property
    def submission(self) -> Submission | None:
        """The submission, if it still runs under this task, even while its shard is suspended."""
        found = self.runner.state.submissions.get(self.key)
        is_running = found is not None and found.state is SubmissionState.RUNNING
        is_wanted = self.runner.is_open and is_running and found is not None and found.task_id == self.task_id
        return found if is_wanted else None


class Rest(NamedTuple):
    """How long tasks need no poll while the list is swept; zeroes: not at all.

    A task rests for `unlisted_ms` after its last poll or its submit, so that the list can show it first; then
    it rests for `listed_ms` after the list has shown it as not ended, but no longer than until `at_most_ms`
    after its last poll. A resting task is looked at again after `check_ms`: the list may fail meanwhile.
    """

    unlisted_ms: int = 0
    listed_ms: int = 0
    at_most_ms: int = 0
    check_ms: int = 0


class PollRequests:
    """The requests of all shards of the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: Timers[PollRequest] = Timers(clock)
        self._valid: dict[str | PollTarget, PollRequest] = {}
        """By task; by submission where two of them name one task."""
        self._hinted: PriorityQueue[PollRequest] = PriorityQueue()
        self._last: PriorityQueue[PollRequest] = PriorityQueue()
        self._ordinary: PriorityQueue[PollRequest] = PriorityQueue()
        self._hints_in_a_row = 0
        self._was_last = False
        """Whether the latest of the other polls was a last poll; if so, an ordinary one goes next."""
        self._rest = Rest()
        self._trusted = frozenset(PageSource)
        """Whose hints are followed."""
        self._run_times = ModelRunTimes()
        self._times = SharedTimes()

    def __len__(self) -> int:
        return len(self._valid)

    def ask(
        self, runner: ShardRunner, key: SubmissionKey, task_id: str, due_ms: int, *, is_last: bool
    ) -> None:
        """Poll the submission's task when it is due; an earlier request stays unless it is due later."""
        asked_ms, listed_ms, hint = self._times.once(self._boot_ms()), None, None
        asked = self._find(task_id, (runner, key))
        if asked is not None:
            if asked.due_ms <= due_ms and asked.is_last >= is_last:
                return
            self._drop(asked)
            due_ms, is_last = min(due_ms, asked.due_ms), is_last or asked.is_last
            asked_ms, listed_ms, hint = asked.asked_ms, asked.listed_ms, asked.hint
            due_ms = self._clock.now_ms() if hint else due_ms
        due_ms = self._times.once(due_ms)
        request = PollRequest(runner, key, task_id, due_ms, is_last, asked_ms, listed_ms, hint)
        self._add(request)
        self._due.push(due_ms, request)

    def hint(self, task_id: str, source: PageSource) -> None:
        """Poll the task now, before others: the list says that it has ended."""
        asked = self._valid.get(task_id)
        if asked is not None and not asked.hint:
            self._replace(asked, replace(asked, hint=source))

    def use_rest(self, rest: Rest) -> None:
        """Let tasks rest for so long from now on."""
        self._rest = rest

    def trust(self, sources: frozenset[PageSource]) -> None:
        """Follow hints of these sources only."""
        self._trusted = sources

    def knows(self, task_id: str) -> bool:
        """Whether a poll of the task is requested."""
        return task_id in self._valid

    def note_listed(self, task_id: str, listed_ms: int) -> bool:
        """Note that the list shows the task as not ended, at this boot time.

        False if it is unknown.
        """
        asked = self._valid.get(task_id)
        if asked is None:
            return False
        asked.listed_ms = max(listed_ms, asked.listed_ms or listed_ms)
        return True

    def holds(self, runner: ShardRunner, key: Key) -> bool:
        """Whether a poll of the submission is requested."""
        submission = runner.state.submissions.get(key) if isinstance(key, SubmissionKey) else None
        if submission is None or submission.task_id is None:
            return False
        return self._find(submission.task_id, (runner, submission.key)) is not None

    async def take_due(self, within_seconds: float) -> PollRequest | None:
        """The request that has been due longest.

        None if none is due in time, or on `wake`.
        """
        return await self._due.take(within_seconds)

    def wake(self) -> None:
        """Let a waiting `take_due` return."""
        self._due.wake()

    def put_back(self, request: PollRequest) -> None:
        """Let a request be due at once that was taken and not carried out, unless there is a later one."""
        if self._find(request.task_id, request.target) in (None, request):
            self._add(request)
            self._due.push(self._clock.now_ms(), request)

    def enqueue(self, request: PollRequest) -> None:
        """Let a due request wait for its turn.

        Postpone or drop it if it is not to be polled now.
        """
        submission = request.submission
        if not self.is_valid(request):
            return
        if submission is None:
            self._drop(request)
            return
        order = priority(retention_end_ms(submission), self._clock.now_ms())
        rest_ms = self._rest_ms(request) if order.group == CAN_WAIT else 0
        if request.runner.is_suspended:
            # Another member may be polling it.
            self._due.push(self._clock.now_ms() + BEHIND_MS, request)
        elif rest_ms > 0:
            self._due.push(self._clock.now_ms() + rest_ms, request)
        else:
            self._queue_of(request).push(order, request)

    @property
    def is_waiting(self) -> bool:
        """Whether requests wait for their turn."""
        return bool(self._hinted or self._last or self._ordinary)

    def take_next(self, *, may_be_last: bool) -> PollRequest | None:
        """Remove and return the request whose turn it is.

        One not to be polled now goes elsewhere.
        """
        for _ in range(SLICE):
            queue = self._next_queue(may_be_last=may_be_last)
            if queue is None:
                return None
            if queue is self._ordinary and queue.first[0].group == CAN_WAIT:
                self._prefer()
            order, request = queue.first
            queue.pop()
            with request.runner.boundary.guard(request.key, partial(self.put_back, request), StageName.POLL):
                if self._is_pollable(request, order):
                    self._start(request)
                    return request
                self._pass_on(request)
        # Thousands may have rested since they were queued: yield to the event loop.
        self.wake()
        return None

    def _is_pollable(self, request: PollRequest, order: Priority) -> bool:
        is_wanted = request.submission is not None and not request.runner.is_suspended
        rests = order.group == CAN_WAIT and self._rest_ms(request) > 0
        return self.is_valid(request) and is_wanted and not self._is_void(request) and not rests

    def _is_void(self, request: PollRequest) -> bool:
        """Whether the request is hinted by a list that is not trusted any more."""
        return request.hint is not None and request.hint not in self._trusted

    def _pass_on(self, request: PollRequest) -> None:
        """Let a request that is not to be polled now be looked at anew."""
        if self._is_void(request) and self.is_valid(request):
            self._replace(request, replace(request, hint=None, listed_ms=None))
        else:
            self._due.push(self._clock.now_ms(), request)

    def _start(self, request: PollRequest) -> None:
        self._drop(request)
        self._hints_in_a_row = self._hints_in_a_row + 1 if request.hint else 0
        if not request.hint:
            self._was_last = request.is_last

    def is_valid(self, request: PollRequest) -> bool:
        """Whether no later request has superseded this one."""
        return self._valid.get(request.task_id) is request or self._valid.get(request.target) is request

    def learn(self, model: str, task: TaskView) -> None:
        """Learn the run time of a task, if it has ended."""
        took_ms = run_ms(task)
        if took_ms is not None:
            self._run_times.add(model, took_ms)

    def _prefer(self) -> None:
        """Choose the ordinary poll that goes next, of those that can wait."""
        now_ms = self._clock.now_ms()
        for request in self._ordinary.prefer(CHOICES, lambda request: self._rank(request, now_ms)):
            request.passes += 1

    def _rank(self, request: PollRequest, now_ms: int) -> tuple[float, float]:
        submission = request.submission
        if submission is None or submission.submitted_ms is None:
            return 0.0, 0.0
        begun_ms, seen_ms = submission.submitted_ms, submission.unfinished_ms or submission.submitted_ms
        waited_ms = self._run_times.of(submission.model).waited_ms(seen_ms - begun_ms, now_ms - begun_ms)
        return (request.passes if request.passes >= MOST_PASSES else 0), waited_ms

    def _find(self, task_id: str, target: PollTarget) -> PollRequest | None:
        for name in (task_id, target):
            found = self._valid.get(name)
            if found is not None and found.target == target and found.task_id == task_id:
                return found
        return None

    def _replace(self, old: PollRequest, new: PollRequest) -> None:
        """Let another request stand for this one, due at once."""
        self._drop(old)
        self._add(new)
        self._due.push(self._clock.now_ms(), new)

    def _add(self, request: PollRequest) -> None:
        other = self._valid.get(request.task_id)
        is_taken = other is not None and other.target != request.target and other.submission is not None
        self._valid[request.target if is_taken else request.task_id] = request

    def _drop(self, request: PollRequest) -> None:
        for name in (request.task_id, request.target):
            if self._valid.get(name) is request:
                del self._valid[name]

    def _queue_of(self, request: PollRequest) -> PriorityQueue[PollRequest]:
        if request.hint:
            return self._hinted
        return self._last if request.is_last else self._ordinary

    def _next_queue(self, *, may_be_last: bool) -> PriorityQueue[PollRequest] | None:
        others = self._ordinary or None
        if self._last and may_be_last and not (self._ordinary and self._was_last):
            others = self._last
        is_hints_turn = others is None or self._hints_in_a_row < HINTS_IN_A_ROW
        return self._hinted if self._hinted and is_hints_turn else others

    def _rest_ms(self, request: PollRequest) -> int:
        """How long the request may wait because of the list; 0 if it may not."""
        if request.is_last or request.hint:
            return 0
        ends_ms = request.asked_ms + self._rest.unlisted_ms
        if request.listed_ms is not None:
            ends_ms = min(request.listed_ms + self._rest.listed_ms, request.asked_ms + self._rest.at_most_ms)
        return max(0, min(self._rest.check_ms, ends_ms - self._boot_ms()))

    def _boot_ms(self) -> int:
        return round(1000 * self._clock.boot_seconds())
