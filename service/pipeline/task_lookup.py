"""Asks the provider for what reconciling needs: the account's task list, and the files of unknown tasks."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from service.clock import Clock
from service.core.limits.backoff import Backoff
from service.core.provider.answers import ProviderError, TaskPage, TaskView
from service.core.provider.own_codes import OwnCode
from service.core.reconciliation.candidates import Candidates
from service.core.reconciliation.task_listing import TaskListing, TimeSpan
from service.pipeline.collecting.fetch_memory import FetchMemory
from service.pipeline.guards.call_limiter import CallKind, CallLimiter
from service.pipeline.shard.timers import SHORTEST_WAIT_SECONDS, OnTick, ticking
from service.provider.answer_boundary import UNREAD
from service.provider.api import NO_SLOT, Permit, Provider

PAGE_ATTEMPTS = 3
"""A list of thousands of pages must not restart because of one lost answer."""
PAGE_BACKOFF = Backoff(1.0, 10.0)
"""The wait before a page is asked for again. Short: rows move while a list is read."""
MAX_PAGES = 20_000
"""Two million tasks a day; a list with more pages is taken to be endless."""
MAX_POLLS = 200
"""Unknown tasks polled in one pass; the rest wait for the next pass."""
MAX_NAMES = 20
"""Result files read in one pass only to learn the URL of a task's file."""
FOREIGN_TASKS_SHARE = 0.25
"""Share of the query quota for tasks that may not be ours, so that our own are polled in time."""
UNREADABLE_CODES = frozenset({OwnCode.UNEXPECTED_ANSWER, OwnCode.NOT_JSON})
"""Codes for an answer that is not a task."""

T = TypeVar("T")


class TaskLookup:
    """Calls for reconciling; each waits for its slot and gives up once no answer is needed.

    `is_needed` returns whether an answer is still needed.
    """

    def __init__(
        self,
        provider: Provider,
        clock: Clock,
        limiter: CallLimiter,
        memory: FetchMemory,
        is_needed: Callable[[], bool],
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._limiter = limiter
        self._memory = memory
        self._is_needed = is_needed
        self._foreign_poll_at = clock.boot_seconds()
        """When the next task that may not be ours may be polled, by the boot clock."""
        self._names_left = MAX_NAMES

    def vendor_now_ms(self) -> int | None:
        """The vendor's time now, if it is known."""
        offset_ms = self._provider.clock_offset_ms()
        return None if offset_ms is None else self._clock.now_ms() + offset_ms

    # The list.

    async def read_list(
        self,
        spans: Sequence[TimeSpan],
        witnesses: Mapping[str, TimeSpan],
        skew_seconds: float,
        on_tick: OnTick,
    ) -> TaskListing:
        """Read all pages.

        Stop early if a page cannot be read or the list is no longer needed.
        """
        listing = TaskListing(spans, witnesses)
        for page_no in range(1, MAX_PAGES + 1):
            page = await self._page(page_no, on_tick)
            if page is None:
                listing.fail()
                break
            now_ms = self.vendor_now_ms()
            listing.add(page, float("inf") if now_ms is None else now_ms + 1000 * skew_seconds)
            if listing.is_over:
                break
        return listing

    async def _page(self, page_no: int, on_tick: OnTick) -> TaskPage | None:
        for attempt in range(1, PAGE_ATTEMPTS + 1):
            page = await self._call(CallKind.LIST, partial(self._provider.list_tasks, page_no), on_tick)
            if page is None or isinstance(page, TaskPage):
                return page
            wait_ms = PAGE_BACKOFF.wait_ms(attempt, self._clock.draw(), page.retry_after_seconds)
            await self._clock.sleep(min(wait_ms / 1000, PAGE_BACKOFF.longest_seconds))
        return None

    # Tasks that no journal knows.

    async def poll_unknown(self, candidates: Candidates, on_tick: OnTick) -> None:
        """Poll unknown tasks.

        A finished task is polled once, and its files are remembered.
        """
        self._names_left = MAX_NAMES
        for task_id in candidates.to_poll()[:MAX_POLLS]:
            if not await self._wait_for_foreign_turn(on_tick):
                return
            task = await self._call(CallKind.QUERY, partial(self._provider.query, task_id), on_tick)
            if task is None:
                return
            if isinstance(task, ProviderError):
                self._note_error(candidates, task_id, task)
            elif (named := await ticking(self._named(task), on_tick)) is not None:
                candidates.note_polled(named)
            else:
                candidates.note_no_answer(task_id)

    def _note_error(self, candidates: Candidates, task_id: str, provider_error: ProviderError) -> None:
        if provider_error is UNREAD or provider_error.code in UNREADABLE_CODES:
            candidates.note_unreadable(task_id)
        else:
            candidates.note_no_answer(task_id)

    async def _named(self, task: TaskView) -> TaskView | None:
        """The task with its files' URLs: a Qwen-ASR task has its URL only in the result file.

        None if the file cannot be read now: the task may still be anyone's. A failed file without a URL will
        never have one and is skipped.
        """
        files = []
        for file in (each for each in task.files if each.file_url or each.transcription_url):
            file_url = file.file_url or await self._url_in(file.transcription_url or "")
            if file_url is None:
                return None
            files.append(replace(file, file_url=file_url))
        return replace(task, files=tuple(files))

    async def _url_in(self, transcription_url: str) -> str | None:
        if not self._names_left:
            return None
        self._names_left -= 1
        return await self._memory.file_url_in(self._provider, transcription_url)

    # Calls.

    async def _call(
        self, kind: CallKind, ask: Callable[[Permit], Awaitable[T | ProviderError]], on_tick: OnTick
    ) -> T | ProviderError | None:
        """Wait for a slot, call, and return the answer; None once it is no longer needed."""
        answer: T | ProviderError = NO_SLOT
        while answer is NO_SLOT:
            wait_seconds = self._limiter.wait_seconds(kind, is_urgent=True)
            if not await self._wait(wait_seconds, on_tick):
                return None
            if wait_seconds <= 0:
                with self._limiter.begin(kind, is_urgent=True) as call:
                    answer = await ask(call.depart)
        if isinstance(answer, ProviderError) and answer.is_throttled:
            self._limiter.penalise(kind)
        on_tick()
        return answer

    async def _wait_for_foreign_turn(self, on_tick: OnTick) -> bool:
        """Wait until a task that may not be ours may be polled.

        False once the answer is not needed.
        """
        while (wait_seconds := self._foreign_poll_at - self._clock.boot_seconds()) > 0:
            if not await self._wait(wait_seconds, on_tick):
                return False
        share_per_second = FOREIGN_TASKS_SHARE * self._limiter.share_per_second(CallKind.QUERY)
        apart_seconds = 1 / share_per_second if share_per_second else 0.0
        self._foreign_poll_at = self._clock.boot_seconds() + apart_seconds
        return True

    async def _wait(self, seconds: float, on_tick: OnTick) -> bool:
        """Wait at most one second; False once no answer is needed."""
        on_tick()
        if seconds <= 0:
            return True
        await self._clock.sleep(min(1.0, max(SHORTEST_WAIT_SECONDS, seconds)))
        return self._is_needed()
