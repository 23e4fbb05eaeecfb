"""What the account's list says of our running tasks: which need no poll yet, and which to poll at once.

A hint, never more: the task's own query decides, and its answer says whether the list is to be trusted.
"""

import asyncio
from collections import OrderedDict

from service.clock import Clock
from service.core.polling.list_trust import ListTrust, PageSource
from service.core.polling.listed_tasks import ListedTasks, Place, ReadPage, Span, order_of, span_of
from service.core.provider.answers import ListedTask, TaskStatus, TaskView
from service.pipeline.polling.poll_requests import PollRequest, PollRequests, Rest
from service.pipeline.shard.backlog import SLICE
from service.pipeline.shard.observer import HintResult, ListObserver

UNFINISHED = frozenset({TaskStatus.PENDING, TaskStatus.RUNNING})
ENDED = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED})
MAX_ENDED = 1_000
"""Tasks remembered that a query has shown as ended: the list must not show them as running for long."""


class ListHints:
    """Turns pages of the list into postponed and hinted polls, and judges the list by the answers."""

    def __init__(self, clock: Clock, requests: PollRequests, observer: ListObserver) -> None:
        self._clock = clock
        self._observer = observer
        self._requests = requests
        self._listed = ListedTasks()
        self._trusts = {source: ListTrust() for source in PageSource}
        self._is_newest_first: bool | None = None
        self._ended: OrderedDict[str, float] = OrderedDict()
        """When queries showed tasks as ended, by the boot clock; the latest ones."""

    def is_trusted(self, source: PageSource = PageSource.OWN) -> bool:
        """Whether pages of this source are used; those of others only while the list itself is trusted."""
        now = self._clock.boot_seconds()
        return all(self._trusts[each].is_trusted(now) for each in {PageSource.OWN, source})

    def use(self, rest: Rest, took_seconds: float) -> None:
        """Let tasks rest after a sweep that took so long."""
        self._requests.use_rest(rest)
        self._observer.list_swept(took_seconds)

    def use_schedule_alone(self) -> None:
        """Poll by schedule alone."""
        self.use(Rest(), 0.0)

    async def use_page(self, read: ReadPage, lag_seconds: float) -> int:
        """Use one page, which may lag by `lag_seconds` behind the tasks: poll at once what it shows to have
        ended, by its status or its absence. How many tasks of ours it shows, these included.
        """
        self._requests.trust(frozenset(filter(self.is_trusted, PageSource)))
        if not self.is_trusted(read.source):
            return 0
        page, span = read.page, self._span(read)
        is_running_only = read.status is TaskStatus.RUNNING and all(
            row.status is read.status for row in page.tasks
        )
        ours = [row for row in page.tasks if self._requests.knows(row.task_id)]
        ended = [row.task_id for row in ours if row.status in ENDED]
        for row in page.tasks:
            if row.status in UNFINISHED:
                self._take_unfinished(row, read, lag_seconds, is_proof=is_running_only and span is not None)
        missing: list[str] = []
        if is_running_only and span is not None:
            missing = self._listed.take_missing(span, (row.task_id for row in page.tasks), read.asked_ms)
        await self._hint([*ended, *missing], read.source)
        return len(ours) + len(missing)

    async def _hint(self, task_ids: list[str], source: PageSource) -> None:
        for begin in range(0, len(task_ids), SLICE):
            for task_id in task_ids[begin : begin + SLICE]:
                self._requests.hint(task_id, source)
            # The list may be empty of a sudden: thousands of hints must not hold up the event loop.
            await asyncio.sleep(0)

    def _span(self, read: ReadPage) -> Span | None:
        own_order = order_of(read.page)
        is_newest_first = self._is_newest_first if own_order is None else own_order
        span = span_of(read.page, Place(read.is_first, read.is_last, is_newest_first))
        if read.source is PageSource.OWN:
            self._is_newest_first = is_newest_first if span is not None else None
        return span

    def answered(self, request: PollRequest, task: TaskView) -> None:
        """Judge the list by the answer of a poll."""
        if task.status in ENDED:
            self._ended[request.task_id] = self._clock.boot_seconds()
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
            if request.hint:
                self._trusts[request.hint].helped()
                self._observer.list_hint(HintResult.RIGHT)
        elif task.status in UNFINISHED and request.hint:
            self._misled(request.hint)

    def _take_unfinished(
        self, row: ListedTask, read: ReadPage, lag_seconds: float, *, is_proof: bool
    ) -> None:
        ended = self._ended.get(row.task_id)
        if ended is not None and read.asked_ms / 1000 - ended > lag_seconds:
            del self._ended[row.task_id]
            self._misled(read.source)
        elif self._requests.note_listed(row.task_id, read.asked_ms) and is_proof:
            self._listed.add(row.task_id, row.created_ms, read.answered_ms)

    def _misled(self, source: PageSource) -> None:
        now, trust = self._clock.boot_seconds(), self._trusts[source]
        was_trusted = trust.is_trusted(now)
        trust.misled(now)
        self._observer.list_hint(HintResult.WRONG)
        if was_trusted and not trust.is_trusted(now):
            self._observer.list_distrusted(source, trust.seconds_left(now))
            self._listed.clear()
            self._requests.trust(frozenset(filter(self.is_trusted, PageSource)))
            if source is PageSource.OWN:
                self._requests.trust(frozenset())
                self.use_schedule_alone()
