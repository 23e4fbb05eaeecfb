"""Build the parts of a process from its settings and open their connections.

Start no loop.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import field, replace
from functools import partial
from secrets import token_hex

from pydantic import SecretStr

from service.app.from_settings import (
    admission_of,
    limits_of,
    member_of,
    provider_of,
    rules_of,
    topics_of,
)
from service.app.rotation import API_KEY, Loop, Rotation, login_loops
from service.clock import Clock
from service.core.job.job import Job
from service.core.limits.spend_limit import DaySpend, SpendRules
from service.core.outcome.build import OutcomeRules
from service.core.shard.state import Window
from service.core.time.vendor_clock import VendorClock
from service.frozen import dataclass
from service.kafka.admin.topics import Layout
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.reader import ReconnectingReader
from service.kafka.group.consumer import GroupConfig, RequestConsumer
from service.kafka.group.partition_offsets import PartitionOffsets
from service.kafka.journal.journal import TAKEOVERS_AT_ONCE, Journal
from service.kafka.journal.scanner import JournalScanner
from service.kafka.journal.tail import Tail
from service.kafka.page_topic import PageTopic
from service.kafka.writing.producer import Producer
from service.kafka.writing.transactional_producer import MAX_TRANSACTIONAL, require_transactions
from service.observability import log
from service.observability.instrumentation import PipelineInstrumentation
from service.observability.metrics import Metrics
from service.observability.provider_instrumentation import InstrumentedHotwordLists, InstrumentedProvider
from service.pipeline.accept import AcceptStage
from service.pipeline.assignment.assignment import Assignment
from service.pipeline.assignment.dependencies import AssignmentDeps
from service.pipeline.audit import Audit
from service.pipeline.collect import CollectDeps, CollectStage
from service.pipeline.collecting.fetch_memory import FetchMemory, MemoryLimits
from service.pipeline.dispatch import Stages
from service.pipeline.expire import reason
from service.pipeline.guards.account_hold import AccountHold
from service.pipeline.guards.call_limiter import CallKind, CallLimiter, Quota
from service.pipeline.guards.file_limits import FileLimits
from service.pipeline.guards.limited_calls import LimitedCalls
from service.pipeline.guards.result_hold import ResultHolds
from service.pipeline.guards.spend_guard import SpendGuard
from service.pipeline.guards.submit_guards import SubmitGuards
from service.pipeline.guards.vendor_time import ask
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
from service.pipeline.shard.shard_runner import RunnerDeps, ShardRunner
from service.pipeline.shard.spawn import Spawn
from service.pipeline.shard.stage_breaker import StageBreaker
from service.pipeline.shard.tracer import Tracer
from service.pipeline.submit import SubmitStage
from service.provider.api import HotwordLists, Provider
from service.provider.dashscope import DashScope
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one process."""

    assignment: Assignment
    consumer: RequestConsumer
    tail: Tail
    offsets: PartitionOffsets
    stages: Stages
    guards: SubmitGuards
    breaker: StageBreaker
    audit: Audit
    ask_time: Loop
    """The loop that calls the vendor for its time while no other call does."""
    optional_loops: Mapping[str, Loop] = field(default_factory=dict)
    """The loops of the topic of shared pages, if there is one, and of the files of secrets."""

    def reason(self, runner: ShardRunner, job: Job) -> str:
        """Why the job cannot continue, as a sentence."""
        return reason(runner, job, self.guards, self.stages.poll, self.stages.hotword_lists)


@dataclass(frozen=True, slots=True)
class Account:
    """Our account at the provider: its tasks and its hotword lists."""

    provider: Provider
    hotword_lists: HotwordLists


@dataclass(frozen=True, slots=True)
class Process:
    """The objects that all parts share."""

    settings: Settings
    cluster: ClusterConfig
    clock: Clock
    metrics: Metrics
    instrumentation: PipelineInstrumentation
    spawn: Spawn
    secrets: log.Secrets
    vendor_clock: VendorClock = field(default_factory=VendorClock)
    tracer: Tracer | None = None


@asynccontextmanager
async def connected(process: Process, layout: Layout) -> AsyncIterator[Parts]:
    """The parts with open connections, which are closed in the reverse order."""
    settings, cluster = process.settings, process.cluster
    wait_ms = settings.kafka.fetch_max_wait_ms
    async with (
        _producer(settings, cluster) as producer,
        provider_of(settings, process.clock, process.vendor_clock) as dashscope,
        ReconnectingReader(cluster, wait_ms, "read_uncommitted") as watermarks,
        _page_topic(process, cluster, layout) as pages,
    ):
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
            takeover_slots=asyncio.Semaphore(TAKEOVERS_AT_ONCE),
        )
        counted = (process.metrics, process.clock, process.instrumentation)
        account = Account(
            InstrumentedProvider(dashscope, *counted),
            InstrumentedHotwordLists(dashscope.hotword_lists, *counted),
        )
        rules, report = rules_of(settings), process.instrumentation.journal_unreadable
        scanner = JournalScanner(cluster, settings.topics.journal, watermarks, wait_ms, rules, report)
        parts = _parts(process, layout, account, journal, scanner, pages)
        kafka, hide = settings.kafka, process.secrets.add
        login = login_loops(kafka, cluster.credentials, hide, process.clock)
        rotations = {**_key_loop(process, dashscope, parts), **login}
        yield replace(parts, optional_loops={**parts.optional_loops, **rotations})


def _key_loop(process: Process, dashscope: DashScope, parts: Parts) -> Mapping[str, Loop]:
    """The loop that replaces the API key; none if the key is not in a file."""

    def use(key: SecretStr) -> None:
        process.secrets.add(key)
        dashscope.use_key(key)
        parts.guards.probe_now()

    provider = process.settings.provider
    if provider.api_key_file is None:
        return {}
    return {"key": Rotation(API_KEY, provider.key, dashscope.key, use, process.clock).run}


@asynccontextmanager
async def _producer(settings: Settings, cluster: ClusterConfig) -> AsyncIterator[Producer | None]:
    """The producer that all shards share in `at_least_once`.

    `exactly_once` has one per shard.
    """
    if settings.kafka.delivery == "exactly_once":
        await require_transactions(cluster, topics_of(settings))
        yield None
        return
    producer = Producer(cluster, idempotent=settings.kafka.idempotent)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def _page_topic(
    process: Process, cluster: ClusterConfig, layout: Layout
) -> AsyncIterator[PageTopic | None]:
    """The topic of shared pages, if it exists; nothing connects until there is something to share."""
    if not layout.has_pages:
        yield None
        return
    wait_ms, report = process.settings.kafka.fetch_max_wait_ms, process.instrumentation.list_shared
    pages = PageTopic(cluster, topics_of(process.settings).pages, wait_ms, process.clock, report)
    try:
        yield pages
    finally:
        await pages.close()


def _parts(
    process: Process,
    layout: Layout,
    account: Account,
    journal: Journal,
    scanner: JournalScanner,
    pages: PageTopic | None,
) -> Parts:
    settings = process.settings
    guards = _guards(
        process,
        layout,
        lambda: [runner.state.spend for runner in assignment.open_shards()],
        lambda model: sum(runner.state.jobs_without_task(model) for runner in assignment.open_shards()),
    )
    breaker = StageBreaker(process.clock, process.instrumentation.stage_stopped)
    stages = _stages(process, guards, breaker, account, journal, scanner, pages)
    assignment = Assignment(_assignment(process, journal, stages, guards.limiter, breaker))
    audit = Audit(assignment.open_shards, stages, process.clock, process.instrumentation)
    group = GroupConfig(
        topic=settings.topics.requests,
        group_id=settings.kafka.group_id,
        instance_id=settings.kafka.group_instance_id,
        session_timeout_ms=round(1000 * settings.kafka.session_timeout_seconds),
        fetch_max_wait_ms=settings.kafka.fetch_max_wait_ms,
    )
    consumer = RequestConsumer(journal.cluster, group, assignment, process.clock, guards.limiter)
    assignment.delivery = consumer
    offsets = PartitionOffsets(
        journal.watermarks,
        settings.topics.requests,
        settings.topics.journal,
        process.clock,
        lambda: _progress(assignment, consumer),
    )
    ask_time = partial(ask, account.provider, guards.limiter, process.clock, process.vendor_clock)
    return Parts(
        assignment,
        consumer,
        journal.tail,
        offsets,
        stages,
        guards,
        breaker,
        audit,
        ask_time,
        {} if pages is None else _page_loops(pages, stages.sweep),
    )


async def _progress(assignment: Assignment, consumer: RequestConsumer) -> Mapping[int, int]:
    """How far the requests of each shard that is served were read."""
    found = {}
    for runner in assignment.open_shards():
        read_to = await consumer.read_to(runner.partition) or 0
        found[runner.partition] = max(read_to, runner.state.cursor.next_offset)
    return found


def _page_loops(pages: PageTopic, sweep: ListSweepStage) -> Mapping[str, Loop]:
    reading = partial(pages.read, sweep.take_shared, sweep.shared.is_wanted)
    return {"write_pages": pages.write, "read_pages": reading}


def _guards(
    process: Process,
    layout: Layout,
    spends: Callable[[], list[DaySpend]],
    waiting: Callable[[str | None], int],
) -> SubmitGuards:
    clock, instrumentation = process.clock, process.instrumentation
    quota, spend = process.settings.quota, process.settings.spend
    of_account = Quota(quota.part, quota.calls_per_second, quota.submits_per_minute)
    limiter = CallLimiter(clock, of_account, process.vendor_clock)
    a_day = SpendRules(spend.seconds_per_day, spend.cost_per_day)
    spend_guard = SpendGuard(
        clock,
        a_day,
        lambda: max(layout.partitions, limiter.share.partitions),
        spends,
        instrumentation.spend_guard,
    )
    hold = AccountHold(clock, lambda held, is_on: instrumentation.hold(held, is_on, waiting(held.model)))
    return SubmitGuards(
        clock,
        limiter,
        hold,
        spend_guard,
        instrumentation.outage,
        ResultHolds(clock, instrumentation.result_host),
    )


def _stages(
    process: Process,
    guards: SubmitGuards,
    breaker: StageBreaker,
    account: Account,
    journal: Journal,
    scanner: JournalScanner,
    pages: PageTopic | None,
) -> Stages:
    provider = account.provider
    clock, spawn, instrumentation, settings = (
        process.clock,
        process.spawn,
        process.instrumentation,
        process.settings,
    )
    limits, fetch, rules = settings.limits, settings.fetch, rules_of(settings)
    hotword_calls = LimitedCalls(guards.limiter, CallKind.HOTWORDS)
    finder = HotwordListFinder(
        account.hotword_lists, hotword_calls, clock, guards.hold, provider.clock_offset_ms
    )
    hotword_lists = HotwordListStage(finder, clock, guards.hold, instrumentation)
    files = FileLimits(instrumentation.files_per_task_lowered)
    in_flight = limits.calls_in_flight
    submitting = SubmitDeps(provider, journal.tail, spawn, hotword_lists, in_flight, breaker, files)
    memory = FetchMemory(MemoryLimits(fetch.memory_bytes, fetch.max_decoded_bytes, limits.fetches_in_flight))
    collecting = CollectDeps(provider, spawn, memory, guards.results, limits.fetches_in_flight, breaker)
    return Stages(
        SubmitStage(submitting, clock, guards),
        *_polling(process, guards, breaker, provider, pages),
        CollectStage(collecting, clock),
        ReconcileStage(provider, scanner, clock, guards.limiter, rules, memory, instrumentation),
        hotword_lists,
    )


def _polling(
    process: Process,
    guards: SubmitGuards,
    breaker: StageBreaker,
    provider: Provider,
    pages: PageTopic | None,
) -> tuple[PollStage, ListSweepStage]:
    clock, limiter, in_flight = process.clock, guards.limiter, process.settings.limits.calls_in_flight
    dropped = process.instrumentation.cancel_dropped
    deps = PollDeps(provider, limiter, guards.hold, process.spawn, in_flight, breaker, dropped)
    requests = PollRequests(clock)
    hints = ListHints(clock, requests, process.instrumentation)
    send = _drop if pages is None else pages.send
    shared = SharedPages(limiter, hints, process.instrumentation, token_hex(8), send)
    sweep = ListSweepStage(provider, clock, limiter, requests, hints, shared, process.instrumentation)
    return PollStage(deps, clock, requests, hints), sweep


def _drop(_page: bytes) -> None:
    """There is no topic of shared pages."""


def _assignment(
    process: Process,
    journal: Journal,
    stages: Stages,
    limiter: CallLimiter,
    breaker: StageBreaker,
) -> AssignmentDeps:
    settings, instrumentation = process.settings, process.instrumentation
    rules = rules_of(settings)
    return AssignmentDeps(
        journal=journal,
        accept=AcceptStage(
            limits_of(settings), admission_of(settings), stages.submit, instrumentation, breaker
        ),
        runner=RunnerDeps(
            process.clock, rules, instrumentation, stages.dispatch, breaker, Backlog(), process.tracer
        ),
        spawn=process.spawn,
        observer=instrumentation,
        window=Window(settings.deduplication.window_seconds, settings.deduplication.jobs),
        outcomes=OutcomeRules(
            settings.outcomes.source, settings.outcomes.original_request, settings.tracing.enabled
        ),
        prices=settings.spend.prices,
        files_per_task=settings.requests.files_per_task,
        open_jobs=settings.limits.open_jobs,
        max_shards=MAX_TRANSACTIONAL if journal.producer is None else sys.maxsize,
        limiter=limiter,
    )
