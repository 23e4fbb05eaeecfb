"""Run one process of Scribe: start, work until a signal, drain."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from service import __version__
from service.app import from_settings, status_collector, wiring
from service.app.leaving import leaves_for_good
from service.app.rotation import Loop
from service.app.tracing import traced
from service.app.wiring import Parts, Process
from service.clock import Clock, SystemClock, TrustedClock
from service.contract.redaction import redact
from service.core.time.vendor_clock import VendorClock
from service.kafka.admin.acls import require_acls
from service.kafka.admin.topics import Layout, prepare
from service.observability import log
from service.observability.health import HealthServer, Heartbeat
from service.observability.instrumentation import PipelineInstrumentation, time_event
from service.observability.metrics import Metrics
from service.observability.status import Status
from service.pipeline.assignment.assigned_partition import PartitionState
from service.pipeline.expire import expire
from service.pipeline.shard.tracer import Tracer
from service.settings import Settings

HEARTBEAT_SECONDS = 1.0
"""How often the loop shows that it runs, and renews the picture of /status."""
CLOSING_SECONDS = 9.0
"""The part of the grace that is kept for the last commit, leaving the group and closing connections."""
COMMIT_SECONDS = 2.0
"""Bound of the last commit, which only lag tools need."""

T = TypeVar("T")
Tick = Callable[[], None]


def configure_log(settings: Settings) -> log.Secrets:
    """Write every line and a crash to the log, without the secrets of the settings; returns these."""
    kafka = settings.kafka
    found = (settings.provider.key(), kafka.password(), kafka.private_key_password(), kafka.client_secret())
    proxy = from_settings.proxy_of(settings)
    secrets = log.Secrets(*(secret for secret in found if secret), *(proxy.secrets() if proxy else ()))
    log.configure(settings.log.level, settings.log.format, secrets=secrets)
    sys.excepthook = log.write_crash
    return secrets


def run(settings: Settings, secrets: log.Secrets) -> int:
    """Run the service until SIGTERM or SIGINT; returns the exit code.

    `secrets` are what the log hides. Raises `ServiceError` when it cannot start.
    """
    return asyncio.run(Service(settings, SystemClock(), secrets).serve())


class Service:
    """One process of Scribe, from its settings to its exit code."""

    def __init__(self, settings: Settings, clock: Clock, secrets: log.Secrets) -> None:
        self._settings = settings
        self._secrets = secrets
        self._cluster = from_settings.cluster_of(settings, _login_observer(secrets))
        self._metrics = Metrics(clock=clock)
        self._vendor_clock = VendorClock()
        self._clock = TrustedClock(clock, self._vendor_clock, partial(time_event, self._metrics))
        self._beat = Heartbeat(clock)
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._status = Status(version=__version__, member=from_settings.member_of(settings))
        self._ready = (False, "starting")
        self._is_final = False
        """Whether a static member leaves its group: only a stop that drained decides that."""

    def stop(self) -> None:
        """Stop after a drain; a second call skips the wait for calls in flight."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def serve(self) -> int:
        """Check the topics, connect, run until stopped, drain; returns the exit code."""
        with (
            self._signals(),
            traced(self._settings, self._clock, self._metrics) as tracer,
            self._health(),
        ):
            layout = await _unless(self._stopping, self._prepare_topics())
            if layout is not None:
                await self._serve(layout, tracer)
        log.write(log.SERVICE_STOPPED, member=self._status.member)
        return 0

    async def _serve(self, layout: Layout, tracer: Tracer | None) -> None:
        instrumentation = PipelineInstrumentation(self._metrics, self._settings.spend.prices)
        process = Process(
            self._settings,
            self._cluster,
            self._clock,
            self._metrics,
            instrumentation,
            self._spawn,
            self._secrets,
            self._vendor_clock,
            tracer,
        )
        async with wiring.connected(process, layout) as parts, self._group:
            try:
                await self._work(parts)
            finally:
                # The shards' tasks first: a process that has left the group must serve nothing.
                for task in self._tasks:
                    task.cancel()
                # Also after a crash: a member that leaves is replaced at once, not when its session ends.
                reason = await parts.consumer.stop(is_final=self._is_final)
                if reason is not None:
                    log.write(log.LEAVING, change="failed", detail=reason)

    async def _prepare_topics(self) -> Layout:
        settings = self._settings
        creation = from_settings.creation_of(settings) if settings.topics.create else None
        topics = from_settings.topics_of(settings)
        await require_acls(self._cluster, topics)
        layout = await prepare(self._cluster, topics, creation, self._clock)
        for warning in layout.warnings:
            log.write(log.TOPICS_WARNING, detail=warning)
        if unused := from_settings.unused_proxy(settings, os.environ):
            log.write(log.PROXY_UNUSED, detail=unused)
        return layout

    async def _work(self, parts: Parts) -> None:
        """Start every loop; on the signal, stop them in the order that loses nothing."""
        self._start_loop("beat", lambda tick: self._publish_status(parts, tick))
        self._start_loop("tail", parts.tail.run)
        self._start_loop("offsets", parts.offsets.run)
        stages, open_shards = parts.stages, parts.assignment.open_shards
        self._start_loop("submit", stages.submit.run)
        self._start_loop("hotwords", stages.hotword_lists.run)
        self._start_loop("ask_time", parts.ask_time)
        self._start_loop("poll", stages.poll.run)
        self._start_loop("sweep", stages.sweep.run)
        self._start_loop("collect", stages.collect.run)
        self._start_loop("reconcile", lambda tick: stages.reconcile.run(open_shards, tick))
        self._start_loop(
            "expire", lambda tick: expire(open_shards, self._clock, parts.breaker, tick, parts.reason)
        )
        self._start_loop("audit", parts.audit.run)
        for name, loop in parts.optional_loops.items():
            self._start_loop(name, loop)
        await parts.consumer.start()
        consuming = self._start_loop("consume", parts.consumer.run)
        log.write(log.SERVICE_STARTED, version=__version__, **from_settings.about(self._settings))
        await self._stopping.wait()
        log.write(log.DRAINING, member=self._status.member, open_jobs=sum(self._status.jobs.values()))
        parts.consumer.release_name()
        consuming.cancel()
        deciding = asyncio.create_task(leaves_for_good(self._settings, os.environ))
        await self._drain(parts)
        self._is_final = await deciding

    async def _drain(self, parts: Parts) -> None:
        """Wait for submits in flight and queued writes.

        Provider tasks wait for the next owner.
        """
        bound_seconds = max(1.0, self._settings.shutdown.grace_seconds - CLOSING_SECONDS)
        answer_seconds = self._settings.shutdown.answer_seconds
        await _unless(self._hurry, parts.assignment.drain(bound_seconds, answer_seconds))
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_SECONDS):
                await parts.consumer.commit_last()
        log.write(log.DRAINED)

    async def _publish_status(self, parts: Parts, tick: Tick) -> None:
        sources = status_collector.Sources(
            self._status.member,
            parts.assignment,
            parts.guards,
            parts.breaker,
            self._clock,
            parts.stages,
            parts.offsets,
        )
        while True:
            tick()
            self._beat.beat()
            self._ready = _readiness(parts)
            self._status = replace(status_collector.collect(sources), is_ready=self._ready[0])
            asleep_at = self._clock.boot_seconds()
            await self._clock.sleep(HEARTBEAT_SECONDS)
            slept_seconds = self._clock.boot_seconds() - asleep_at
            self._metrics.process.loop_lagged(max(0.0, slept_seconds - HEARTBEAT_SECONDS))

    def _start_loop(self, name: str, loop: Loop) -> "asyncio.Task[None]":
        """Run a loop whose every turn is counted in a metric."""
        return self._spawn(loop(lambda: self._metrics.loop_tick(name)), name=name)

    def _spawn(self, coroutine: Coroutine[None, None, None], *, name: str) -> "asyncio.Task[None]":
        """Start a task whose crash ends the process."""
        task = self._group.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        names = (signal.SIGTERM, signal.SIGINT)
        for each in names:
            loop.add_signal_handler(each, self.stop)
        try:
            yield
        finally:
            for each in names:
                loop.remove_signal_handler(each)

    @contextmanager
    def _health(self) -> Iterator[None]:
        """Serve the probes; their thread reads only what the loop has published."""
        settings = self._settings
        limits = from_settings.shown_limits_of(settings)
        self._metrics.process.describe(__version__, from_settings.fingerprint_of(settings), limits)
        self._metrics.show_status(lambda: self._status)
        http = settings.http
        server = HealthServer(
            http.host, http.port, lambda: self._status, self._metrics.page, lambda: self._ready, self._beat
        )
        server.start()
        try:
            yield
        finally:
            server.stop()


def _login_observer(secrets: log.Secrets) -> from_settings.LoginObserver:
    refused = partial(log.write, log.KAFKA_LOGIN_REFUSED, what="token")
    return from_settings.LoginObserver(secrets.add, secrets.add_token, lambda detail: refused(detail=detail))


async def _unless(event: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """The result of `work`; None if the event came first, which cancels it."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def _readiness(parts: Parts) -> tuple[bool, str]:
    """Ready while the process is in the group and each of its shards has been restored or refused."""
    assignment = parts.assignment
    if assignment.group_lost is not None:
        return False, f"the group is lost: {redact(assignment.group_lost)}"
    if not assignment.assignments:
        return False, "no assignment yet"
    waiting = [p for p, each in assignment.partitions.items() if each.state is PartitionState.RESTORING]
    if waiting:
        return False, f"restoring partitions {', '.join(map(str, sorted(waiting)))}"
    stopped = parts.breaker.stopped()
    if stopped:
        # Unready processes would block the roll-out of the fix.
        return True, f"ready, but stopped for faults of Scribe itself: {', '.join(stopped)}"
    return True, "ready"
