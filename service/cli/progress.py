"""Tells a user who waits how far a request has come, as the journal's records show it; joins no group.

Only what is written while it waits is known: nothing of the queue, and nothing between a submit and its end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service.cli.tables import plain, ranges
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.identity import Origin
from service.core.job.request_record import Record
from service.core.job.submission import Submission, SubmissionState
from service.core.journal.entries import Entry, JobEntry, decode
from service.errors import ServiceError
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.terminal_client import following

Tell = Callable[[str], None]


@asynccontextmanager
async def shown_progress(
    cluster: ClusterConfig, journal: str, fetch_max_wait_ms: int, progress: "Progress", key: bytes
) -> AsyncIterator[None]:
    """Tell what the journal shows of the request from now on, until the block ends.

    `key` is that of the request's record. A journal that cannot be read ends it, with a line.
    """
    began = asyncio.Event()

    async def follow() -> None:
        try:
            async with following(cluster, [journal], fetch_max_wait_ms, key=key) as records:
                began.set()
                async for record in records:
                    progress.take(record)
        except ServiceError as error:
            progress.tell(f"no {'more ' if began.is_set() else ''}progress is shown: {error}")
        finally:
            began.set()

    task = asyncio.create_task(follow())
    try:
        await began.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Progress:
    """What the journal has shown of one request; each change is told once."""

    def __init__(self, request_id: str, replay: int, tell: Tell) -> None:
        self._request_id = request_id
        self._replay = replay
        self.tell = tell
        self._origin: Origin | None = None
        self._last: dict[int, str] = {}
        """What was told last of each file."""

    def take(self, record: Record) -> None:
        """Tell what a record of the journal changes for the request; ignores all that is not ours."""
        entry = _entry(record)
        match entry:
            case AcceptedRequest() if (entry.request_id, entry.replay) == (self._request_id, self._replay):
                self._origin = entry.origin
                self._tell([file.index for file in entry.files], "accepted")
            case Submission():
                files = [job.file_index for job in entry.jobs if job.origin == self._origin]
                self._tell(files, _stage(entry))
            case JobEntry() if entry.ref.origin == self._origin and entry.cancelled:
                self._tell([entry.ref.file_index], "is to be cancelled")
            case _:
                pass

    def _tell(self, files: list[int], words: str) -> None:
        changed = [index for index in files if self._last.get(index) != words]
        if changed:
            self._last.update(dict.fromkeys(changed, words))
            self.tell(plain(f"{self._request_id}, file {ranges(changed)}: {words}"))


def _entry(record: Record) -> Entry | None:
    try:
        return decode((record.key or b"").decode(), record.value) if record.value else None
    except ValueError:
        return None


def _stage(submission: Submission) -> str:
    match submission.state:
        case SubmissionState.WAITING:
            return "waits for the next submit"
        case SubmissionState.INTENDED:
            return "is being submitted"
        case SubmissionState.RUNNING:
            return f"runs at the provider as task {submission.task_id}"
        case SubmissionState.UNCERTAIN:
            return "the answer to its submit is lost; its task is looked for"
