"""Make the parts of a process out of its settings; nothing is connected and nothing runs yet."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from service.clock import Clock
from service.core.job import Job
from service.core.outcomes import OutcomeRules
from service.core.shard_state import Window
from service.core.spend import DaySpend, SpendRules
from service.core.vendor_clock import VendorClock
from service.from_settings import (
    admission_of,
    cluster_of,
    limits_of,
    member_of,
    provider_of,
    rules_of,
    topics_of,
)
from service.kafka.client import ClusterConfig
from service.kafka.consumer import GroupConfig, RequestConsumer
from service.kafka.journal import TAKEOVERS_AT_ONCE, Journal
from service.kafka.lasting import LastingReader
from service.kafka.producer import Producer
from service.kafka.survey import JournalSurveyor
from service.kafka.tail import Tail
from service.kafka.topics import Layout
from service.kafka.transactions import MOST_TRANSACTIONAL, require_transactions
from service.metrics import Metrics
from service.observe import Observing
from service.observe_provider import CountedProvider, CountedVocabularies
from service.pipeline.accept import AcceptStage
from service.pipeline.assignment import Assignment
from service.pipeline.assignment_deps import AssignmentDeps
from service.pipeline.audit import Audit
from service.pipeline.backlog import Backlog
from service.pipeline.brake import Brake
from service.pipeline.call_limiter import CallLimiter, Quota
from service.pipeline.collect import CollectDeps, CollectStage
from service.pipeline.dispatch import Stages
from service.pipeline.expire import reason
from service.pipeline.fetch_memory import FetchMemory, MemoryLimits
from service.pipeline.file_limits import FileLimits
from service.pipeline.gate import Gate
from service.pipeline.hold import Hold
from service.pipeline.limited_lists import LimitedVocabularies
from service.pipeline.lists import ListFinder
from service.pipeline.poll import PollDeps, PollStage
from service.pipeline.post import SubmitDeps
from service.pipeline.reconcile import ReconcileStage, Surveyor
from service.pipeline.result_holds import ResultHolds
from service.pipeline.shard_runner import RunnerDeps, ShardRunner
from service.pipeline.spawn import Spawn
from service.pipeline.stage_breaker import StageBreaker
from service.pipeline.submit import SubmitStage
from service.pipeline.vendor_time import ask
from service.pipeline.vocabulary import VocabularyStage
from service.provider.api import Provider, Vocabularies
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs in one process."""

    assignment: Assignment
    consumer: RequestConsumer
    tail: Tail
    stages: Stages
    gate: Gate
    breaker: StageBreaker
    audit: Audit
    ask_time: Callable[[Callable[[], None]], Coroutine[None, None, None]]
    """The loop that asks the vendor for its time while nothing else does."""

    def reason(self, runner: ShardRunner, job: Job) -> str:
        """What keeps the job from going on, in words."""
        return reason(runner, job, self.gate, self.stages.poll, self.stages.vocabulary)


@dataclass(frozen=True, slots=True)
class Account:
    """Our account at the provider: its work, and its hotword lists."""

    provider: Provider
    vocabularies: Vocabularies


@dataclass(frozen=True, slots=True)
class Process:
    """What all parts share."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    observing: Observing
    spawn: Spawn
    vendor_clock: VendorClock = field(default_factory=VendorClock)


@asynccontextmanager
async def connected(process: Process, layout: Layout) -> AsyncIterator[Parts]:
    """The parts, with their connections open; closed again in the reverse order."""
    settings = process.settings
    cluster, wait_ms = cluster_of(settings), settings.kafka.fetch_max_wait_ms
    producer = await _producer(settings, cluster)
    async with (
        provider_of(settings, process.clock, process.vendor_clock) as dashscope,
        LastingReader(cluster, wait_ms, "read_uncommitted") as watermarks,
    ):
        try:
            journal = Journal(
                cluster=cluster,
                topics=topics_of(settings),
                producer=producer,
                watermarks=watermarks,
                tail=Tail(watermarks, settings.topics.journal, process.clock),
                member=member_of(settings),
                on_mismatch=settings.kafka.on_journal_mismatch,
                limits=layout.limits,
                fetch_max_wait_ms=wait_ms,
                places=asyncio.Semaphore(TAKEOVERS_AT_ONCE),
            )
            counted = (process.metrics, process.clock, process.observing)
            account = Account(
                CountedProvider(dashscope, *counted),
                CountedVocabularies(dashscope.vocabularies, *counted),
            )
            rules, report = rules_of(settings), process.observing.journal_unread
            surveyor = JournalSurveyor(cluster, settings.topics.journal, watermarks, wait_ms, rules, report)
            yield _parts(process, layout, account, journal, surveyor)
        finally:
            if producer is not None:
                await producer.stop()


async def _producer(settings: Settings, cluster: ClusterConfig) -> Producer | None:
    """The producer that all shards share in `at_least_once`; the other mode has one for each shard."""
    if settings.kafka.delivery == "exactly_once":
        await require_transactions(cluster, topics_of(settings))
        return None
    producer = Producer(cluster, idempotent=settings.kafka.idempotent)
    await producer.start()
    return producer


def _parts(process: Process, layout: Layout, account: Account, journal: Journal, surveyor: Surveyor) -> Parts:
    settings = process.settings
    gate = _gate(
        process,
        layout,
        lambda: [runner.state.spend for runner in assignment.open_shards()],
        lambda model: sum(runner.state.jobs_without_task(model) for runner in assignment.open_shards()),
    )
    breaker = StageBreaker(process.clock, process.observing.stage_stopped)
    stages = _stages(process, gate, breaker, account, journal, surveyor)
    assignment = Assignment(_assignment(process, layout, journal, stages, gate.limiter, breaker))
    audit = Audit(assignment.open_shards, stages, process.clock, process.observing)
    group = GroupConfig(
        topic=settings.topics.requests,
        group_id=settings.kafka.group_id,
        instance_id=settings.kafka.group_instance_id,
        session_timeout_ms=round(1000 * settings.kafka.session_timeout_seconds),
        fetch_max_wait_ms=settings.kafka.fetch_max_wait_ms,
    )
    consumer = RequestConsumer(journal.cluster, group, assignment, process.clock, gate.limiter)
    assignment.delivery = consumer
    ask_time = partial(ask, account.provider, gate.limiter, process.clock, process.vendor_clock)
    return Parts(assignment, consumer, journal.tail, stages, gate, breaker, audit, ask_time)


def _gate(
    process: Process,
    layout: Layout,
    spends: Callable[[], list[DaySpend]],
    waiting: Callable[[str | None], int],
) -> Gate:
    clock, observing = process.clock, process.observing
    quota, spend = process.settings.quota, process.settings.spend
    of_account = Quota(quota.part, quota.calls_per_second, quota.submit_per_minute)
    limiter = CallLimiter(clock, of_account, process.vendor_clock)
    a_day = SpendRules(spend.seconds_per_day, layout.partitions, spend.cost_per_day)
    brake = Brake(clock, a_day, spends, observing.brake)
    hold = Hold(clock, lambda held, is_on: observing.hold(held, is_on, waiting(held.model)))
    return Gate(clock, limiter, hold, brake, observing.outage, ResultHolds(clock, observing.result_host))


def _stages(
    process: Process,
    gate: Gate,
    breaker: StageBreaker,
    account: Account,
    journal: Journal,
    surveyor: Surveyor,
) -> Stages:
    provider = account.provider
    clock, spawn, observing, settings = process.clock, process.spawn, process.observing, process.settings
    limits, fetch, rules = settings.limits, settings.fetch, rules_of(settings)
    lists = LimitedVocabularies(account.vocabularies, gate.limiter)
    finder = ListFinder(lists, clock, gate.hold, provider.clock_offset_ms)
    vocabulary = VocabularyStage(finder, clock, gate.hold, observing)
    files = FileLimits(observing.fewer_files)
    in_flight, dropped = limits.calls_in_flight, observing.cancel_dropped
    submitting = SubmitDeps(provider, journal.tail, spawn, vocabulary, in_flight, breaker, files)
    polling = PollDeps(provider, gate.limiter, gate.hold, spawn, in_flight, breaker, dropped)
    memory = FetchMemory(MemoryLimits(fetch.memory_bytes, fetch.max_decoded_bytes, limits.fetches_in_flight))
    collecting = CollectDeps(provider, spawn, memory, gate.results, limits.fetches_in_flight, breaker)
    return Stages(
        SubmitStage(submitting, clock, gate),
        PollStage(polling, clock),
        CollectStage(collecting, clock),
        ReconcileStage(provider, surveyor, clock, gate.limiter, rules, memory, observing),
        vocabulary,
    )


def _assignment(
    process: Process,
    layout: Layout,
    journal: Journal,
    stages: Stages,
    limiter: CallLimiter,
    breaker: StageBreaker,
) -> AssignmentDeps:
    settings, observing = process.settings, process.observing
    rules = rules_of(settings)
    return AssignmentDeps(
        journal=journal,
        accept=AcceptStage(limits_of(settings), admission_of(settings), stages.submit, observing, breaker),
        runner=RunnerDeps(process.clock, rules, observing, stages.dispatch, breaker, Backlog()),
        spawn=process.spawn,
        observer=observing,
        window=Window(settings.deduplication.window_seconds, settings.deduplication.jobs),
        outcomes=OutcomeRules(settings.outcomes.source, settings.outcomes.original_request),
        prices=settings.spend.prices,
        files_per_task=settings.requests.files_per_task,
        open_jobs=settings.limits.open_jobs,
        most_shards=MOST_TRANSACTIONAL if journal.producer is None else layout.partitions,
        limiter=limiter,
    )
