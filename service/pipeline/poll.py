"""Poll: query provider tasks when they are due, within the account's query quota.

One poll serves all jobs of a submission. A failed poll causes a later poll; only answers that our own
code fails to read end jobs, after several. If the quota does not cover
all due polls, last polls go first, as at most half of the polls in flight. Of the others, the poll whose
result may expire first goes first.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from functools import partial

from service.clock import Clock
from service.core.job.events import HandlingFailed, Polled, PollFailed
from service.core.job.identity import SubmissionKey
from service.core.job.urgency import retention_end_ms
from service.core.provider.answers import ProviderError, TaskStatus, TaskView
from service.frozen import dataclass
from service.pipeline.guards.account_hold import AccountHold
from service.pipeline.guards.call_limiter import Call, CallKind, CallLimiter
from service.pipeline.guards.foreign_key import FOREIGN, ForeignKeyDetector
from service.pipeline.guards.wait_reasons import CallsInFlight
from service.pipeline.polling.list_hints import ListHints
from service.pipeline.polling.poll_requests import PollRequest, PollRequests, PollTarget
from service.pipeline.shard.fault_boundary import Key
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.spawn import Spawn
from service.pipeline.shard.stage_breaker import StageBreaker, StageName
from service.pipeline.shard.timers import LONGEST_WAIT_SECONDS
from service.pipeline.shard.tracer import TracedStep, requests_of
from service.provider.answer_boundary import UNREAD
from service.provider.api import NO_SLOT, Provider

CANCELS_WAITING = 1_000
"""Nearly a minute of the account's usual quota; after that, a task is rarely still pending."""
MAX_UNREADABLE = 5
"""The number of answers about one task that our code fails to read before its jobs are ended."""


@dataclass(frozen=True, slots=True)
class PollDeps:
    """What a poll needs: the provider, its limits, and the callback for a dropped cancel."""

    provider: Provider
    limiter: CallLimiter
    hold: AccountHold
    spawn: Spawn
    in_flight: int
    breaker: StageBreaker
    on_cancel_dropped: Callable[[], None]

    @property
    def last_in_flight(self) -> int:
        """How many last polls may be in flight: half of all, at least one, so that others are polled too."""
        return max(1, self.in_flight // 2)


class PollStage:
    """Polls tasks."""

    def __init__(self, deps: PollDeps, clock: Clock, requests: PollRequests, hints: ListHints) -> None:
        self._deps = deps
        self._clock = clock
        self._limiter = deps.limiter
        self._in_flight: dict[asyncio.Task[None], PollRequest | None] = {}
        """Calls in flight and their requests; None for a cancel."""
        self._requests = requests
        self._hints = hints
        self._cancels: deque[str] = deque()
        self._unreadable: Counter[PollTarget] = Counter()
        self._unknown = ForeignKeyDetector()
        self._provider_error: ProviderError | None = None
        """The error of the latest poll; None if it was answered."""

    def reason(self) -> str:
        """Why polls currently fail; empty if they do not."""
        return (
            ""
            if self._provider_error is None
            else f"the last poll of a task failed: {self._provider_error.message}"
        )

    def queue(
        self, runner: ShardRunner, key: SubmissionKey, task_id: str, due_ms: int, *, is_last: bool = False
    ) -> None:
        """Poll the submission's task when it is due.

        A queued request stays unless it is due later.
        """
        self._requests.ask(runner, key, task_id, due_ms, is_last=is_last)

    def calls(self) -> CallsInFlight:
        """The polls and cancels in flight."""
        return CallsInFlight("query", len(self._in_flight), self._deps.in_flight)

    def holds(self, runner: ShardRunner, key: Key) -> bool:
        """Whether a poll of the submission is queued or in flight here."""
        out = (request for request in self._in_flight.values() if request is not None)
        is_out = any(request.target == (runner, key) for request in out)
        return is_out or self._requests.holds(runner, key)

    def cancel(self, task_id: str) -> None:
        """Ask the provider to cancel a pending task; its jobs have ended, whatever the answer."""
        if len(self._cancels) >= CANCELS_WAITING:
            self._deps.on_cancel_dropped()
            return
        self._cancels.append(task_id)
        self._cancel_ready()
        # Wake the loop, so that a cancel that cannot go yet waits no longer than it must.
        self._requests.wake()

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Send polls and cancels until this task is cancelled."""
        wait_seconds = LONGEST_WAIT_SECONDS
        while True:
            on_tick()
            request = await self._requests.take_due(wait_seconds)
            if request is not None:
                again = partial(self._requests.put_back, request)
                with request.runner.boundary.guard(request.key, again, StageName.POLL):
                    self._requests.enqueue(request)
            wait_seconds = min(self._cancel_ready(), self._poll_ready())

    def _poll_ready(self) -> float:
        """Start the polls that may go; return the wait until more may go, in seconds."""
        while self._requests.is_waiting:
            wait_seconds = self._wait_seconds()
            if wait_seconds > 0:
                return wait_seconds
            request = self._requests.take_next(may_be_last=self._may_be_last)
            if request is None:
                break
            self._start_poll(request)
        return LONGEST_WAIT_SECONDS

    @property
    def _may_be_last(self) -> bool:
        """Whether fewer last polls are in flight than may be."""
        out = sum(request is not None and request.is_last for request in self._in_flight.values())
        return out < self._deps.last_in_flight

    def _start_poll(self, request: PollRequest) -> None:
        self._deps.hold.poll_leaves()
        call = self._limiter.begin(CallKind.QUERY)
        self._start(self._poll(request, call), request, name=f"poll {request.task_id}")

    def _wait_seconds(self) -> float:
        """How long until a poll may go; a call that ends wakes the loop."""
        if self._is_full:
            return LONGEST_WAIT_SECONDS
        slot_seconds = self._limiter.wait_seconds(CallKind.QUERY)
        stopped_seconds = self._deps.breaker.wait_seconds(StageName.POLL)
        return max(slot_seconds, self._deps.hold.poll_wait_seconds(), stopped_seconds)

    @property
    def _is_full(self) -> bool:
        return len(self._in_flight) >= self._deps.in_flight

    def _cancel_ready(self) -> float:
        """Send the cancels that may go; return the wait until more may go, in seconds."""
        while self._cancels and not self._is_full:
            wait_seconds = self._limiter.wait_seconds(CallKind.CANCEL)
            if wait_seconds > 0:
                return wait_seconds
            task_id, call = self._cancels.popleft(), self._limiter.begin(CallKind.CANCEL)
            self._start(self._cancel(task_id, call), None, name=f"cancel {task_id}")
        return LONGEST_WAIT_SECONDS

    async def _cancel(self, task_id: str, call: Call) -> None:
        with call:
            answer = await self._deps.provider.cancel(task_id, call.depart)
        if answer is NO_SLOT:
            self._cancels.appendleft(task_id)

    def _start(self, call: Coroutine[None, None, None], request: PollRequest | None, *, name: str) -> None:
        task = self._deps.spawn(call, name=name)
        self._in_flight[task] = request
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.pop(task)
        self._requests.wake()

    async def _poll(self, request: PollRequest, call: Call) -> None:
        again = partial(self._requests.put_back, request)
        with request.runner.boundary.guard(request.key, again, StageName.POLL):
            asked_ms, began_seconds = self._clock.now_ms(), self._clock.boot_seconds()
            with call:
                answer = await self._deps.provider.query(request.task_id, call.depart)
            if answer is NO_SLOT:
                again()
                return
            self._judge(request, answer)
            if isinstance(answer, TaskView):
                self._hints.answered(request, answer)
                if (submission := request.submission) is not None:
                    self._requests.learn(submission.model, answer)
                self._unreadable.pop(request.target, None)
                _trace(request, answer, began_seconds)
                polled = Polled(answer, asked_ms, request.is_last, self._unknown.is_foreign)
                request.runner.on_submission(request.key, polled)
            else:
                self._count_unreadable(request, answer)
                request.runner.on_submission(request.key, PollFailed(answer))

    def _judge(self, request: PollRequest, answer: TaskView | ProviderError) -> None:
        """Update the account's state from the answer.

        An unknown task past its retention proves nothing.
        """
        submission, ending_ms = request.submission, self._clock.confirmed_ms()
        if (
            isinstance(answer, TaskView)
            and submission is not None
            and retention_end_ms(submission) > ending_ms
        ):
            self._unknown.note(answer, self._clock.boot_seconds())
        judged = FOREIGN if self._unknown.is_foreign and isinstance(answer, TaskView) else answer
        self._deps.hold.judge_poll(judged)
        self._provider_error = judged if isinstance(judged, ProviderError) else None
        if isinstance(answer, ProviderError) and answer.is_throttled:
            self._limiter.penalise(CallKind.QUERY)

    def _count_unreadable(self, request: PollRequest, provider_error: ProviderError) -> None:
        """End the jobs after too many unreadable answers about their task.

        The failure has the task's id.
        """
        if provider_error is not UNREAD:
            return
        for target in [(runner, key) for runner, key in self._unreadable if not runner.is_open]:
            del self._unreadable[target]
        if self._deps.breaker.failed(StageName.POLL, f"{request.runner.partition}:{request.task_id}"):
            self._unreadable[request.target] += 1
        if self._unreadable[request.target] >= MAX_UNREADABLE:
            message = (
                f"answers about the task cannot be read, {MAX_UNREADABLE} times: a fault of Scribe itself"
            )
            for job in request.runner.state.open_jobs(request.key):
                request.runner.on_job(job.ref, HandlingFailed(message))


def _trace(request: PollRequest, task: TaskView, began_seconds: float) -> None:
    """Tell of a poll that saw its task's end; an unknown task may be polled again and again."""
    tracer = request.runner.tracer
    if tracer is not None and task.is_terminal and task.status is not TaskStatus.UNKNOWN:
        requests = requests_of(request.runner.state.open_jobs(request.key))
        error = None if task.provider_error is None else task.provider_error.code
        tracer.step(TracedStep.POLL, requests, began_seconds, task_id=request.task_id, error=error)
