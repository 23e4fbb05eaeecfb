"""A whole pipeline in one process: every part is the real one, but the broker, the provider and the clock."""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

from pydantic import JsonValue

from service.contract.outcome import Failure
from service.contract.request_decoder import RequestLimits
from service.core.job.accepted_request import AcceptedRequest, FinishedRequest
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.request_progress import RequestProgress
from service.core.job.request_record import Record
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Rules
from service.core.job.uncertainty import UncertainOutcome
from service.core.journal.entries import Entry, JobEntry, decode
from service.core.journal.stamp import STAMP_HEADER
from service.core.limits.hold_causes import HoldCause
from service.core.limits.price import Price
from service.core.limits.spend_limit import SPEND_LIMIT, DaySpend, SpendLimit, SpendRules
from service.core.outcome.build import Outcome
from service.core.polling.list_trust import PageSource
from service.core.provider.answers import ProviderError, Refused
from service.core.reconciliation.journal_scan import PartitionScan
from service.core.shard.admission import Admission, AdmissionRules
from service.core.shard.batches import Appended, Batch
from service.core.shard.shard import Shard
from service.core.time.vendor_clock import VendorClock
from service.kafka.journal.scanner import JournalScanner
from service.kafka.journal.tail import Tail
from service.kafka.writing.writer_port import Writer
from service.observability.metrics import Metrics
from service.observability.provider_instrumentation import InstrumentedHotwordLists, InstrumentedProvider
from service.pipeline.accept import AcceptStage
from service.pipeline.audit import Audit
from service.pipeline.collect import CollectDeps, CollectStage
from service.pipeline.collecting.fetch_memory import FetchMemory, MemoryLimits
from service.pipeline.dispatch import Stages
from service.pipeline.expire import expire, reason
from service.pipeline.guards.account_hold import AccountHold
from service.pipeline.guards.call_limiter import CallKind, CallLimiter, Quota, Rate
from service.pipeline.guards.file_limits import FileLimits
from service.pipeline.guards.limited_calls import LimitedCalls
from service.pipeline.guards.result_hold import ResultHolds
from service.pipeline.guards.spend_guard import SpendGuard
from service.pipeline.guards.submit_guards import SubmitGuards
from service.pipeline.hotwords.directory import HotwordListFinder
from service.pipeline.hotwords.prepare import HotwordListStage
from service.pipeline.poll import PollDeps, PollStage
from service.pipeline.polling.list_hints import ListHints
from service.pipeline.polling.list_sweep import ListSweepStage
from service.pipeline.polling.poll_requests import PollRequests
from service.pipeline.polling.shared_pages import SharedPages
from service.pipeline.post import SubmitDeps
from service.pipeline.reconcile import ReconcileStage
from service.pipeline.shard.backlog import Backlog
from service.pipeline.shard.observer import HintResult, PageResult, ShardChange
from service.pipeline.shard.shard_runner import RunnerDeps, ShardRunner
from service.pipeline.shard.stage_breaker import StageBreaker, StageName
from service.pipeline.submit import SubmitStage
from service.provider.api import Permit, at_once
from tests.fakes.clock import BEGIN_BOOT_SECONDS, BEGIN_MS, FakeClock, settle
from tests.fakes.provider import FakeProvider
from tests.fakes.vocabularies import FakeVocabularies
from tests.fakes.writer import MemoryBroker
from tests.unit.core.samples import job, request, request_record, submission

T = TypeVar("T")
ARREARS = Refused(ProviderError("Arrearage", "Access denied, account in arrears.", 400))
THROTTLED = ProviderError("Throttling.RateQuota", "Requests rate limit exceeded.", 429)
URL = "https://h.example/a.wav?Signature=secret"
PLENTY_PER_MINUTE = 6_000_000.0


PARTITIONS = 20


class KnownTime(VendorClock):
    """A vendor whose clock is known: the machine's own at its beginning, give or take `error_seconds`."""

    def __init__(self, error_seconds: float = 0.0) -> None:
        self.error_seconds = error_seconds

    def offset_seconds(self, boot_seconds: float) -> tuple[float, float] | None:
        ahead = BEGIN_MS / 1000 - BEGIN_BOOT_SECONDS
        return ahead - self.error_seconds, ahead + self.error_seconds


@dataclass
class GatedWriter:
    """A shard's writer with a gate before it: cleared, it holds batches back. `answers` are given instead.

    It may take its time to notice that nobody wants the batch any more.
    """

    inner: Writer
    guards: asyncio.Event = field(default_factory=asyncio.Event)
    answers: deque[Appended] = field(default_factory=deque)
    batches: list[Batch] = field(default_factory=list)
    ending_seconds: float = 0.0
    is_closed: bool = False

    def __post_init__(self) -> None:
        self.guards.set()

    async def append(self, batch: Batch) -> Appended:
        self.batches.append(batch)
        try:
            await self.guards.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(self.ending_seconds)
            raise
        return self.answers.popleft() if self.answers else await self.inner.append(batch)

    async def prove(self) -> Appended:
        await self.guards.wait()
        return self.answers.popleft() if self.answers else await self.inner.prove()

    async def release(self) -> Appended:
        await self.guards.wait()
        return await self.inner.release()

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class FakeFence(Tail):
    """Proves what it is asked, unless told otherwise; a cleared gate lets everybody wait."""

    says: bool = True
    guards: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.guards.set()

    async def proves(self, partition: int, offset: int) -> bool:
        self.asked.append((partition, offset))
        await self.guards.wait()
        return self.says


class FakeScanner(JournalScanner):
    """Reads every journal partition of the broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker

    async def scan(self, since_ms: float, now_ms: float) -> Sequence[PartitionScan]:
        await asyncio.sleep(0)
        topic = self.broker.topics.journal
        numbers = sorted(number for name, number in self.broker.partitions if name == topic)
        return [self._scan(number, since_ms, now_ms) for number in numbers]

    def _scan(self, number: int, since_ms: float, now_ms: float) -> PartitionScan:
        scan = PartitionScan(number, Rules(), since_ms, 0)
        for record in self.broker.journal(number):
            stamp = dict(record.headers).get(STAMP_HEADER)
            scan.add(record.offset, record.key.decode(), record.value, stamp, None)
        scan.complete(now_ms)
        return scan


@dataclass
class Spawner:
    """Starts tasks as the service does; one that crashes is found out at the end."""

    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    crashes: list[BaseException] = field(default_factory=list)

    def __call__(self, coroutine: Coroutine[None, None, None], *, name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.crashes.append(error)

    def named(self, name: str) -> list[asyncio.Task[None]]:
        """The tasks that run under names that begin so."""
        return [task for task in self.tasks if task.get_name().startswith(name)]

    async def end(self) -> None:
        """Cancel what runs, and wait for it."""
        running = list(self.tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@dataclass
class Seen:
    """What the pipeline tells its observers."""

    commits: list[int] = field(default_factory=list)
    retries: list[tuple[int, str]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    admissions: list[Admission] = field(default_factory=list)
    shards: list[tuple[str, int]] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    holds: list[str | None] = field(default_factory=list)
    limits: list[SpendLimit | None] = field(default_factory=list)
    group: list[str | None] = field(default_factory=list)
    """Why the group was lost; None where it was regained."""
    outages: list[tuple[str, bool]] = field(default_factory=list)
    result_hosts: list[tuple[str, str, str]] = field(default_factory=list)
    outage_errors: list[ProviderError] = field(default_factory=list)
    cancels_dropped: int = 0
    swept: list[float] = field(default_factory=list)
    hints: list[HintResult] = field(default_factory=list)
    distrusted: list[float] = field(default_factory=list)
    distrusted_sources: list[PageSource] = field(default_factory=list)
    pages: Counter[PageResult] = field(default_factory=Counter)
    uncertainties: list[UncertainOutcome] = field(default_factory=list)
    stops: list[tuple[StageName, bool]] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    rebalances: int = 0
    takeovers: list[tuple[ShardChange, float]] = field(default_factory=list)
    bug: Exception | None = None
    """Raised when the next batch is told of."""

    def committed(self, records: int, seconds: float) -> None:
        if self.bug is not None:
            raise self.bug
        self.commits.append(records)

    def admitted(self, admission: Admission) -> None:
        self.admissions.append(admission)

    def internal_error(self, boundary: str, subject: str, error: Exception) -> None:
        self.faults.append((boundary, subject, type(error).__name__))

    def retried(self, partition: int, reason: str) -> None:
        self.retries.append((partition, reason))

    def fenced(self, partition: int, reason: str) -> None:
        self.shard("fenced", partition, reason)

    def published(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def uncertain(self, word: UncertainOutcome) -> None:
        self.uncertainties.append(word)

    def stage_stopped(self, stage: StageName, is_stopped: bool) -> None:
        self.stops.append((stage, is_stopped))

    def work_restored(self, count: int) -> None:
        self.restored.append(count)

    def shard(self, word: str, partition: int, detail: str = "") -> None:
        self.shards.append((word, partition))
        self.details.append(detail)

    def duplicate_member(self, detail: str) -> None:
        """Another process has our name in the group."""

    def group_lost(self, detail: str) -> None:
        self.group.append(detail)

    def group_regained(self) -> None:
        self.group.append(None)

    def rebalanced(self) -> None:
        self.rebalances += 1

    def served(self, change: ShardChange, seconds: float) -> None:
        self.takeovers.append((change, seconds))

    def requests_lost(self, partition: int, count: int) -> None:
        self.lost.append((partition, count))

    def hold(self, held: HoldCause, is_on: bool) -> None:
        self.holds.append(held.provider_error.code if is_on else None)

    def spend_guard(self, limit: SpendLimit | None) -> None:
        self.limits.append(limit)
        self.holds.append(limit and SPEND_LIMIT)

    def outage(self, model: str, provider_error: ProviderError | None) -> None:
        self.outages.append((model, provider_error is not None))
        self.outage_errors += [] if provider_error is None else [provider_error]

    def result_host(self, model: str, host: str, word: str) -> None:
        self.result_hosts.append((model, host, word))

    def cancel_dropped(self) -> None:
        self.cancels_dropped += 1

    def list_swept(self, seconds: float) -> None:
        self.swept.append(seconds)

    def list_hint(self, result: HintResult) -> None:
        self.hints.append(result)

    def list_distrusted(self, source: PageSource, seconds: float) -> None:
        self.distrusted.append(seconds)
        self.distrusted_sources.append(source)

    def list_page(self, result: PageResult) -> None:
        self.pages[result] += 1

    def ends(self) -> dict[str, str]:
        """How each job ended: "result", or the code of its failure."""
        return {each.id: _end(each) for each in self.outcomes}


def _end(outcome: Outcome) -> str:
    return outcome.body.code.value if isinstance(outcome.body, Failure) else "result"


@dataclass
class Limits:
    """What the pipeline may do at a time, and how often; half of each quota is ours."""

    posts: int = 32
    queries: int = 32
    fetches: int = 8
    calls_per_second: float = 40.0
    submits_per_minute: float = PLENTY_PER_MINUTE
    memory: MemoryLimits = MemoryLimits()
    part: float = 0.5
    share: float = 1.0
    spend_per_day: int | None = None
    cost_per_day: float | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)
    partitions: int = 1
    files_per_task: int | None = 100
    backlog_bytes: int = 4 * 1024**2


class UnlimitedCalls(LimitedCalls):
    """Calls about hotword lists that wait for no slot."""

    async def make(
        self, ask: Callable[[Permit], Awaitable[T | ProviderError]], is_wanted: Callable[[], bool] = bool
    ) -> T | ProviderError:
        """As without a limit."""
        return await ask(at_once)


@cache
def unread_metrics() -> Metrics:
    """For all worlds: nobody reads them, and a hundred series take longer to make than most tests run."""
    return Metrics(clock=FakeClock())


def serve(limiter: CallLimiter, share: float) -> None:
    """Let this part of all partitions be ours, and the group always confirm it."""
    share_of, now = limiter.share, limiter.clock.boot_seconds()
    share_of.prove(math.inf)
    share_of.set_partitions(PARTITIONS, now)
    share_of.served = dict.fromkeys(range(round(share * PARTITIONS)), now)


@dataclass
class World:
    """The stages and their surroundings; `shard` makes shards that run, `run` the stages' loops."""

    limits: Limits = field(default_factory=Limits)
    admission: AdmissionRules = field(default_factory=AdmissionRules)
    clock: FakeClock = field(default_factory=FakeClock)
    provider: FakeProvider = field(default_factory=FakeProvider)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    fence: FakeFence = field(default_factory=FakeFence)
    rules: Rules = field(default_factory=Rules)
    scanner: FakeScanner = field(init=False)
    seen: Seen = field(default_factory=Seen)
    spawn: Spawner = field(default_factory=Spawner)
    turns: Counter[str] = field(default_factory=Counter)
    send_page: Callable[[bytes], None] = lambda value: None
    """Writes a shared page, if other replicas are to read it."""
    writers: dict[int, GatedWriter] = field(default_factory=dict)
    offsets: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        limits = self.limits
        self.shards: list[ShardRunner] = []
        self.breaker = StageBreaker(self.clock, self.seen.stage_stopped)
        self.backlog = Backlog(shard_bytes=limits.backlog_bytes)
        self.scanner = FakeScanner(self.broker)
        quota = Quota(limits.part, limits.calls_per_second, limits.submits_per_minute)
        self.limiter = CallLimiter(self.clock, quota, KnownTime())
        self.serve(limits.share)
        self.hold = AccountHold(self.clock, self.seen.hold)
        rules = SpendRules(limits.spend_per_day, limits.cost_per_day)
        self.spend_guard = SpendGuard(
            self.clock, rules, lambda: limits.partitions, self.spends, self.seen.spend_guard
        )
        self.results = ResultHolds(self.clock, self.seen.result_host)
        self.guards = SubmitGuards(
            self.clock, self.limiter, self.hold, self.spend_guard, self.seen.outage, self.results
        )
        self._make_stages()
        self.stages = Stages(
            self.submit, self.poll, self.sweep, self.collect, self.reconcile, self.vocabulary
        )
        self.audit = Audit(self.open_shards, self.stages, self.clock, self.seen)
        self.runner_deps = RunnerDeps(
            self.clock, self.rules, self.seen, self.stages.dispatch, self.breaker, self.backlog
        )
        self.accept = AcceptStage(RequestLimits(), self.admission, self.submit, self.seen, self.breaker)

    def _make_stages(self) -> None:
        limits = self.limits
        self.vocabularies = FakeVocabularies(self.clock.now_ms)
        metrics = unread_metrics()
        provider = InstrumentedProvider(self.provider, metrics, self.clock, self.seen)
        lists = InstrumentedHotwordLists(self.vocabularies, metrics, self.clock, self.seen)
        finder = HotwordListFinder(
            lists,
            UnlimitedCalls(self.limiter, CallKind.HOTWORDS),
            self.clock,
            self.hold,
            provider.clock_offset_ms,
        )
        self.vocabulary = HotwordListStage(finder, self.clock, self.hold, self.seen)
        self.files = FileLimits()
        submitting = SubmitDeps(
            provider, self.fence, self.spawn, self.vocabulary, limits.posts, self.breaker, self.files
        )
        self.submit = SubmitStage(submitting, self.clock, self.guards)
        polling = PollDeps(
            provider,
            self.limiter,
            self.hold,
            self.spawn,
            limits.queries,
            self.breaker,
            self.seen.cancel_dropped,
        )
        requests = PollRequests(self.clock)
        hints = ListHints(self.clock, requests, self.seen)
        self.poll = PollStage(polling, self.clock, requests, hints)
        self.shared = SharedPages(self.limiter, hints, self.seen, f"replica-{id(self)}", self.send_page)
        self.sweep = ListSweepStage(
            provider,
            self.clock,
            self.limiter,
            requests,
            hints,
            self.shared,
            self.seen,
        )
        memory = FetchMemory(limits.memory)
        deps = CollectDeps(provider, self.spawn, memory, self.results, limits.fetches, self.breaker)
        self.collect = CollectStage(deps, self.clock)
        self.provider.now_ms = self.clock.now_ms
        self.reconcile = ReconcileStage(
            provider, self.scanner, self.clock, self.limiter, self.rules, memory, self.seen
        )

    def serve(self, share: float) -> None:
        """Let this part of all partitions be ours, and the group always confirm it."""
        serve(self.limiter, share)

    def rate(self, kind: CallKind, model: str = "") -> Rate:
        """What a sequence of slots comes to now."""
        return next(each for each in self.limiter.rates() if (each.kind, each.model) == (kind, model))

    def spends(self) -> list[DaySpend]:
        """What each open shard's day has cost."""
        return [shard.state.spend for shard in self.shards if shard.is_open]

    def run(self, *stages: str) -> None:
        """Start the loops of these stages, audit among them; without a name all but the audit."""
        for name in stages or ("submit", "vocabulary", "poll", "collect", "reconcile", "expire"):
            self.spawn(self._loop(name), name=name)

    def _loop(self, name: str) -> Coroutine[None, None, None]:
        def on_tick() -> None:
            self.turns[name] += 1

        match name:
            case "submit":
                return self.submit.run(on_tick)
            case "vocabulary":
                return self.vocabulary.run(on_tick)
            case "poll":
                return self.poll.run(on_tick)
            case "sweep":
                return self.sweep.run(on_tick)
            case "collect":
                return self.collect.run(on_tick)
            case "reconcile":
                return self.reconcile.run(self.open_shards, on_tick)
            case "audit":
                return self.audit.run(on_tick)
            case _:
                why = partial(reason, guards=self.guards, poll=self.poll, hotword_lists=self.vocabulary)
                return expire(self.open_shards, self.clock, self.breaker, on_tick, why)

    def open_shards(self) -> list[ShardRunner]:
        """The shards that are served."""
        return [each for each in self.shards if each.is_open]

    def shard(self, partition: int = 0, epoch: int = 1) -> ShardRunner:
        """An owned shard at work."""
        state = Shard(partition, epoch, prices=self.limits.prices, files_per_task=self.limits.files_per_task)
        runner = ShardRunner(state, self.writer(partition, epoch), epoch, self.runner_deps)
        self.shards.append(runner)
        self.spawn(runner.run_until_closed(), name=f"shard {partition}")
        return runner

    def writer(self, partition: int, epoch: int = 1) -> GatedWriter:
        """A new writer for the partition; `writers` keeps the last one."""
        self.writers[partition] = GatedWriter(self.broker.writer(partition, epoch))
        return self.writers[partition]

    async def take(self, runner: ShardRunner, *requests: str, **fields: JsonValue) -> None:
        """Let requests of these ids be accepted, and everything run that can without time passing."""
        self.deliver(runner, *(self.record(runner.partition, each, **fields) for each in requests))
        await settle()

    async def accepted(self, *requests: str, partition: int = 0, **fields: JsonValue) -> ShardRunner:
        """A shard with requests (`r`, unless others are named) that no budget has let go out yet."""
        runner = self.shard(partition)
        served = self.limiter.share.served
        self.serve(0.0)
        await self.take(runner, *(requests or ("r",)), **fields)
        self.limiter.share.served = served
        return runner

    def collecting(
        self, runner: ShardRunner, request_id: str, age_seconds: float = 0, task_id: str = "t1"
    ) -> JobRef:
        """A job whose task, submitted so long ago, has finished; nothing of it is in the journal."""
        state, number = runner.state, len(runner.state.requests) + 1_000
        origin = Origin(0, number)
        asked = request(origin=origin, request_id=request_id, metadata=None, deadline_ms=10**14)
        submitted_ms = self.clock.now_ms() - round(1000 * age_seconds)
        key = SubmissionKey(runner.epoch, number)
        made = submission(
            SubmissionState.RUNNING,
            key=key,
            jobs=(asked.ref(0),),
            task_id=task_id,
            submitted_ms=submitted_ms,
            is_task_over=True,
        )
        done = job(
            JobState.COLLECTING,
            ref=asked.ref(0),
            request=asked,
            submission=key,
            task_ids=(task_id,),
            submitted_ms=submitted_ms,
        )
        state.requests[origin], state.by_id[asked.key.compact] = asked, origin
        state.progress[origin] = RequestProgress(1, (0,))
        state.submissions[key], state.jobs[done.ref] = made, done
        return done.ref

    def deliver(self, runner: ShardRunner, *records: Record) -> None:
        """Let records be accepted."""
        for record in records:
            assert self.accept.accept(runner, record)

    def record(self, partition: int, request_id: str, **fields: JsonValue) -> Record:
        """The next record of the partition."""
        offset = self.offsets[partition]
        self.offsets[partition] += 1
        return request_record(offset, request_id, **fields)

    async def done(self, within_seconds: float) -> None:
        """Let time pass until no job is open, and a minute for what may follow; fails if one stays open."""
        async with asyncio.timeout(within_seconds):
            while any(shard.state.jobs for shard in self.open_shards()):
                await self.clock.sleep(1.0)
        await self.clock.sleep(60.0)

    async def end(self) -> None:
        """End every task; a crash of one fails the test."""
        await self.spawn.end()
        assert self.spawn.crashes == []


def ref(runner: ShardRunner, request_id: str = "r", index: int = 0) -> JobRef:
    """The identity of a job of the latest request of that id."""
    return JobRef(runner.state.by_id.get(request_id, Origin(-1, -1)), index)


def job_of(runner: ShardRunner, request_id: str = "r", index: int = 0) -> Job:
    """An open job."""
    return runner.state.jobs[ref(runner, request_id, index)]


def submission_of(runner: ShardRunner, request_id: str = "r", index: int = 0) -> Submission:
    """The submission that an open job is in."""
    return runner.state.submissions[job_of(runner, request_id, index).submission]


def state(runner: ShardRunner, request_id: str = "r", index: int = 0) -> SubmissionState | JobState | None:
    """Where a job's submission stands while the job is in it, else the job; None when it is done."""
    job = runner.state.jobs.get(ref(runner, request_id, index))
    if job is None or job.state not in (JobState.WAITING, JobState.SUBMITTED):
        return None if job is None else job.state
    return runner.state.submissions[job.submission].state


def journalled(broker: MemoryBroker, job: str, partition: int = 0) -> list[str]:
    """What the journal says of a job, record by record: the words for its request, submissions and itself."""
    request_id, _, index = job.split("/")
    origins: set[Origin] = set()
    words: list[str] = []
    for record in broker.journal(partition):
        key = record.key.decode()
        entry = None if record.value is None else decode(key, record.value)
        if isinstance(entry, AcceptedRequest | FinishedRequest) and entry.request_id == request_id:
            origins.add(entry.origin)
        refs = {JobRef(origin, int(index)) for origin in origins}
        words += _words(key, entry, refs)
    return words


def _words(key: str, entry: Entry | None, refs: set[JobRef]) -> list[str]:
    match entry:
        # The tombstone of a job's own record, behind its finished request, says nothing more of it.
        case None if key in {str(ref.origin) for ref in refs}:
            return ["forgotten"]
        case AcceptedRequest() if any(ref.origin == entry.origin for ref in refs):
            return ["accepted"]
        case FinishedRequest() if any(ref.origin == entry.origin for ref in refs):
            return ["finished"]
        case Submission() if refs & set(entry.jobs):
            return [entry.state.value]
        case JobEntry() if entry.ref in refs:
            return [_word(entry)]
        case _:
            return []


def _word(entry: JobEntry) -> str:
    if entry.end is not None:
        return "done"
    return "finishing" if entry.is_result or entry.ending else "cancel"


def urls(*names: str) -> list[JsonValue]:
    """URLs of files with these names."""
    return [f"https://h.example/{name}.wav" for name in names]
