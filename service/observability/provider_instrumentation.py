"""Counts and times every call to the provider.

A call that raises counts as unanswered.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TypeVar

from pydantic import JsonValue

from service.clock import Clock
from service.core.provider import error_table
from service.core.provider.answers import (
    Accepted,
    Answered,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskPage,
    TaskStatus,
    TaskView,
)
from service.core.provider.hotword_lists import HotwordList, HotwordListEntry, HotwordListPage
from service.observability.metric_definitions import FETCH, CallResult
from service.observability.metrics import Metrics
from service.pipeline.guards.call_limiter import CallKind
from service.pipeline.shard.observer import BoundaryName, Faults
from service.provider.answer_boundary import UNREAD, answer_of
from service.provider.api import NO_SLOT, HotwordLists, Permit, Provider, at_once

T = TypeVar("T")


class InstrumentedProvider:
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
        """Submit and count the call.

        An exception becomes `Lost`, since a byte may have left.
        """
        started = self._clock.boot_seconds()
        call = self._provider.submit(model, file_urls, options, permit)
        # A byte may have left: whatever it raises, there may be a task, or a bill.
        answer = await answer_of(call, Lost(UNREAD), self._report(CallKind.SUBMIT))
        provider_error = None if isinstance(answer, Accepted | Answered) else answer.provider_error
        self._count(CallKind.SUBMIT, started, provider_error, _submit_result(answer), model)
        return answer

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """Poll and count the call and the provider codes of its answer."""
        started = self._clock.boot_seconds()
        answer = await answer_of(self._provider.query(task_id, permit), UNREAD, self._report(CallKind.QUERY))
        self._count(CallKind.QUERY, started, answer if isinstance(answer, ProviderError) else None)
        if isinstance(answer, TaskView):
            self._note_codes(answer)
        return answer

    async def list_tasks(
        self, page_no: int, permit: Permit = at_once, status: TaskStatus | None = None
    ) -> TaskPage | ProviderError:
        """List one page and count the call."""
        started = self._clock.boot_seconds()
        listing = self._provider.list_tasks(page_no, permit, status)
        answer = await answer_of(listing, UNREAD, self._report(CallKind.LIST))
        self._count(CallKind.LIST, started, answer if isinstance(answer, ProviderError) else None)
        return answer

    def clock_offset_ms(self) -> int | None:
        """Pass the vendor's clock on; nothing is counted."""
        return self._provider.clock_offset_ms()

    async def cancel(self, task_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Cancel and count the call."""
        started = self._clock.boot_seconds()
        answer = await answer_of(
            self._provider.cancel(task_id, permit), UNREAD, self._report(CallKind.CANCEL)
        )
        self._count(CallKind.CANCEL, started, answer)
        return answer

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """Fetch and count the download."""
        started = self._clock.boot_seconds()
        fetching = self._provider.fetch(transcription_url, max_bytes)
        answer = await answer_of(fetching, UNREAD, self._report(FETCH))
        self._count(FETCH, started, answer if isinstance(answer, ProviderError) else None)
        return answer

    def _report(self, kind: str) -> Callable[[Exception], None]:
        return partial(self._faults.internal_error, BoundaryName.ANSWER, kind)

    def _count(
        self,
        kind: str,
        started: float,
        provider_error: ProviderError | None,
        result: CallResult | None = None,
        model: str = "",
    ) -> None:
        _count(self._metrics, kind, self._clock.boot_seconds() - started, provider_error, result, model)

    def _note_codes(self, task: TaskView) -> None:
        for provider_error in (task.provider_error, *(file.provider_error for file in task.files)):
            if provider_error is not None:
                _note_code(self._metrics, provider_error)


class InstrumentedHotwordLists:
    """Hotword lists whose calls are counted and timed."""

    def __init__(self, hotword_lists: HotwordLists, metrics: Metrics, clock: Clock, faults: Faults) -> None:
        self._hotword_lists = hotword_lists
        self._metrics = metrics
        self._clock = clock
        self._report = partial(faults.internal_error, BoundaryName.ANSWER, CallKind.HOTWORDS)

    async def list_page(self, page_index: int, permit: Permit = at_once) -> HotwordListPage | ProviderError:
        """List one page of hotword lists and count the call."""
        return await self._counted(self._hotword_lists.list_page(page_index, permit))

    async def query(self, vocabulary_id: str, permit: Permit = at_once) -> HotwordList | ProviderError:
        """Read one hotword list and count the call."""
        return await self._counted(self._hotword_lists.query(vocabulary_id, permit))

    async def create(
        self, model: str, prefix: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> str | ProviderError:
        """Create a hotword list and count the call."""
        return await self._counted(self._hotword_lists.create(model, prefix, words, permit))

    async def update(
        self, vocabulary_id: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> ProviderError | None:
        """Update a hotword list and count the call."""
        return await self._counted(self._hotword_lists.update(vocabulary_id, words, permit))

    async def delete(self, vocabulary_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Delete a hotword list and count the call."""
        return await self._counted(self._hotword_lists.delete(vocabulary_id, permit))

    async def _counted(self, call: Coroutine[None, None, T | ProviderError]) -> T | ProviderError:
        started = self._clock.boot_seconds()
        answer = await answer_of(call, UNREAD, self._report)
        provider_error = answer if isinstance(answer, ProviderError) else None
        _count(self._metrics, CallKind.HOTWORDS, self._clock.boot_seconds() - started, provider_error)
        return answer


def _count(
    metrics: Metrics,
    kind: str,
    seconds: float,
    provider_error: ProviderError | None,
    result: CallResult | None = None,
    model: str = "",
) -> None:
    if provider_error is NO_SLOT:
        return
    metrics.provider_call(kind, result or _call_result(provider_error), seconds, model)
    if provider_error is not None:
        _note_code(metrics, provider_error)


def _note_code(metrics: Metrics, provider_error: ProviderError) -> None:
    if not error_table.is_known(provider_error.code):
        metrics.unknown_provider_code(provider_error.code)


def _submit_result(answer: SubmitAnswer) -> CallResult:
    match answer:
        case Lost():
            return CallResult.LOST
        case NotSent():
            return CallResult.NOT_SENT
        case Refused(provider_error):
            return _call_result(provider_error)
        case _:
            return CallResult.OK


def _call_result(provider_error: ProviderError | None) -> CallResult:
    if provider_error is None:
        return CallResult.OK
    if provider_error.is_throttled:
        return CallResult.THROTTLED
    return (
        CallResult.ERROR
        if provider_error.http_status is None or provider_error.http_status >= 500
        else CallResult.REFUSED
    )
