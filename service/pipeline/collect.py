"""Collect: fetch result files and read them into transcripts, bounded in number and in bytes (N8).

Where places are short, what may be gone first is fetched first, and no host takes them all.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from service.clock import Clock
from service.core.events import Event, Fetched, FetchFailed
from service.core.identity import JobKey
from service.core.job import Job, Spec, State
from service.core.task import HOST_REFUSED, Trouble
from service.core.urgency import Line, edge_ms, rank
from service.pipeline import transcripts
from service.pipeline.due import Due
from service.pipeline.fetch_memory import TOO_LARGE, FetchMemory
from service.pipeline.publish import OwnedShard
from service.pipeline.render import rendered
from service.pipeline.result_holds import ResultHolds
from service.pipeline.submit import BEHIND_MS, Spawn
from service.provider.api import Provider


@dataclass(frozen=True, slots=True)
class Errand:
    """One result file to fetch."""

    shard: OwnedShard
    key: JobKey
    transcription_url: str
    is_large: bool = False
    """Whether it has turned out to need the place for large files."""

    @property
    def host(self) -> str:
        """The result's host; a URL that nobody can read has none, and its fetch will say so."""
        try:
            return urlsplit(self.transcription_url).hostname or ""
        except ValueError:
            return ""

    def waiting(self) -> Job | None:
        """The job, if it still waits for this file."""
        job = self.shard.state.jobs.get(self.key)
        return job if self.shard.is_open and job is not None and job.state is State.COLLECTING else None


@dataclass(frozen=True, slots=True)
class CollectDeps:
    """What a fetch needs: who is asked, what bounds it, and who is told where results lie."""

    provider: Provider
    spawn: Spawn
    memory: FetchMemory
    holds: ResultHolds
    in_flight: int


class CollectStage:
    """Fetches results."""

    def __init__(self, deps: CollectDeps, clock: Clock) -> None:
        self._deps = deps
        self._clock = clock
        # A slow host holds each place for as long as a fetch may take: a quarter is left to the others.
        self._in_flight_per_host = max(1, deps.in_flight - max(1, deps.in_flight // 4))
        self._out: Counter[str] = Counter()
        self._due: Due[Errand] = Due(clock)
        self._lines: dict[str, Line[Errand]] = {}
        """What is due and waits for a place, by host."""
        self._large: Line[Errand] = Line()
        """What is due and waits for the one place for large files: they wait here, not as tasks."""
        self._is_large_out = False

    def queue(self, errand: Errand, due_ms: int) -> None:
        """Fetch the file when it is due."""
        self._due.push(due_ms, errand)

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Fetch until cancelled."""
        while True:
            on_turn()
            self._deps.holds.look()
            errand = await self._due.take()
            if errand is not None:
                with self._border(errand):
                    self._line_up(errand)
            while (errand := self._next()) is not None:
                self._fetch(errand)

    def _border(self, errand: Errand) -> AbstractContextManager[None]:
        """A result that cannot be handled is fetched again."""
        return errand.shard.border.around(errand.key, lambda: self.queue(errand, self._clock.now_ms()))

    def _line_up(self, errand: Errand) -> None:
        job = errand.waiting()
        if job is not None:
            line = self._large if errand.is_large else self._lines.setdefault(errand.host, Line())
            line.push(rank(edge_ms(job), self._clock.now_ms()), errand)

    def _next(self) -> Errand | None:
        """The errand that goes next: a large one when none is out, else of the hosts that have a place."""
        if self._large and not self._is_large_out:
            return self._large.pop()
        if self._out.total() >= self._deps.in_flight:
            return None
        free = [host for host in self._lines if self._out[host] < self._in_flight_per_host]
        if not free:
            return None
        host = min(free, key=lambda host: self._lines[host].first[0])
        errand = self._lines[host].pop()
        if not self._lines[host]:
            del self._lines[host]
        return errand

    def _fetch(self, errand: Errand) -> None:
        job = self._job_to_fetch(errand)
        if job is None:
            return
        if errand.is_large:
            self._is_large_out = True
        else:
            self._out[errand.host] += 1
        self._deps.spawn(self._collect(errand, job.spec), name=f"collect {errand.key}")

    def _job_to_fetch(self, errand: Errand) -> Job | None:
        """The job, if its file may be fetched now; what would wait for the broker in memory is due later."""
        job = errand.waiting()
        if job is not None and errand.shard.is_behind:
            self._later(errand)
            return None
        return job

    def _later(self, errand: Errand) -> None:
        self.queue(errand, self._clock.now_ms() + BEHIND_MS)

    def _free(self, errand: Errand) -> None:
        if errand.is_large:
            self._is_large_out = False
        else:
            self._out[errand.host] -= 1
            if not self._out[errand.host]:
                del self._out[errand.host]
        self._due.wake()

    async def _collect(self, errand: Errand, spec: Spec) -> None:
        async with AsyncExitStack() as held:
            held.enter_context(self._border(errand))
            with ExitStack() as place:
                place.callback(self._free, errand)
                event = await self._event(errand, spec, held)
                self._apply(errand, event)
                del event
            await _written(errand.shard)

    def _apply(self, errand: Errand, event: Event | None) -> None:
        if isinstance(event, Fetched) and errand.shard.is_suspended:
            # It would be in memory until the shard resumes, uncounted; the job is fetched again (N8).
            self._later(errand)
        elif event is not None:
            errand.shard.apply(errand.key, event)

    async def _event(self, errand: Errand, spec: Spec, held: AsyncExitStack) -> Event | None:
        """What the fetch came to, or None: it is of no use any more, or queued again.

        The memory of a transcript is given back when `held` ends.
        """
        deps = self._deps
        async with deps.memory.place(is_large=errand.is_large):
            # Places may be waited for: the job may have ended since, and its shard been suspended.
            if self._job_to_fetch(errand) is None:
                return None
            url = errand.transcription_url
            body = await deps.memory.download(deps.provider, url, is_large=errand.is_large)
            if body is None:
                self.queue(replace(errand, is_large=True), self._clock.now_ms())
                return None
            return await self._read(errand, spec, body, held)

    async def _read(self, errand: Errand, spec: Spec, body: bytes | Trouble, held: AsyncExitStack) -> Event:
        holds, memory = self._deps.holds, self._deps.memory
        if isinstance(body, Trouble):
            if body.code == HOST_REFUSED:
                holds.refused(errand.shard, errand.key, errand.host)
            return FetchFailed(body)
        holds.fetched(spec.model)
        room = await memory.room_for(body, is_rendered=bool(spec.formats))
        if room is None:
            return FetchFailed(TOO_LARGE)
        await held.enter_async_context(room)
        return await rendered(await transcripts.fetched(body, spec.model), spec.formats)


async def _written(shard: OwnedShard) -> None:
    """Wait until what is queued is durable, or nobody's any more: till then it is in memory."""
    if shard.pending_moves:
        await asyncio.wait({shard.durable()})
