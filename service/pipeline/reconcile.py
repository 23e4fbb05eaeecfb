"""Reconcile: search the account's task list for the tasks of submissions whose answer was lost.

One pass at a time serves all uncertain submissions of the process: read the list, read on in the journals
of all shards, poll the tasks that no journal knows, then decide. If a pass fails, the submissions stay
uncertain. A fault in one submission does not affect the others.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from service.clock import Clock
from service.core.job.identity import SubmissionKey
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Rules
from service.core.reconciliation.candidates import Candidates
from service.core.reconciliation.journal_scan import PartitionScan
from service.core.reconciliation.matching import Evidence, Found, Proven, decide
from service.core.reconciliation.task_listing import EVER, TimeSpan, merged
from service.core.reconciliation.unanswered import (
    Unanswered,
    unanswered_of,
    window_of,
    witness_of,
)
from service.errors import ServiceError
from service.kafka.journal.scanner import JournalScanner
from service.pipeline.collecting.fetch_memory import FetchMemory
from service.pipeline.guards.call_limiter import CallLimiter
from service.pipeline.shard.fault_boundary import Key
from service.pipeline.shard.observer import BoundaryName, Faults
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.timers import OnTick, Timers, ticking
from service.pipeline.task_lookup import TaskLookup
from service.provider.answer_boundary import answer_of
from service.provider.api import Provider

MAX_WITNESSES = 1_000
"""A list that hides one of them is not complete; more of them would prove little more."""

OpenShards = Callable[[], Iterable[ShardRunner]]
At = tuple[ShardRunner, SubmissionKey]


@dataclass(slots=True)
class ReconcileRequest:
    """When to look for an uncertain submission.

    Milliseconds of the boot clock, which does not jump.
    """

    first_ms: int
    due_ms: int
    settled_ms: int


class ReconcileStage:
    """Looks for the tasks of uncertain submissions."""

    def __init__(
        self,
        provider: Provider,
        scanner: JournalScanner,
        clock: Clock,
        limiter: CallLimiter,
        rules: Rules,
        memory: FetchMemory,
        faults: Faults,
    ) -> None:
        self._lookup = TaskLookup(provider, clock, limiter, memory, self._is_needed)
        self._provider = provider
        self._scanner = scanner
        self._clock = clock
        self._rules = rules
        self._report = partial(faults.internal_error, BoundaryName.ANSWER, "list")
        self._alarm: Timers[None] = Timers(clock)
        self._asked: dict[At, ReconcileRequest] = {}
        self._candidates = Candidates()
        self._evidence = Evidence()

    def queue(self, shard: ShardRunner, key: SubmissionKey, due_ms: int, settled_ms: int) -> None:
        """Look for the submission's task from `due_ms` on.

        Until `settled_ms` it may still appear.
        """
        ahead_ms = self._boot_ms() - self._clock.now_ms()
        self._asked[shard, key] = ReconcileRequest(
            due_ms + ahead_ms, due_ms + ahead_ms, settled_ms + ahead_ms
        )
        self._alarm.push(due_ms, None)

    def holds(self, runner: ShardRunner, key: Key) -> bool:
        """Whether at least one more search for the submission's task is queued."""
        return isinstance(key, SubmissionKey) and (runner, key) in self._asked

    async def run(self, shards: OpenShards, on_tick: OnTick) -> None:
        """Reconcile until cancelled."""
        while True:
            on_tick()
            await self._alarm.take()
            self._forget_settled()
            if any(asked.due_ms <= self._boot_ms() for asked in self._asked.values()):
                await answer_of(self._pass(shards, on_tick), None, self._report)
                self._schedule_next()

    def _is_needed(self) -> bool:
        """Whether anything is still uncertain."""
        self._forget_settled()
        return bool(self._asked)

    def _forget_settled(self) -> None:
        self._asked = {at: asked for at, asked in self._asked.items() if _is_uncertain(*at)}

    def _schedule_next(self) -> None:
        """Schedule the next pass by the schedule, counted from the first pass."""
        self._forget_settled()
        now_ms = self._boot_ms()
        for asked in self._asked.values():
            asked.due_ms = self._rules.reconcile_schedule.next_poll_ms(asked.first_ms, now_ms)
        if self._asked:
            wait_ms = min(asked.due_ms for asked in self._asked.values()) - now_ms
            self._alarm.push(self._clock.now_ms() + wait_ms, None)

    async def _pass(self, shards: OpenShards, on_tick: OnTick) -> None:
        begun_ms = self._boot_ms()
        spans, witnesses = self._spans(), dict(islice(self._witnesses(shards()), MAX_WITNESSES))
        listing = await self._lookup.read_list(spans, witnesses, self._rules.skew_seconds, on_tick)
        apart_ms = round(1000 * self._rules.listings_apart_seconds)
        self._evidence = self._evidence.after(begun_ms, is_complete=listing.is_complete, apart_ms=apart_ms)
        self._candidates.add_listing(listing, self._spans())
        scans = await ticking(self._scan(), on_tick)
        if scans is None:
            return
        await self._lookup.poll_unknown(self._candidates, on_tick)
        self._decide({shard.partition: shard for shard in shards()}, scans)

    def _spans(self) -> list[TimeSpan]:
        """When the tasks of uncertain submissions can have been made, by the vendor's clock."""
        offset_ms = self._provider.clock_offset_ms()
        found = []
        for shard, key in self._asked:
            with shard.boundary.isolate(_subject(shard, key)):
                submission = shard.state.submissions.get(key)
                if submission is not None and submission.intent is not None:
                    found.append(window_of(submission.intent, offset_ms, self._rules))
        return merged(found)

    def _witnesses(self, shards: Iterable[ShardRunner]) -> Iterator[tuple[str, TimeSpan]]:
        """Known tasks of ours that a complete list must show."""
        now_ms, offset_ms = self._clock.now_ms(), self._provider.clock_offset_ms()
        for shard in shards:
            for key, submission in shard.state.submissions.items():
                span = None
                with shard.boundary.isolate(_subject(shard, key)):
                    span = witness_of(submission, now_ms, offset_ms, self._rules)
                if span is not None and submission.task_id is not None:
                    yield submission.task_id, span

    async def _scan(self) -> Sequence[PartitionScan] | None:
        """Read the journals after the list: an intent is journalled before its POST and its task."""
        spans, now_ms = self._spans(), self._lookup.vendor_now_ms()
        if not self._candidates.wanted() or not spans:
            return ()
        as_of_ms = EVER[0] if now_ms is None else now_ms - 1000 * self._rules.skew_seconds
        try:
            scans = await self._scanner.scan(spans[0][0], as_of_ms)
        except ServiceError:
            return None
        for scan in scans:
            self._candidates.note_known(scan.known(self._candidates.wanted()))
            # A day of tasks takes long to process: yield to the event loop.
            await asyncio.sleep(0)
        return scans

    # The decision: nothing below awaits.

    def _decide(self, shards: Mapping[int, ShardRunner], scans: Sequence[PartitionScan]) -> None:
        offset_ms = self._provider.clock_offset_ms()
        unanswered: list[Unanswered] = []
        for shard in shards.values():
            self._candidates.note_known(shard.state.task_ids())
            for submission in shard.state.submissions.unanswered():
                with shard.boundary.isolate(_subject(shard, submission.key)):
                    urls = shard.state.file_urls(submission)
                    ours = unanswered_of(shard.partition, submission, offset_ms, self._rules, urls)
                    unanswered += [] if ours is None else [ours]
        for scan in scans:
            for submission in _of_others(scan, shards.get(scan.partition)):
                theirs = unanswered_of(scan.partition, submission, offset_ms, self._rules)
                unanswered += [] if theirs is None else [theirs]
        gaps = [gap for scan in scans for gap in scan.gaps()]
        answers = decide(unanswered, self._candidates.candidates(), gaps, self._proven())
        for each, event in answers.items():
            self._apply(shards.get(each.partition), each.key, event)

    def _proven(self) -> Proven:
        settled_ms = {(shard.partition, key): asked.settled_ms for (shard, key), asked in self._asked.items()}
        now_ms = self._lookup.vendor_now_ms()
        return Proven(self._evidence, settled_ms, now_ms, self._clock.confirmed_ms(), self._rules)

    def _apply(self, shard: ShardRunner | None, key: SubmissionKey, event: Found) -> None:
        """Apply the finding to the submission if it is ours and durably uncertain."""
        if shard is not None and (shard, key) in self._asked:
            with shard.boundary.isolate(_subject(shard, key)):
                shard.on_submission(key, event)

    def _boot_ms(self) -> int:
        return round(1000 * self._clock.boot_seconds())


def _subject(shard: ShardRunner, key: SubmissionKey) -> str:
    return f"submission {key} of partition {shard.partition}"


def _is_uncertain(shard: ShardRunner, key: SubmissionKey) -> bool:
    submission = shard.state.submissions.get(key)
    return shard.is_open and submission is not None and submission.state is SubmissionState.UNCERTAIN


def _of_others(scan: PartitionScan, shard: ShardRunner | None) -> list[Submission]:
    """Submissions in the journal that are not ours.

    For our own shard, its state in memory decides.

    Exception: a submission that was intended when the journal was read and has left the memory. It may have
    got its task and ended since.
    """
    found = scan.unanswered()
    if shard is None:
        return found
    ours = shard.state.submissions
    return [each for each in found if each.state is SubmissionState.INTENDED and each.key not in ours]
