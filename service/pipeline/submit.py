"""Submit: start due submissions as the guards allow.

Journal each intent before its POST (N2).

Of those that wait, each request has one submitted in turn: a large one does not hold up the small ones. Where
a POST may hold several files, it takes along jobs of other requests that wait and would send the same.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from service.clock import Clock
from service.contract.models import is_synchronous
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.events import Intended
from service.core.job.identity import SubmissionKey
from service.core.job.packing import by_request, content_of
from service.core.job.submission import Submission, SubmissionState
from service.pipeline.delayed_submits import DelayedSubmits
from service.pipeline.guards.call_limiter import Call
from service.pipeline.guards.submit_guards import SubmitGuards, SubmitKind
from service.pipeline.guards.wait_reasons import CallsInFlight, WaitReason, of_models, of_most_jobs
from service.pipeline.post import TOO_LATE, Post, PostSender, SubmitDeps, no_retry
from service.pipeline.shard.backlog import BEHIND_MS
from service.pipeline.shard.fault_boundary import Key
from service.pipeline.shard.in_flight import InFlightItems
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageName
from service.pipeline.shard.timers import LONGEST_WAIT_SECONDS
from service.pipeline.submit_queue import Queued, SubmitQueue

FORGET_SECONDS = 60.0
"""A hold may last for days: submissions of closed shards must not stay in memory until it ends."""


class SubmitStage:
    """Submits what is due, as the guards allow.

    A kind that must wait does not delay the others.
    """

    def __init__(self, deps: SubmitDeps, clock: Clock, guards: SubmitGuards) -> None:
        self._deps = deps
        self._clock = clock
        self._guards = guards
        self._sender = PostSender(deps, clock, guards)
        self._in_flight: dict[asyncio.Task[None], Queued] = {}
        self._calls_in_flight: dict[asyncio.Task[None], Queued] = {}
        self._due = DelayedSubmits(clock)
        self._queued: InFlightItems[Queued] = InFlightItems()
        self._ready: OrderedDict[SubmitKind, SubmitQueue] = OrderedDict()
        """Due submissions that wait for the in-flight limit or the submit guards; each appears once."""
        self._forget_at = 0.0

    def queue(
        self,
        runner: ShardRunner,
        key: SubmissionKey,
        due_ms: int,
        reason: WaitReason = WaitReason.BACKOFF,
    ) -> None:
        """Post the submission when it is due; `reason` is why it is not due yet."""
        self._queued.add((runner, key))
        self._due.push(due_ms, (runner, key), reason)

    def waiting(self, jobs: Counter[str]) -> Counter[tuple[str, WaitReason]]:
        """Why jobs wait, by model as `of_most_jobs`; `jobs` is how many do.

        No job is visited: they are counted as they are queued, and the rest waits for the guards.
        """
        models, is_unused = of_most_jobs(jobs), any(self._guards.limiter.unused())
        apart = of_models(self._due.jobs + self._deps.hotword_lists.waiting(), models)
        found: Counter[tuple[str, WaitReason]] = Counter()
        for model, count in models.items():
            left = count
            for reason in (WaitReason.BACKOFF, WaitReason.JOURNAL, WaitReason.HOTWORDS):
                found[model, reason] = min(left, apart[model, reason])
                left -= found[model, reason]
            for kind in (SubmitKind(model, is_retry=True), SubmitKind(model)):
                of_kind = min(left, len(self._ready.get(kind, ()))) if kind.is_retry else left
                found[model, self._wait_reason(kind, is_unused=is_unused)] += of_kind
                left -= of_kind
        return +found

    def _wait_reason(self, kind: SubmitKind, *, is_unused: bool) -> WaitReason:
        if len(self._in_flight_of(kind.model)) >= self._deps.in_flight:
            return WaitReason.IN_FLIGHT
        if self._deps.breaker.is_stopped(StageName.SUBMIT):
            return WaitReason.STAGE_STOPPED
        return self._guards.wait_reason(kind, is_unused=is_unused)

    def calls(self) -> tuple[CallsInFlight, ...]:
        """The calls in flight, those of synchronous models apart."""
        limit = self._deps.in_flight
        return (
            CallsInFlight("submit", len(self._in_flight), limit),
            CallsInFlight("synchronous", len(self._calls_in_flight), limit),
        )

    def holds(self, runner: ShardRunner, key: Key) -> bool:
        """Whether the submission is queued or in flight here."""
        target = (runner, key)
        return (
            target in self._queued
            or self._is_ready(runner, key)
            or target in self._in_flight.values()
            or target in self._calls_in_flight.values()
        )

    def _is_ready(self, runner: ShardRunner, key: Key) -> bool:
        submission = waiting_submission(runner, key) if isinstance(key, SubmissionKey) else None
        if submission is None:
            return False
        turn = (runner, submission.jobs[0].origin)
        return any(kind.holds((runner, submission.key), turn) for kind in self._ready.values())

    def start_now(self, runner: ShardRunner, keys: Iterable[SubmissionKey]) -> None:
        """Post newly accepted submissions at once, unless a guard or an older submission must go first.

        Their intents then share a batch with their request. Submissions without budget stay queued.
        """
        for key in keys:
            # A submission not started here is queued once its request is durable.
            with runner.boundary.guard(key, no_retry, StageName.SUBMIT):
                self._start_now(runner, key)

    def _start_now(self, runner: ShardRunner, key: SubmissionKey) -> None:
        request = _request_of(runner, key)
        if request is None or runner.is_behind or not self._has_list(request):
            return
        kind = SubmitKind(request.model)
        if kind not in self._ready and not self._wait_seconds(kind):
            self._send(runner, key, kind)

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Submit until cancelled."""
        wait_seconds = LONGEST_WAIT_SECONDS
        while True:
            on_tick()
            self._guards.spend_guard.update()
            queued = await self._due.take(wait_seconds)
            if queued is None:
                self._forget_closed()
            else:
                self._queued.remove(queued)
                with self._boundary(queued):
                    self._make_ready(queued)
            wait_seconds = self._send_ready()

    def _boundary(self, queued: Queued) -> AbstractContextManager[None]:
        """Queue the submission again if handling it fails."""
        runner, key = queued
        again = partial(self._push_now, queued)
        return runner.boundary.guard(key, again, StageName.SUBMIT)

    def _push_now(self, queued: Queued) -> None:
        self.queue(*queued, self._clock.now_ms())

    def _make_ready(self, queued: Queued) -> None:
        runner, key = queued
        submission, request = waiting_submission(runner, key), _request_of(runner, key)
        if submission is None or request is None:
            return
        if self._has_list(request):
            kind = SubmitKind(submission.model, is_retry=submission.counters.submits > 0)
            refs = submission.jobs
            may_share = runner.state.may_share(submission) and not runner.boundary.has_failed(key)
            self._ready.setdefault(kind, SubmitQueue()).add(
                queued,
                (runner, refs[0].origin),
                content_of(request) if may_share else None,
                is_of_several=len(refs) > 1 and len(by_request(refs)) > 1,
            )
        else:
            self._deps.hotword_lists.want(runner, key, request, partial(self._push_now, queued))

    def _has_list(self, request: AcceptedRequest) -> bool:
        return self._deps.hotword_lists.is_at_hand(request)

    def _forget_closed(self) -> None:
        """Drop submissions of closed shards, once a minute: a hold may last for days, and many may wait."""
        now = self._clock.boot_seconds()
        if now < self._forget_at:
            return
        self._forget_at = now + FORGET_SECONDS
        for kind in self._ready.values():
            kind.forget_closed()

    def _send_ready(self) -> float:
        """Send what each kind allows; return the wait until more may go, in seconds."""
        wait_seconds = LONGEST_WAIT_SECONDS
        for kind in list(self._ready):
            wait_seconds = min(wait_seconds, self._send_kind(kind))
            if not self._ready[kind]:
                del self._ready[kind]
        return wait_seconds

    def _send_kind(self, kind: SubmitKind) -> float:
        waiting = self._ready[kind]
        while waiting:
            wait_seconds = self._wait_seconds(kind)
            if wait_seconds > 0:
                return wait_seconds
            queued, companions = waiting.pop()
            with self._boundary(queued):
                self._send_queued(queued, kind, companions)
        return LONGEST_WAIT_SECONDS

    def _send_queued(self, queued: Queued, kind: SubmitKind, companions: Sequence[Queued]) -> None:
        runner, key = queued
        request = _request_of(runner, key)
        if request is None:
            return
        if runner.is_behind:
            self.queue(runner, key, self._clock.now_ms() + BEHIND_MS, WaitReason.JOURNAL)
        elif not self._has_list(request):
            # It waited longer than its hotword list's lookup stays valid.
            self._make_ready(queued)
        else:
            self._send(runner, key, kind, companions)
            self._settle(queued, kind, companions)
            # At the in-flight limit, another kind goes next.
            self._ready.move_to_end(kind)

    def _settle(self, queued: Queued, kind: SubmitKind, companions: Sequence[Queued]) -> None:
        """Remove the companions that were taken along; after a fault, perhaps theirs, keep them apart."""
        left = []
        for companion in companions:
            if companion[1] in companion[0].state.submissions:
                left.append(companion)
            else:
                self._ready[kind].remove(companion)
        if waiting_submission(*queued) is not None:
            self._ready[kind].keep_apart(left)

    def _wait_seconds(self, kind: SubmitKind) -> float:
        """How long until a submit of the kind may go; a submit that ends wakes the loop."""
        if len(self._in_flight_of(kind.model)) >= self._deps.in_flight:
            return LONGEST_WAIT_SECONDS
        return max(self._guards.wait_seconds(kind), self._deps.breaker.wait_seconds(StageName.SUBMIT))

    def _in_flight_of(self, model: str) -> "dict[asyncio.Task[None], Queued]":
        """Submits in flight of the model's kind: synchronous or not."""
        return self._calls_in_flight if is_synchronous(model) else self._in_flight

    def _send(
        self, runner: ShardRunner, key: SubmissionKey, kind: SubmitKind, companions: Sequence[Queued] = ()
    ) -> None:
        """Record the intent now, so that it can share a batch with its request; a task does the rest."""
        clock = self._clock
        now_ms, wall_ms, boot_seconds = clock.now_ms(), clock.wall_ms(), clock.boot_seconds()
        max_files = self._deps.files.most(kind.model)
        keys = tuple(companion for _, companion in companions)
        intended = Intended(now_ms, self._deps.provider.clock_offset_ms(), max_files, keys)
        permit = self._guards.acquire(kind)
        change = runner.on_submission(key, intended)
        submission = runner.state.submissions.get(key)
        if submission is None or submission.state is not SubmissionState.INTENDED:
            # The event could not be handled. It is retried, and nothing is sent before that.
            with permit.call:
                self._guards.judge(TOO_LATE, permit)
            return
        sealed = runner.durable(change, key)
        post = Post(runner, key, len(submission.jobs), permit, sealed, wall_ms, boot_seconds)
        task = self._deps.spawn(self._sender.post(post), name=f"submit {key}")
        in_flight = self._in_flight_of(kind.model)
        in_flight[task] = (runner, key)
        calls = runner.long_calls if is_synchronous(kind.model) else runner.calls
        calls[task] = permit.call
        task.add_done_callback(partial(self._ended, in_flight, calls))

    def _ended(
        self,
        in_flight: "dict[asyncio.Task[None], Queued]",
        calls: "dict[asyncio.Task[None], Call]",
        task: "asyncio.Task[None]",
    ) -> None:
        in_flight.pop(task)
        calls.pop(task)
        self._due.wake()


def waiting_submission(runner: ShardRunner, key: SubmissionKey) -> Submission | None:
    """The submission, if it is still waiting to be posted."""
    submission = runner.state.submissions.get(key)
    is_waiting = submission is not None and submission.state is SubmissionState.WAITING
    return submission if runner.is_open and is_waiting else None


def _request_of(runner: ShardRunner, key: SubmissionKey) -> AcceptedRequest | None:
    """The request that gives a waiting submission its options.

    All its requests have the same ones.
    """
    jobs = runner.state.open_jobs(key) if waiting_submission(runner, key) else ()
    return jobs[0].request if jobs else None
