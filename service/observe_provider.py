"""Counts and times every call to the provider, around the ports; an answer that raises has not come."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TypeVar

from pydantic import JsonValue

from service.clock import Clock
from service.core import verdicts
from service.core.task import (
    Accepted,
    Answered,
    Lost,
    NotSent,
    Refused,
    SubmitAnswer,
    TaskPage,
    TaskView,
    Trouble,
)
from service.core.vocabulary import ListedVocabulary, Vocabulary, VocabularyWord
from service.metrics import Metrics
from service.pipeline.observer import Faults
from service.provider.api import NO_SLOT, Permit, Provider, Vocabularies, at_once
from service.provider.isolation import UNREAD, answer_of

T = TypeVar("T")


class CountedProvider:
    """A provider whose calls are counted and timed."""

    def __init__(self, provider: Provider, metrics: Metrics, clock: Clock, faults: Faults) -> None:
        self._provider = provider
        self._metrics = metrics
        self._clock = clock
        self._faults = faults

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        """As the port says."""
        started = self._clock.boot_seconds()
        call = self._provider.submit(model, file_urls, options, permit)
        # A byte of it may have left: whatever is raised, there may be a task, or a bill.
        answer = await answer_of(call, Lost(UNREAD), self._report("submit"))
        trouble = None if isinstance(answer, Accepted | Answered) else answer.trouble
        self._count("submit", started, trouble, _submit_result(answer))
        return answer

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | Trouble:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await answer_of(self._provider.query(task_id, permit), UNREAD, self._report("query"))
        self._count("query", started, answer if isinstance(answer, Trouble) else None)
        if isinstance(answer, TaskView):
            self._note_codes(answer)
        return answer

    async def list_tasks(self, page_no: int, permit: Permit = at_once) -> TaskPage | Trouble:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await answer_of(self._provider.list_tasks(page_no, permit), UNREAD, self._report("list"))
        self._count("list", started, answer if isinstance(answer, Trouble) else None)
        return answer

    def clock_offset_ms(self) -> int | None:
        """As the port says."""
        return self._provider.clock_offset_ms()

    async def cancel(self, task_id: str, permit: Permit = at_once) -> Trouble | None:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await answer_of(self._provider.cancel(task_id, permit), UNREAD, self._report("cancel"))
        self._count("cancel", started, answer)
        return answer

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | Trouble:
        """As the port says."""
        started = self._clock.boot_seconds()
        fetching = self._provider.fetch(transcription_url, max_bytes)
        answer = await answer_of(fetching, UNREAD, self._report("fetch"))
        self._count("fetch", started, answer if isinstance(answer, Trouble) else None)
        return answer

    def _report(self, kind: str) -> Callable[[Exception], None]:
        return partial(self._faults.internal_error, "answer", kind)

    def _count(self, kind: str, started: float, trouble: Trouble | None, result: str = "") -> None:
        if trouble is NO_SLOT:
            return
        _count(self._metrics, kind, self._clock.boot_seconds() - started, trouble, result)

    def _note_codes(self, task: TaskView) -> None:
        for trouble in (task.trouble, *(file.trouble for file in task.files)):
            if trouble is not None:
                _note_code(self._metrics, trouble)


class CountedVocabularies:
    """Hotword lists whose calls are counted and timed."""

    def __init__(self, vocabularies: Vocabularies, metrics: Metrics, clock: Clock, faults: Faults) -> None:
        self._vocabularies = vocabularies
        self._metrics = metrics
        self._clock = clock
        self._report = partial(faults.internal_error, "answer", "vocabulary")

    async def list_all(self) -> tuple[ListedVocabulary, ...] | Trouble:
        """As the port says."""
        return await self._counted(self._vocabularies.list_all())

    async def query(self, vocabulary_id: str) -> Vocabulary | Trouble:
        """As the port says."""
        return await self._counted(self._vocabularies.query(vocabulary_id))

    async def create(self, model: str, prefix: str, words: Sequence[VocabularyWord]) -> str | Trouble:
        """As the port says."""
        return await self._counted(self._vocabularies.create(model, prefix, words))

    async def update(self, vocabulary_id: str, words: Sequence[VocabularyWord]) -> Trouble | None:
        """As the port says."""
        return await self._counted(self._vocabularies.update(vocabulary_id, words))

    async def delete(self, vocabulary_id: str) -> Trouble | None:
        """As the port says."""
        return await self._counted(self._vocabularies.delete(vocabulary_id))

    async def _counted(self, call: Coroutine[None, None, T | Trouble]) -> T | Trouble:
        started = self._clock.boot_seconds()
        answer = await answer_of(call, UNREAD, self._report)
        trouble = answer if isinstance(answer, Trouble) else None
        _count(self._metrics, "vocabulary", self._clock.boot_seconds() - started, trouble)
        return answer


def _count(metrics: Metrics, kind: str, seconds: float, trouble: Trouble | None, result: str = "") -> None:
    metrics.provider_call(kind, result or _call_result(trouble), seconds)
    if trouble is not None:
        _note_code(metrics, trouble)


def _note_code(metrics: Metrics, trouble: Trouble) -> None:
    if not verdicts.is_known(trouble.code):
        metrics.unknown_provider_code(trouble.code)


def _submit_result(answer: SubmitAnswer) -> str:
    match answer:
        case Lost():
            return "lost"
        case NotSent():
            return "not_sent"
        case Refused(trouble):
            return _call_result(trouble)
        case _:
            return "ok"


def _call_result(trouble: Trouble | None) -> str:
    if trouble is None:
        return "ok"
    if trouble.http_status == 429:
        return "throttled"
    return "error" if trouble.http_status is None or trouble.http_status >= 500 else "refused"
