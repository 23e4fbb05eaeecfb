"""Collect: fetch result files and read them into transcripts, a bounded number at a time (N8).

Where places are short, what may be gone first is fetched first, and no host takes them all.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.clock import Clock
from service.core.events import Event, FetchFailed
from service.core.identity import JobKey
from service.core.job import Job, Spec, State
from service.core.task import HOST_REFUSED, Trouble
from service.core.urgency import Line, edge_ms, rank
from service.pipeline import transcripts
from service.pipeline.due import Due
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


class CollectStage:
    """Fetches results."""

    def __init__(
        self, provider: Provider, clock: Clock, spawn: Spawn, in_flight: int, holds: ResultHolds
    ) -> None:
        self._provider = provider
        self._holds = holds
        self._clock = clock
        self._spawn = spawn
        self._in_flight = in_flight
        # A slow host holds each place for as long as a fetch may take: a quarter is left to the others.
        self._in_flight_per_host = max(1, in_flight - max(1, in_flight // 4))
        self._out: Counter[str] = Counter()
        self._due: Due[Errand] = Due(clock)
        self._lines: dict[str, Line[Errand]] = {}
        """What is due and waits for a place, by host."""

    def queue(self, errand: Errand, due_ms: int) -> None:
        """Fetch the file when it is due."""
        self._due.push(due_ms, errand)

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Fetch until cancelled."""
        while True:
            on_turn()
            self._holds.look()
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
            line = self._lines.setdefault(errand.host, Line())
            line.push(rank(edge_ms(job), self._clock.now_ms()), errand)

    def _next(self) -> Errand | None:
        """The errand that goes next, of the hosts that have a place left."""
        if self._out.total() >= self._in_flight:
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
        job = errand.waiting()
        if job is None:
            return
        if errand.shard.is_behind:
            # What is fetched now would wait for the broker in memory (N8).
            self._due.push(self._clock.now_ms() + BEHIND_MS, errand)
            return
        self._out[errand.host] += 1
        task = self._spawn(self._collect(errand, job.spec), name=f"collect {errand.key}")
        task.add_done_callback(lambda _task: self._free(errand.host))

    def _free(self, host: str) -> None:
        self._out[host] -= 1
        if not self._out[host]:
            del self._out[host]
        self._due.wake()

    async def _collect(self, errand: Errand, spec: Spec) -> None:
        with self._border(errand):
            body = await self._provider.fetch(errand.transcription_url)
            if isinstance(body, Trouble):
                event: Event = FetchFailed(body)
            else:
                self._holds.fetched(spec.model)
                event = await rendered(await transcripts.fetched(body, spec.model), spec.formats)
            errand.shard.apply(errand.key, event)
            if isinstance(body, Trouble) and body.code == HOST_REFUSED:
                self._holds.refused(errand.shard, errand.key, errand.host)
