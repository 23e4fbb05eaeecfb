"""The engine of the demo: downloads each file of a task and has the local recogniser listen to it. One
file is transcribed at a time; downloads overlap.
"""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from sandbox.recogniser import Progress, Recogniser, StoppedError, UnhearableError
from sandbox.simulator.download import DownloadError, download
from sandbox.simulator.ledger import AudioEntry
from sandbox.simulator.recording import Heard, Outcome, Recording, Unusable
from sandbox.simulator.state import SimulatorState
from sandbox.simulator.tasks import Submission, Task, TaskFile

_LOG = logging.getLogger(__name__)
_DOWNLOADS: Final = 4
_STEP_SECONDS: Final = 15.0
"""Of sound, between two words about the way through a file; a short one needs none."""


class RecognitionEngine:
    """Works on accepted tasks in the order of their arrival; a cancelled one is never begun."""

    def __init__(
        self, state: SimulatorState, client: httpx.AsyncClient, recogniser: Recogniser, folder: Path
    ) -> None:
        self._state = state
        self._client = client
        self._recogniser = recogniser
        self._folder = folder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recogniser")
        self._places = asyncio.Semaphore(_DOWNLOADS)
        self._running: set[asyncio.Task[None]] = set()
        if state.config.load_model_at_start:
            self._thread.submit(recogniser.load)

    def check(self, submission: Submission) -> None:
        """Takes any URL: what is wrong with it shows when it is downloaded."""

    def begin(self, task: Task) -> None:
        running = asyncio.create_task(self._run(task), name=f"recognise {task.task_id}")
        self._running.add(running)
        running.add_done_callback(partial(self._done, task))

    async def stop(self) -> None:
        """Give up what is being worked on; returns when the thread is idle."""
        self._recogniser.close()
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    def _done(self, task: Task, running: asyncio.Task[None]) -> None:
        """A crash of the model ends its task, as it does at the vendor, instead of leaving it running."""
        self._running.discard(running)
        crash = None if running.cancelled() else running.exception()
        if crash is not None:
            _LOG.error("the recogniser crashed", exc_info=crash)
            task.failure = Unusable("InternalError.Algo", "InternalError.Algo")
            task.ended_at = self._state.clock.now()

    async def _run(self, task: Task) -> None:
        async with self._places:
            if task.cancelled_at is not None:
                return
            task.scheduled_at = self._state.clock.now()
            for file in task.files:
                file.outcome = await self._outcome(task, file)
        task.ended_at = self._state.clock.now()

    async def _outcome(self, task: Task, file: TaskFile) -> Outcome:
        target = self._folder / file.result_id
        try:
            await self._fetch(file, target)
            recording = await asyncio.get_running_loop().run_in_executor(
                self._thread, partial(self._listen, target, task.submission, file.file_url)
            )
        except DownloadError as error:
            return Unusable(error.code, error.code)
        except UnhearableError as error:
            return Unusable(error.code, error.code, error.duration_ms)
        except StoppedError:
            return Unusable("InternalError", "InternalError")
        finally:
            target.unlink(missing_ok=True)
        return Heard(sum(channel.speech_ms for channel in recording.channels), lambda: recording)

    async def _fetch(self, file: TaskFile, target: Path) -> None:
        at, size_bytes, code = self._state.clock.now(), 0, None
        config = self._state.config
        try:
            if not file.has_encoded_url:
                raise DownloadError("FILE_DOWNLOAD_FAILED")
            if file.lost is not None:
                raise DownloadError(file.lost)
            if file.content is not None:
                size_bytes = await asyncio.to_thread(target.write_bytes, file.content)
                return
            size_bytes = await download(
                self._client,
                file.file_url,
                target,
                limit_bytes=min(config.audio_limit_bytes, file.limit_bytes or config.audio_limit_bytes),
                limit_seconds=config.download_limit_seconds,
            )
        except DownloadError as error:
            code = error.code
            raise
        finally:
            self._state.ledger.audio.append(AudioEntry(file.file_url, at, size_bytes, code))

    def _listen(self, target: Path, submission: Submission, url: str) -> Recording:
        speakers = 1 if submission.wants_speakers() else None
        told = self._state.config.on_heard
        heard = ProgressSteps(partial(told, url) if told else lambda _heard, _all: None)
        return self._recogniser.transcribe(
            target, submission.channel_ids(), speakers=speakers, on_progress=heard
        )


class ProgressSteps:
    """Passes on the way through one file, in steps."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._last_seconds = 0.0

    def __call__(self, heard_seconds: float, all_seconds: float) -> None:
        if heard_seconds >= self._last_seconds + _STEP_SECONDS:
            self._last_seconds = heard_seconds
            self._tell(heard_seconds, all_seconds)


@contextlib.asynccontextmanager
async def recognition_engine(state: SimulatorState) -> AsyncIterator[RecognitionEngine]:
    """An engine for one simulator; its temporary files are gone afterwards."""
    limits = httpx.Timeout(30.0, connect=5.0)
    recogniser = Recogniser(limit_seconds=state.config.audio_limit_seconds)
    with tempfile.TemporaryDirectory(prefix="scribe-simulator-") as folder:
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False, timeout=limits) as client:
            engine = RecognitionEngine(state, client, recogniser, Path(folder))
            try:
                yield engine
            finally:
                await engine.stop()
