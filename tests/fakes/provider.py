"""A provider in memory: it does what the Provider port promises, keeps a ledger, and goes wrong on demand.

The contract suite runs on it and on `DashScope` alike.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import urlsplit

from pydantic import JsonValue

from service.contract.models import model_info
from service.core.provider.answers import (
    Accepted,
    Answered,
    Bill,
    FileView,
    ListedTask,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskPage,
    TaskStatus,
    TaskView,
)
from service.core.provider.own_codes import OwnCode
from service.provider.api import NO_SLOT, Permit, at_once

TIMEOUT = ProviderError("timeout", "provider did not answer within 30 s")
NO_CONNECTION = ProviderError("connect_failed", "no connection to provider")
TOO_LATE_TO_CANCEL = ProviderError("UnsupportedOperation", "Failed to cancel the task.", 400)
TOO_MANY = ProviderError("InvalidParameter", "input.file_urls must not hold more than 1 urls", 400)


class AfterWork(Enum):
    """Faults of a submit that was served."""

    LOSE_ANSWER = auto()
    """The task is made, and billed, and the answer does not arrive."""


SubmitFault = Refused | Lost | NotSent | AfterWork


@dataclass
class FakeTask:
    """One billed submit, or a stranger's. `looks` counts its queries; `statuses` is what they see, the last
    one for ever.
    """

    task_id: str
    model: str
    file_urls: tuple[str, ...]
    options: dict[str, JsonValue]
    statuses: tuple[TaskStatus, ...]
    provider_error: ProviderError | None = None
    looks: int = 0
    is_cancelled: bool = False
    is_forgotten: bool = False
    created_ms: int = 0
    is_unlisted: bool = False
    result_host: str = "results.example"


@dataclass
class FakeProvider:
    """Scripted beforehand, read afterwards.

    The ledger: `submits` are the tasks that were made (and billed), `calls` the (kind, subject) of every
    call in order, whatever became of it. The script: `statuses` is what the queries of new tasks see one
    after the other; `file_errors` and `task_errors` say by file URL what fails; `texts` what is heard in
    a file. An entry of a `next_*` queue takes the next call of that kind, whatever it is about. A cleared
    gate holds the calls of its kind on the wire until it is set; a submit's task is made before. The list
    shows the newest first, what strangers made among them; the vendor's clock is `vendor_ahead_ms` ahead.
    """

    statuses: tuple[TaskStatus, ...] = (TaskStatus.RUNNING, TaskStatus.SUCCEEDED)
    file_errors: dict[str, ProviderError] = field(default_factory=dict)
    task_errors: dict[str, ProviderError] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    result_host: str = "results.example"
    """Where results of tasks lie that are made from now on."""
    refused_hosts: set[str] = field(default_factory=set)
    """Hosts that the fetch guard does not allow."""
    bill: Bill = Bill(seconds=3)
    """What a call of a synchronous model costs."""
    next_submits: deque[SubmitFault] = field(default_factory=deque)
    next_queries: deque[ProviderError | TaskStatus | TaskView] = field(default_factory=deque)
    next_lists: deque[ProviderError | TaskPage] = field(default_factory=deque)
    next_cancels: deque[ProviderError] = field(default_factory=deque)
    next_fetches: deque[ProviderError | bytes] = field(default_factory=deque)
    submits: list[FakeTask] = field(default_factory=list)
    strangers: list[FakeTask] = field(default_factory=list)
    page_size: int = 100
    max_files: int = 100
    too_many: ProviderError = TOO_MANY
    """What a submit of more files than that is refused with."""
    now_ms: Callable[[], int] = lambda: 0
    vendor_ahead_ms: int = 0
    offset_ms: int | None = None
    """What the service knows of that."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    submit_gate: asyncio.Event = field(default_factory=asyncio.Event)
    query_gate: asyncio.Event = field(default_factory=asyncio.Event)
    fetch_gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        for guards in (self.submit_gate, self.query_gate, self.fetch_gate):
            guards.set()

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        """Make a task, unless the next fault says otherwise."""
        if not await permit():
            return NotSent(ProviderError("intent_too_old", "no slot came in time"))
        self.calls.append(("submit", " ".join(file_urls)))
        fault = self.next_submits.popleft() if self.next_submits else None
        if isinstance(fault, Refused | Lost | NotSent):
            await self.submit_gate.wait()
            return fault
        if len(file_urls) > self.max_files:
            return Refused(self.too_many)
        task = self._make(model, tuple(file_urls), dict(options))
        await self.submit_gate.wait()
        if fault is AfterWork.LOSE_ANSWER:
            return Lost(TIMEOUT)
        info = model_info(model)
        is_synchronous = info is not None and info.is_synchronous
        return self._answered(task) if is_synchronous else Accepted(task.task_id)

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """The task's next status; UNKNOWN for one that was never made or is forgotten."""
        if not await permit():
            return NO_SLOT
        self.calls.append(("query", task_id))
        await self.query_gate.wait()
        fault = self.next_queries.popleft() if self.next_queries else None
        if isinstance(fault, ProviderError | TaskView):
            return fault
        task = self.task(task_id)
        if task is None or task.is_forgotten:
            return TaskView(task_id, TaskStatus.UNKNOWN)
        return self._look(task) if fault is None else self._view(task, fault)

    async def list_tasks(
        self, page_no: int, permit: Permit = at_once, status: TaskStatus | None = None
    ) -> TaskPage | ProviderError:
        """A page of all tasks that are listed."""
        if not await permit():
            return NO_SLOT
        self.calls.append(("list", str(page_no)))
        await asyncio.sleep(0)
        if self.next_lists:
            return self.next_lists.popleft()
        made = [
            each
            for each in (*self.submits, *self.strangers)
            if not each.is_unlisted and status in (None, self._status(each))
        ]
        made.sort(key=lambda each: each.created_ms, reverse=True)
        page = made[(page_no - 1) * self.page_size : page_no * self.page_size]
        rows = (ListedTask(each.task_id, self._status(each), each.created_ms) for each in page)
        return TaskPage(tuple(rows), len(made))

    def clock_offset_ms(self) -> int | None:
        """What was told beforehand."""
        return self.offset_ms

    async def cancel(self, task_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Agree while the next look would see PENDING."""
        if not await permit():
            return NO_SLOT
        self.calls.append(("cancel", task_id))
        if self.next_cancels:
            return self.next_cancels.popleft()
        task = self.task(task_id)
        if task is None or self._status(task) is not TaskStatus.PENDING:
            return TOO_LATE_TO_CANCEL
        task.is_cancelled = True
        return None

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """The result file of a task that was made here; a 403 for any other URL."""
        self.calls.append(("fetch", transcription_url))
        await self.fetch_gate.wait()
        body = self._fetched(transcription_url)
        if isinstance(body, bytes) and max_bytes is not None and len(body) > max_bytes:
            return ProviderError("fetch_too_large", f"the result is too large: over {max_bytes} bytes")
        return body

    def _fetched(self, transcription_url: str) -> bytes | ProviderError:
        host = urlsplit(transcription_url).hostname
        if self.next_fetches:
            return self.next_fetches.popleft()
        if host in self.refused_hosts:
            return ProviderError(
                OwnCode.FETCH_HOST_REFUSED, f"the result's host {host} is not below SCRIBE_FETCH__HOSTS"
            )
        for task in self.submits:
            for index, file_url in enumerate(task.file_urls):
                if transcription_url == _result_url(task, index):
                    return self.results.get(file_url) or self._result(file_url)
        return ProviderError("http_error", "the result's host results.example answered 403", 403)

    def task(self, task_id: str) -> FakeTask | None:
        """The task with this id."""
        return next((task for task in (*self.submits, *self.strangers) if task.task_id == task_id), None)

    def stranger(self, *file_urls: str, status: TaskStatus = TaskStatus.SUCCEEDED) -> FakeTask:
        """A task that somebody else made in the account, just now."""
        task = FakeTask(f"stranger-{len(self.strangers) + 1}", "fun-asr-2025-11-07", file_urls, {}, (status,))
        task.created_ms = self._vendor_now()
        self.strangers.append(task)
        return task

    def _vendor_now(self) -> int:
        return self.now_ms() + self.vendor_ahead_ms

    def count(self, kind: str) -> int:
        """How many calls of a kind there were."""
        return sum(called == kind for called, _ in self.calls)

    def _make(self, model: str, file_urls: tuple[str, ...], options: dict[str, JsonValue]) -> FakeTask:
        found = (self.task_errors[url] for url in file_urls if url in self.task_errors)
        task_id = f"task-{len(self.submits) + 1}"
        task = FakeTask(task_id, model, file_urls, options, self.statuses, next(found, None))
        task.created_ms, task.result_host = self._vendor_now(), self.result_host
        self.submits.append(task)
        return task

    def _answered(self, task: FakeTask) -> Answered:
        """What a synchronous model of the qwen3-asr-flash kind answers."""
        task.is_unlisted = True
        message: dict[str, JsonValue] = {
            "role": "assistant",
            "content": [{"text": self._text(task.file_urls[0])}],
            "annotations": [{"type": "audio_info", "language": "en", "emotion": "neutral"}],
        }
        return Answered({"choices": [{"finish_reason": "stop", "message": message}]}, self.bill)

    def _text(self, file_url: str) -> str:
        return self.texts.get(file_url, f"Transcript of {urlsplit(file_url).path.rpartition('/')[2]}.")

    def _look(self, task: FakeTask) -> TaskView:
        status = self._status(task)
        task.looks += 1
        return self._view(task, status)

    def _status(self, task: FakeTask) -> TaskStatus:
        if task.is_cancelled:
            return TaskStatus.CANCELED
        status = task.statuses[min(task.looks, len(task.statuses) - 1)]
        failed = task.provider_error is not None and status is TaskStatus.SUCCEEDED
        return TaskStatus.FAILED if failed else status

    def _view(self, task: FakeTask, status: TaskStatus) -> TaskView:
        if status is TaskStatus.UNKNOWN:
            return TaskView(task.task_id, status)
        is_over = status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
        lists_files = is_over and task.provider_error is None
        # The vendor's order is not that of the submit.
        files = tuple(reversed([self._file(task, index) for index in range(len(task.file_urls))]))
        return TaskView(
            task.task_id,
            status,
            files if lists_files else (),
            (task.provider_error or ProviderError("unexpected_answer", "it failed"))
            if status is TaskStatus.FAILED
            else None,
            billed_seconds=sum(file.provider_error is None for file in files) if lists_files else None,
            submit_time="2026-03-02 10:15:01.113",
            scheduled_time=None if status is TaskStatus.PENDING else "2026-03-02 10:15:01.140",
            end_time="2026-03-02 10:15:08.902" if is_over or status is TaskStatus.CANCELED else None,
        )

    def _file(self, task: FakeTask, index: int) -> FileView:
        file_url = task.file_urls[index]
        provider_error = self.file_errors.get(file_url)
        if provider_error is not None:
            return FileView(file_url, provider_error=provider_error)
        # Qwen-ASR names its file in the result alone.
        named = "" if task.model.startswith("qwen3-asr-flash-filetrans") else file_url
        return FileView(named, transcription_url=_result_url(task, index))

    def _result(self, file_url: str) -> bytes:
        text = self._text(file_url)
        document = {
            "file_url": file_url,
            "properties": {
                "audio_format": "pcm_s16le",
                "channels": [0],
                "original_sampling_rate": 16000,
                "original_duration_in_milliseconds": 1500,
            },
            "transcripts": [
                {
                    "channel_id": 0,
                    "content_duration_in_milliseconds": 1000,
                    "text": text,
                    "sentences": [{"begin_time": 200, "end_time": 1200, "text": text, "sentence_id": 1}],
                }
            ],
        }
        return json.dumps(document).encode()


def _result_url(task: FakeTask, index: int) -> str:
    return f"https://{task.result_host}/{task.model}/10%3A15/{task.task_id}-{index + 1}.json?Signature=fake"
