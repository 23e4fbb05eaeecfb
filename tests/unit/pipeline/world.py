"""A whole pipeline in one process: every part is the real one, but the broker, the provider and the clock."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial

from pydantic import JsonValue

from service.core.account import Held
from service.core.admission import Admission, AdmissionRules
from service.core.batch import Appended, Batch
from service.core.entry import STAMP_HEADER
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.moment import Doubt, Rules
from service.core.outcomes import Outcome
from service.core.price import Price
from service.core.record import Record
from service.core.shard import Shard
from service.core.spend import SPEND_LIMIT, DaySpend, SpendLimit, SpendRules
from service.core.survey import Survey
from service.core.task import Refused, Trouble
from service.errors import ServiceError
from service.kafka.writer import Writer
from service.messages import Failure, RequestLimits
from service.metrics import Metrics
from service.observe_provider import CountedProvider, CountedVocabularies
from service.pipeline.accept import AcceptStage
from service.pipeline.brake import Brake
from service.pipeline.budgets import Budgets
from service.pipeline.collect import CollectDeps, CollectStage
from service.pipeline.expire import expire, reason
from service.pipeline.fetch_memory import FetchMemory, MemoryLimits
from service.pipeline.file_limits import FileLimits
from service.pipeline.gate import Gate
from service.pipeline.hold import Hold
from service.pipeline.lists import ListFinder
from service.pipeline.poll import Lookout, PollStage
from service.pipeline.publish import OwnedShard, Surroundings
from service.pipeline.reconcile import ReconcileStage
from service.pipeline.result_holds import ResultHolds
from service.pipeline.steps import Steps
from service.pipeline.submit import Desk, SubmitStage
from service.pipeline.vocabulary import VocabularyStage
from tests.fakes.clock import FakeClock, settle
from tests.fakes.provider import FakeProvider
from tests.fakes.vocabularies import FakeVocabularies
from tests.fakes.writer import MemoryBroker
from tests.unit.core.samples import request_record

ARREARS = Refused(Trouble("Arrearage", "Access denied, account in arrears.", 400))
THROTTLED = Trouble("Throttling.RateQuota", "Requests rate limit exceeded.", 429)
URL = "https://h.example/a.wav?Signature=secret"
PLENTY_PER_MINUTE = 6_000_000.0


@dataclass
class GatedWriter:
    """A shard's writer with a gate before it: cleared, it holds batches back. `answers` are given instead.

    It may take its time to notice that nobody wants the batch any more.
    """

    inner: Writer
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    answers: deque[Appended] = field(default_factory=deque)
    batches: list[Batch] = field(default_factory=list)
    ending_seconds: float = 0.0
    is_closed: bool = False

    def __post_init__(self) -> None:
        self.gate.set()

    async def append(self, batch: Batch) -> Appended:
        """As the port says."""
        self.batches.append(batch)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(self.ending_seconds)
            raise
        return self.answers.popleft() if self.answers else await self.inner.append(batch)

    async def prove(self) -> Appended:
        """As the port says."""
        await self.gate.wait()
        return self.answers.popleft() if self.answers else await self.inner.prove()

    async def close(self) -> None:
        """As the port says."""
        self.is_closed = True


@dataclass
class FakeFence:
    """Proves what it is asked, unless told otherwise; a cleared gate lets everybody wait."""

    says: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def proves(self, partition: int, offset: int) -> bool:
        """As the port says."""
        self.asked.append((partition, offset))
        await self.gate.wait()
        return self.says


@dataclass
class FakeSurveyor:
    """Reads every journal partition of the broker in memory; `troubles` come first."""

    broker: MemoryBroker
    troubles: deque[ServiceError] = field(default_factory=deque)
    asked: list[Set[str]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def survey(self, wanted: Set[str]) -> Sequence[Survey]:
        """As the port says."""
        self.asked.append(wanted)
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.troubles:
            raise self.troubles.popleft()
        topic = self.broker.topics.journal
        numbers = sorted(number for name, number in self.broker.partitions if name == topic)
        return [self._survey(number, wanted) for number in numbers]

    def _survey(self, number: int, wanted: Set[str]) -> Survey:
        survey = Survey(number, wanted)
        for record in self.broker.journal(number):
            stamp = dict(record.headers).get(STAMP_HEADER)
            survey.add(record.offset, record.key.decode(), record.value, stamp)
        return survey


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
    outage_troubles: list[Trouble] = field(default_factory=list)
    cancels_dropped: int = 0
    doubts: list[Doubt] = field(default_factory=list)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    bug: Exception | None = None
    """Raised when the next batch is told of."""

    def committed(self, moves: int, seconds: float) -> None:
        if self.bug is not None:
            raise self.bug
        self.commits.append(moves)

    def admitted(self, admission: Admission) -> None:
        self.admissions.append(admission)

    def internal_error(self, border: str, subject: str, error: Exception) -> None:
        self.faults.append((border, subject, type(error).__name__))

    def retried(self, partition: int, reason: str) -> None:
        self.retries.append((partition, reason))

    def fenced(self, partition: int, reason: str) -> None:
        self.shard("fenced", partition, reason)

    def published(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def doubted(self, word: Doubt) -> None:
        self.doubts.append(word)

    def shard(self, word: str, partition: int, detail: str = "") -> None:
        self.shards.append((word, partition))
        self.details.append(detail)

    def twin(self, detail: str) -> None:
        """Another process has our name in the group."""

    def group_lost(self, detail: str) -> None:
        self.group.append(detail)

    def group_regained(self) -> None:
        self.group.append(None)

    def requests_lost(self, partition: int, count: int) -> None:
        self.lost.append((partition, count))

    def hold(self, held: Held, is_on: bool) -> None:
        self.holds.append(held.trouble.code if is_on else None)

    def brake(self, limit: SpendLimit | None) -> None:
        self.limits.append(limit)
        self.holds.append(limit and SPEND_LIMIT)

    def outage(self, model: str, trouble: Trouble | None) -> None:
        self.outages.append((model, trouble is not None))
        self.outage_troubles += [] if trouble is None else [trouble]

    def result_host(self, model: str, host: str, word: str) -> None:
        self.result_hosts.append((model, host, word))

    def cancel_dropped(self) -> None:
        self.cancels_dropped += 1

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


@dataclass
class World:
    """The stages and their surroundings; `shard` makes shards that run, `run` the stages' loops."""

    limits: Limits = field(default_factory=Limits)
    admission: AdmissionRules = field(default_factory=lambda: AdmissionRules(files_per_task=100))
    clock: FakeClock = field(default_factory=FakeClock)
    provider: FakeProvider = field(default_factory=FakeProvider)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    fence: FakeFence = field(default_factory=FakeFence)
    rules: Rules = field(default_factory=Rules)
    surveyor: FakeSurveyor = field(init=False)
    seen: Seen = field(default_factory=Seen)
    spawn: Spawner = field(default_factory=Spawner)
    turns: Counter[str] = field(default_factory=Counter)
    writers: dict[int, GatedWriter] = field(default_factory=dict)
    offsets: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        limits = self.limits
        self.shards: list[OwnedShard] = []
        self.surveyor = FakeSurveyor(self.broker)
        self.budgets = Budgets(
            self.clock, limits.part, limits.calls_per_second, submits_per_minute=limits.submits_per_minute
        )
        self.budgets.set_share(limits.share)
        self.hold = Hold(self.clock, self.seen.hold)
        rules = SpendRules(limits.spend_per_day, limits.partitions, limits.cost_per_day)
        self.brake = Brake(self.clock, rules, self.spends, self.seen.brake)
        self.results = ResultHolds(self.clock, self.seen.result_host)
        self.gate = Gate(self.clock, self.budgets, self.hold, self.brake, self.seen.outage, self.results)
        self.vocabularies = FakeVocabularies(self.clock.now_ms)
        metrics = Metrics(clock=self.clock)
        provider = CountedProvider(self.provider, metrics, self.clock, self.seen)
        lists = CountedVocabularies(self.vocabularies, metrics, self.clock, self.seen)
        finder = ListFinder(lists, self.clock, self.hold, provider.clock_offset_ms)
        self.vocabulary = VocabularyStage(finder, self.clock, self.hold, self.seen)
        self.files = FileLimits()
        desk = Desk(provider, self.fence, self.spawn, self.vocabulary, limits.posts, self.files)
        self.submit = SubmitStage(desk, self.clock, self.gate)
        lookout = Lookout(
            provider, self.budgets, self.hold, self.spawn, limits.queries, self.seen.cancel_dropped
        )
        self.poll = PollStage(lookout, self.clock)
        memory = FetchMemory(limits.memory)
        deps = CollectDeps(provider, self.spawn, memory, self.results, limits.fetches)
        self.collect = CollectStage(deps, self.clock)
        self.provider.now_ms = self.clock.now_ms
        self.reconcile = ReconcileStage(
            provider, self.surveyor, self.clock, self.budgets, self.rules, memory, self.seen
        )
        self.steps = Steps(self.submit, self.poll, self.collect, self.reconcile, self.vocabulary)
        self.around = Surroundings(self.clock, self.rules, self.seen, self.steps.carry_out)
        self.accept = AcceptStage(RequestLimits(), self.admission, self.submit, self.seen)

    def spends(self) -> list[DaySpend]:
        """What each open shard's day has cost."""
        return [shard.state.spend for shard in self.shards if shard.is_open]

    def run(self, *stages: str) -> None:
        """Start the loops of these stages: submit, vocabulary, poll, collect, reconcile, expire; or all."""
        for name in stages or ("submit", "vocabulary", "poll", "collect", "reconcile", "expire"):
            self.spawn(self._loop(name), name=name)

    def _loop(self, name: str) -> Coroutine[None, None, None]:
        def on_turn() -> None:
            self.turns[name] += 1

        match name:
            case "submit":
                return self.submit.run(on_turn)
            case "vocabulary":
                return self.vocabulary.run(on_turn)
            case "poll":
                return self.poll.run(on_turn)
            case "collect":
                return self.collect.run(on_turn)
            case "reconcile":
                return self.reconcile.run(self.open_shards, on_turn)
            case _:
                why = partial(reason, gate=self.gate, poll=self.poll, vocabulary=self.vocabulary)
                return expire(self.open_shards, self.clock, on_turn, why)

    def open_shards(self) -> list[OwnedShard]:
        """The shards that are served."""
        return [each for each in self.shards if each.is_open]

    def shard(self, partition: int = 0, jobs: Iterable[Job] = (), epoch: int = 1) -> OwnedShard:
        """An owned shard at work, with these jobs in its state."""
        state = Shard(partition, prices=self.limits.prices)
        shard = OwnedShard(state, self.writer(partition, epoch), epoch, self.around)
        self.shards.append(shard)
        shard.state.open_request(jobs)
        self.spawn(shard.run_until_closed(), name=f"shard {partition}")
        return shard

    def writer(self, partition: int, epoch: int = 1) -> GatedWriter:
        """A new writer for the partition; `writers` keeps the last one."""
        self.writers[partition] = GatedWriter(self.broker.writer(partition, epoch))
        return self.writers[partition]

    async def take(self, shard: OwnedShard, *requests: str, **fields: JsonValue) -> None:
        """Let requests of these ids be accepted, and everything run that can without time passing."""
        self.accept.accept(shard, [self.record(shard.partition, each, **fields) for each in requests])
        await settle()

    def record(self, partition: int, request_id: str, **fields: JsonValue) -> Record:
        """The next record of the partition."""
        offset = self.offsets[partition]
        self.offsets[partition] += 1
        return request_record(offset, request_id, **fields)

    async def end(self) -> None:
        """End every task; a crash of one fails the test."""
        await self.spawn.end()
        assert self.spawn.crashes == []


def state(shard: OwnedShard, request_id: str = "r", index: int = 0) -> State | None:
    """Where a job stands; None when it is done."""
    job = shard.state.jobs.get(JobKey(request_id, 0, index))
    return None if job is None else job.state


def job_of(shard: OwnedShard, request_id: str = "r", index: int = 0) -> Job:
    """An open job."""
    return shard.state.jobs[JobKey(request_id, 0, index)]


def journalled(broker: MemoryBroker, key: str, partition: int = 0) -> list[str]:
    """The states that a job's journal entries had, in order."""
    values = [record.value for record in broker.journal(partition) if record.key.decode() == key]
    return [json.loads(value)["state"] if value else "forgotten" for value in values]


def urls(*names: str) -> list[JsonValue]:
    """URLs of files with these names."""
    return [f"https://h.example/{name}.wav" for name in names]
