"""Collect: fetch result files and read them into transcripts, a bounded number at a time (N8)."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from service.clock import Clock
from service.contract.models import model_info
from service.core.events import Event, Fetched, FetchFailed
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.task import Trouble
from service.core.transcript import normalise
from service.pipeline.due import Due
from service.pipeline.publish import OwnedShard
from service.pipeline.submit import BEHIND_MS, Spawn
from service.provider.api import Provider

INLINE_BYTES = 64 * 1024
"""A larger file is parsed in a thread: ten megabytes would hold up the event loop for half a second."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One result file to fetch."""

    shard: OwnedShard
    key: JobKey
    transcription_url: str

    def waiting(self) -> Job | None:
        """The job, if it still waits for this file."""
        job = self.shard.state.jobs.get(self.key)
        return job if self.shard.is_open and job is not None and job.state is State.COLLECTING else None


class CollectStage:
    """Fetches results."""

    def __init__(self, provider: Provider, clock: Clock, spawn: Spawn, in_flight: int) -> None:
        self._provider = provider
        self._clock = clock
        self._spawn = spawn
        self._in_flight = in_flight
        self._out: set[asyncio.Task[None]] = set()
        self._due: Due[Errand] = Due(clock)

    def queue(self, errand: Errand, due_ms: int) -> None:
        """Fetch the file when it is due."""
        self._due.push(due_ms, errand)

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Fetch until cancelled."""
        while True:
            on_turn()
            errand = await self._due.take()
            if errand is not None:
                await self._fetch_when_allowed(errand, on_turn)

    async def _fetch_when_allowed(self, errand: Errand, on_turn: Callable[[], None]) -> None:
        while len(self._out) >= self._in_flight:
            on_turn()
            await asyncio.wait(self._out, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        job = errand.waiting()
        if job is None:
            return
        if errand.shard.is_behind:
            # What is fetched now would wait for the broker in memory (N8).
            self._due.push(self._clock.now_ms() + BEHIND_MS, errand)
            return
        task = self._spawn(self._collect(errand, job.spec.model), name=f"collect {errand.key}")
        self._out.add(task)
        task.add_done_callback(self._out.discard)

    async def _collect(self, errand: Errand, model: str) -> None:
        body = await self._provider.fetch(errand.transcription_url)
        if isinstance(body, Trouble):
            event: Event = FetchFailed(body)
        elif len(body) <= INLINE_BYTES:
            event = read_transcript(body, model)
        else:
            event = await asyncio.to_thread(read_transcript, body, model)
        errand.shard.apply(errand.key, event)


def read_transcript(body: bytes, model: str) -> Event:
    """The result file as an event; what is no transcript is a trouble that names no text of it."""
    info = model_info(model)
    assert info is not None, "a job's model was checked at its accept"
    try:
        return Fetched(normalise(json.loads(body), info.family))
    except (ValueError, RecursionError) as error:
        reason = "not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)
        return FetchFailed(Trouble("not_a_transcript", f"the result file is no transcript: {reason}"[:300]))
