"""Make the parts of a process out of its settings; nothing is connected and nothing runs yet."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.clock import Clock
from service.core.admission import AdmissionRules
from service.core.job import Job
from service.core.moment import Rules
from service.core.outcomes import OutcomeRules
from service.core.shard import Window
from service.core.spend import DaySpend, SpendRules
from service.kafka.client import ClusterConfig
from service.kafka.consumer import GroupConfig, RequestConsumer
from service.kafka.journal import TAKEOVERS_AT_ONCE, Journal
from service.kafka.lasting import LastingReader
from service.kafka.producer import Producer
from service.kafka.survey import JournalSurveyor
from service.kafka.tail import Tail
from service.kafka.topics import DAY_MS, Creation, Layout, Topics
from service.kafka.transactions import MOST_TRANSACTIONAL, require_transactions
from service.messages import RequestLimits
from service.metrics import Metrics
from service.observe import Observing
from service.observe_provider import CountedProvider, CountedVocabularies
from service.pipeline.accept import AcceptStage
from service.pipeline.brake import Brake
from service.pipeline.budgets import Budgets
from service.pipeline.collect import CollectDeps, CollectStage
from service.pipeline.expire import reason
from service.pipeline.fetch_memory import FetchMemory, MemoryLimits
from service.pipeline.file_limits import FileLimits
from service.pipeline.gate import Gate
from service.pipeline.hold import Hold
from service.pipeline.lists import ListFinder
from service.pipeline.own import Shards
from service.pipeline.ownership import Ownership
from service.pipeline.poll import Lookout, PollStage
from service.pipeline.publish import Surroundings
from service.pipeline.reconcile import ReconcileStage, Surveyor
from service.pipeline.result_holds import ResultHolds
from service.pipeline.steps import Steps
from service.pipeline.submit import Desk, Spawn, SubmitStage
from service.pipeline.vocabulary import VocabularyStage
from service.provider.api import Provider, Vocabularies
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.fetch import FetchGuard
from service.settings import Settings
from service.settings.knobs import ROLES


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs in one process."""

    shards: Shards
    consumer: RequestConsumer
    tail: Tail
    steps: Steps
    gate: Gate

    def reason(self, job: Job) -> str:
        """What keeps the job from going on, in words."""
        return reason(job, self.gate, self.steps.poll, self.steps.vocabulary)


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


def cluster_of(settings: Settings) -> ClusterConfig:
    """How to reach Kafka; reads the password's file."""
    kafka = settings.kafka
    return ClusterConfig(
        bootstrap_servers=kafka.bootstrap_servers,
        client_id=kafka.client_id,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=kafka.password(),
        ca_file=None if kafka.ca_file is None else str(kafka.ca_file),
    )


def topics_of(settings: Settings) -> Topics:
    """The topics' names."""
    names = settings.topics
    return Topics(names.requests, names.results, names.failures, names.journal)


def creation_of(settings: Settings) -> Creation:
    """How missing topics are made."""
    topics = settings.topics
    return Creation(topics.partitions, topics.replication, topics.outcome_retention_days * DAY_MS)


def member_of(settings: Settings) -> str:
    """The name of this process in claims, logs and /status: another one for each replica on a host."""
    return settings.kafka.group_instance_id or f"{socket.gethostname()}-{os.getpid()}"


def about(settings: Settings) -> Mapping[str, object]:
    """What this process works with, as its first line in the log says it."""
    return {
        "member": member_of(settings),
        "brokers": settings.kafka.bootstrap_servers,
        "group": settings.kafka.group_id,
        "topics": {role: getattr(settings.topics, role) for role in ROLES},
        "delivery": settings.kafka.delivery,
        "provider": urlsplit(settings.provider.url).netloc,
    }


def provider_of(settings: Settings) -> DashScope:
    """The provider's client; reads the key's file."""
    provider, fetch = settings.provider, settings.fetch
    config = DashScopeConfig(
        base_url=provider.url,
        api_key=provider.key(),
        workspace=provider.workspace_header,
        submit_timeout_seconds=provider.submit_timeout_seconds,
        call_timeout_seconds=provider.call_timeout_seconds,
        data_inspection=provider.data_inspection,
        # Each kind of call may take all its places at a time.
        max_connections=max(64, 2 * settings.limits.calls_in_flight),
    )
    guard = FetchGuard(
        hosts=tuple(fetch.hosts),
        plain_http_hosts=tuple(fetch.plain_http_hosts),
        max_compressed_bytes=fetch.max_compressed_bytes,
        max_decoded_bytes=fetch.max_decoded_bytes,
        timeout_seconds=fetch.timeout_seconds,
    )
    return DashScope(config, guard)


def rules_of(settings: Settings) -> Rules:
    """The numbers that the core works with."""
    return Rules(
        uncertain=settings.submit.on_uncertain,
        submit_seconds=settings.provider.submit_timeout_seconds,
        settle_seconds=settings.submit.settle_seconds,
    )


@asynccontextmanager
async def connected(process: Process, layout: Layout) -> AsyncIterator[Parts]:
    """The parts, with their connections open; closed again in the reverse order."""
    settings = process.settings
    cluster, wait_ms = cluster_of(settings), settings.kafka.fetch_max_wait_ms
    producer = await _producer(settings, cluster)
    async with (
        provider_of(settings) as dashscope,
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
            surveyor = JournalSurveyor(cluster, settings.topics.journal, watermarks, wait_ms)
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
        lambda: [shard.state.spend for shard in shards.open_shards()],
        lambda model: sum(shard.state.jobs_without_task(model) for shard in shards.open_shards()),
    )
    steps = _steps(process, gate, account, journal, surveyor)
    shards = Shards(_ownership(process, layout, journal, steps, gate.budgets))
    group = GroupConfig(
        topic=settings.topics.requests,
        group_id=settings.kafka.group_id,
        instance_id=settings.kafka.group_instance_id,
        session_timeout_ms=round(1000 * settings.kafka.session_timeout_seconds),
        fetch_max_wait_ms=settings.kafka.fetch_max_wait_ms,
    )
    shards.delivery = RequestConsumer(journal.cluster, group, shards, process.clock)
    return Parts(shards, shards.delivery, journal.tail, steps, gate)


def _gate(
    process: Process,
    layout: Layout,
    spends: Callable[[], list[DaySpend]],
    waiting: Callable[[str | None], int],
) -> Gate:
    clock, quota, observing = process.clock, process.settings.quota, process.observing
    budgets = Budgets(clock, quota.part, quota.calls_per_second, quota.submit_per_minute)
    spend = process.settings.spend
    limits = SpendRules(spend.seconds_per_day, layout.partitions, spend.cost_per_day)
    brake = Brake(clock, limits, spends, observing.brake)
    hold = Hold(clock, lambda held, is_on: observing.hold(held, is_on, waiting(held.model)))
    return Gate(clock, budgets, hold, brake, observing.outage, ResultHolds(clock, observing.result_host))


def _steps(process: Process, gate: Gate, account: Account, journal: Journal, surveyor: Surveyor) -> Steps:
    provider = account.provider
    clock, spawn, observing, settings = process.clock, process.spawn, process.observing, process.settings
    limits, fetch, rules = settings.limits, settings.fetch, rules_of(settings)
    dropped = observing.cancel_dropped
    finder = ListFinder(account.vocabularies, clock, gate.hold, provider.clock_offset_ms)
    vocabulary = VocabularyStage(finder, clock, gate.hold, observing)
    files = FileLimits(observing.fewer_files)
    desk = Desk(provider, journal.tail, spawn, vocabulary, limits.calls_in_flight, files)
    lookout = Lookout(provider, gate.budgets, gate.hold, spawn, limits.calls_in_flight, dropped)
    memory = FetchMemory(MemoryLimits(fetch.memory_bytes, fetch.max_decoded_bytes, limits.fetches_in_flight))
    collecting = CollectDeps(provider, spawn, memory, gate.results, limits.fetches_in_flight)
    return Steps(
        SubmitStage(desk, clock, gate),
        PollStage(lookout, clock),
        CollectStage(collecting, clock),
        ReconcileStage(provider, surveyor, clock, gate.budgets, rules, memory, observing),
        vocabulary,
    )


def _ownership(
    process: Process, layout: Layout, journal: Journal, steps: Steps, budgets: Budgets
) -> Ownership:
    settings, observing = process.settings, process.observing
    return Ownership(
        journal=journal,
        accept=AcceptStage(_limits(settings), _admission(settings), steps.submit, observing),
        around=Surroundings(process.clock, rules_of(settings), observing, steps.carry_out),
        spawn=process.spawn,
        watcher=observing,
        window=Window(settings.deduplication.window_seconds, settings.deduplication.jobs),
        outcomes=OutcomeRules(settings.outcomes.source, settings.outcomes.original_request),
        prices=settings.spend.prices,
        open_jobs=settings.limits.open_jobs,
        most_shards=MOST_TRANSACTIONAL if journal.producer is None else layout.partitions,
        on_share=lambda owned: budgets.set_share(owned / layout.partitions),
    )


def _limits(settings: Settings) -> RequestLimits:
    hosts, models = settings.requests.allowed_hosts, settings.requests.allowed_models
    return RequestLimits(
        None if hosts is None else frozenset(hosts), None if models is None else frozenset(models)
    )


def _admission(settings: Settings) -> AdmissionRules:
    requests = settings.requests
    return AdmissionRules(
        default_ttl_seconds=requests.default_ttl_seconds,
        files_per_task=requests.files_per_task,
        copied_headers=frozenset(requests.copied_headers),
    )
