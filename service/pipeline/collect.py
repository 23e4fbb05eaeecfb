"""Collect: fetch result files and parse them into transcripts, bounded in number and in bytes (N8).

At the in-flight limit, results that may expire first go first, and no host takes the whole limit.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from service.clock import Clock
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.events import Fetched, FetchFailed
from service.core.job.identity import JobRef
from service.core.job.job import Job, JobState
from service.core.job.urgency import PriorityQueue, priority, retention_end_ms
from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode
from service.core.shard.batches import Change
from service.frozen import dataclass
from service.pipeline.collecting import transcripts
from service.pipeline.collecting.fetch_memory import RESULT_OVER_MEMORY, FetchMemory
from service.pipeline.collecting.render import rendered
from service.pipeline.guards.result_hold import ResultHolds
from service.pipeline.guards.wait_reasons import CallsInFlight
from service.pipeline.shard.backlog import BEHIND_MS
from service.pipeline.shard.fault_boundary import Key
from service.pipeline.shard.in_flight import InFlightItems
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.spawn import Spawn
from service.pipeline.shard.stage_breaker import StageBreaker, StageName
from service.pipeline.shard.timers import Timers
from service.pipeline.shard.tracer import TracedStep
from service.provider.api import Provider

FetchTarget = tuple[ShardRunner, JobRef]


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One result file to fetch."""

    runner: ShardRunner
    ref: JobRef
    transcription_url: str
    is_large: bool = False
    """Whether a fetch has shown that it needs the one download slot for large files."""

    @property
    def host(self) -> str:
        """The result's host; empty for a malformed URL, whose fetch then fails."""
        try:
            return urlsplit(self.transcription_url).hostname or ""
        except ValueError:
            return ""

    @property
    def target(self) -> FetchTarget:
        """The shard and the job that the file belongs to."""
        return (self.runner, self.ref)

    def waiting(self) -> Job | None:
        """The job, if it is still waiting for this file."""
        job = self.runner.state.jobs.get(self.ref)
        return job if self.runner.is_open and job is not None and job.state is JobState.COLLECTING else None


@dataclass(frozen=True, slots=True)
class CollectDeps:
    """What a fetch needs: the provider, its limits, and the holds for refused result hosts."""

    provider: Provider
    spawn: Spawn
    memory: FetchMemory
    holds: ResultHolds
    in_flight: int
    breaker: StageBreaker


class CollectStage:
    """Fetches results."""

    def __init__(self, deps: CollectDeps, clock: Clock) -> None:
        self._deps = deps
        self._clock = clock
        # A slow host holds each fetch for up to its timeout, so a quarter of them is left to other hosts.
        self._in_flight_per_host = max(1, deps.in_flight - max(1, deps.in_flight // 4))
        self._out: Counter[str] = Counter()
        self._held: InFlightItems[FetchTarget] = InFlightItems()
        self._due: Timers[ResultFile] = Timers(clock)
        self._queues: dict[str, PriorityQueue[ResultFile]] = {}
        """Due files that wait for the in-flight limit, by host."""
        self._large: PriorityQueue[ResultFile] = PriorityQueue()
        """Due files that wait for the one download slot for large files; they wait here, not as tasks."""
        self._is_large_out = False

    def queue(self, file: ResultFile, due_ms: int) -> None:
        """Fetch the file when it is due."""
        self._held.add(file.target)
        self._due.push(due_ms, file)

    def calls(self) -> CallsInFlight:
        """The result files that are being fetched; one large file may come on top of the limit."""
        return CallsInFlight("fetch", self._out.total() + self._is_large_out, self._deps.in_flight)

    def holds(self, runner: ShardRunner, key: Key) -> bool:
        """Whether the job's result is queued or being fetched here."""
        return (runner, key) in self._held

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Fetch until cancelled."""
        while True:
            on_tick()
            self._deps.holds.refresh()
            file = await self._due.take()
            if file is not None:
                self._held.remove(file.target)
                with self._boundary(file):
                    self._enqueue(file)
            while (file := self._take_next()) is not None:
                self._held.remove(file.target)
                self._fetch(file)

    def _boundary(self, file: ResultFile) -> AbstractContextManager[None]:
        """Fetch the result again if handling it fails."""
        return file.runner.boundary.guard(file.ref, partial(self._queue_now, file), StageName.COLLECT)

    def _queue_now(self, file: ResultFile) -> None:
        self.queue(file, self._clock.now_ms())

    def _enqueue(self, file: ResultFile) -> None:
        job = file.waiting()
        if job is not None:
            queue = self._large if file.is_large else self._queues.setdefault(file.host, PriorityQueue())
            submission = file.runner.state.submissions.get(job.submission)
            end_ms = self._clock.now_ms() if submission is None else retention_end_ms(submission)
            queue.push(priority(end_ms, self._clock.now_ms()), file)
            self._held.add(file.target)

    def _take_next(self) -> ResultFile | None:
        """Take a large file from its queue if none is in flight, else one from a host below its limit."""
        if self._deps.breaker.is_stopped(StageName.COLLECT):
            return None
        if self._large and not self._is_large_out:
            return self._large.pop()
        if self._out.total() >= self._deps.in_flight:
            return None
        free = [host for host in self._queues if self._out[host] < self._in_flight_per_host]
        if not free:
            return None
        host = min(free, key=lambda host: self._queues[host].first[0])
        file = self._queues[host].pop()
        if not self._queues[host]:
            del self._queues[host]
        return file

    def _fetch(self, file: ResultFile) -> None:
        job = self._job_to_fetch(file)
        if job is None:
            return
        if file.is_large:
            self._is_large_out = True
        else:
            self._out[file.host] += 1
        self._held.add(file.target)
        self._deps.spawn(self._collect(file, job.request), name=f"collect {file.ref}")

    def _job_to_fetch(self, file: ResultFile) -> Job | None:
        """The job, if its file may be fetched now.

        If its shard is behind or full, postpone the fetch.
        """
        job = file.waiting()
        if job is not None and (file.runner.is_behind or not file.runner.has_room):
            self._later(file)
            return None
        return job

    def _later(self, file: ResultFile) -> None:
        self.queue(file, self._clock.now_ms() + BEHIND_MS)

    def _free(self, file: ResultFile) -> None:
        if file.is_large:
            self._is_large_out = False
        else:
            self._out[file.host] -= 1
            if not self._out[file.host]:
                del self._out[file.host]
        self._due.wake()

    async def _collect(self, file: ResultFile, request: AcceptedRequest) -> None:
        async with AsyncExitStack() as held:
            held.callback(self._held.remove, file.target)
            held.enter_context(self._boundary(file))
            change = Change()
            with ExitStack() as place:
                place.callback(self._free, file)
                event = await self._event(file, request, held)
                if event is not None:
                    change = self._apply(file, event)
                del event
            # The transcript stays in memory until it is durable. A shard that closes first does not need it.
            await asyncio.wait({file.runner.durable(change)})

    def _apply(self, file: ResultFile, event: Fetched | FetchFailed) -> Change:
        if isinstance(event, Fetched) and file.runner.is_suspended:
            # Until the shard resumed, it would occupy memory that no limit counts. Fetch it again (N8).
            self._later(file)
            return Change()
        return file.runner.on_job(file.ref, event)

    async def _event(
        self, file: ResultFile, request: AcceptedRequest, held: AsyncExitStack
    ) -> Fetched | FetchFailed | None:
        """The outcome of the fetch.

        None if the file is no longer needed, or was queued again.

        A transcript's memory is released when `held` exits.
        """
        deps = self._deps
        async with deps.memory.download_slot(is_large=file.is_large):
            # During the wait for a slot the job may have ended, or its shard may have been suspended.
            if self._job_to_fetch(file) is None:
                return None
            url, began_seconds = file.transcription_url, self._clock.boot_seconds()
            body = await deps.memory.download(deps.provider, url, is_large=file.is_large)
            if body is None:
                self.queue(replace(file, is_large=True), self._clock.now_ms())
                return None
            event = await self._read(file, request, body, held)
            _trace(file, request, began_seconds, event)
            return event

    async def _read(
        self, file: ResultFile, request: AcceptedRequest, body: bytes | ProviderError, held: AsyncExitStack
    ) -> Fetched | FetchFailed:
        holds, memory = self._deps.holds, self._deps.memory
        if isinstance(body, ProviderError):
            if body.code == OwnCode.FETCH_HOST_REFUSED:
                holds.refused(file.runner, file.ref, file.host)
            return FetchFailed(body)
        holds.fetched(request.model)
        room = await memory.parse_memory_for(body, is_rendered=bool(request.formats))
        if room is None:
            return FetchFailed(RESULT_OVER_MEMORY)
        await held.enter_async_context(room)
        return await rendered(await transcripts.fetched(body, request.model), request.formats)


def _trace(
    file: ResultFile, request: AcceptedRequest, began_seconds: float, event: Fetched | FetchFailed
) -> None:
    tracer, job = file.runner.tracer, file.waiting()
    if tracer is not None:
        tracer.step(
            TracedStep.FETCH,
            [request],
            began_seconds,
            task_id=None if job is None else job.task_id,
            file_index=file.ref.file_index,
            error=event.provider_error.code if isinstance(event, FetchFailed) else None,
        )
