"""List sweep: read the running tasks of the whole account page by page, again and again.

One page shows the state of as many tasks as a page holds, where a query shows one. The pages are hints for
the poll stage (`ListHints`), and replicas share what they read (`SharedPages`). The list is swept only while
that is faster than polling every task once; a list that fails, misleads or shows nothing of ours is left
alone for a while, and polling goes on by schedule.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from service.clock import Clock
from service.core.limits.backoff import Backoff
from service.core.polling.listed_tasks import ReadPage
from service.core.polling.page_turns import MAX_PAGES, Extent, pages_of
from service.core.provider.answers import ProviderError, TaskPage, TaskStatus
from service.pipeline.guards.call_limiter import CHECK_SECONDS, CallKind, CallLimiter
from service.pipeline.guards.limited_calls import LimitedCalls
from service.pipeline.polling.list_hints import ListHints
from service.pipeline.polling.poll_requests import PollRequests, Rest
from service.pipeline.polling.shared_pages import NumberedPage, SharedPages
from service.pipeline.shard.observer import BoundaryName, Faults
from service.pipeline.shard.timers import OnTick, ticking
from service.provider.answer_boundary import answer_of
from service.provider.api import NO_SLOT, Permit, Provider

SWEEP_SECONDS = 1.0
"""From the beginning of a sweep to that of the next, at least."""
FEWEST_TASKS = 2
"""A page costs one call and a finished task one more: for a lone task, queries alone are cheaper."""
AT_ONCE = 4
"""Pages asked for at a time: without it, a slow answer would leave slots unused."""
SHORTEST_CYCLE_SECONDS = 5.0
"""The interval of polls by schedule while the quota is not the limit."""
SHORTEST_REST_SECONDS = 5.0
"""Longer than a failed sweep and the next one."""
SHORTEST_SPOT_CHECK_SECONDS = 30.0
"""The shortest time between two polls of a task that the list shows as running."""
SPOT_CHECK_PART = 0.1
"""The part of the query quota that may be used to poll tasks which the list shows as running."""
IDLE_SECONDS = 30.0
"""The wait after a sweep that would take too long, or showed nothing of ours."""
FEWEST_ROWS = 10
"""Rows that show whether the vendor applies the status filter."""
UNFILTERED_SECONDS = 600.0
"""How long no status filter is sent after the list did not apply it."""
BACKOFF = Backoff(2.0, 60.0)


@dataclass(slots=True)
class Sweep:
    """What the pages of one status have shown so far."""

    status: TaskStatus | None
    pages: int = 0
    shown: int = 0
    rows: int = 0
    """Rows of the first page: the size of all pages but the last."""
    total: int | None = None
    others: int = 0
    """Rows with another status than was asked for."""
    seen: int = 0
    """Rows of all pages."""
    failure: ProviderError | None = None
    is_empty: bool = False
    """The latest page was empty: none follows."""
    begun: float = 0.0
    covered: set[int] = field(default_factory=set)
    """The pages that were read since `begun`, by us or another replica, give or take the clocks' errors."""

    @property
    def last_page(self) -> int | None:
        """The number of the last page; None while unknown."""
        return None if self.total is None else pages_of(Extent(self.rows, self.total))

    @property
    def ignores_filter(self) -> bool:
        """Whether the vendor does not apply the status filter.

        A few rows may just have changed.
        """
        return self.seen >= FEWEST_ROWS and 4 * self.others > self.seen

    @property
    def is_over(self) -> bool:
        """Whether no other page is worth a call."""
        return self.failure is not None or self.ignores_filter or self.is_empty

    @property
    def is_covered(self) -> bool:
        """Whether all pages were read."""
        return self.last_page is not None and len(self.covered) >= self.last_page

    def note(self, page_no: int, page: TaskPage, *, is_in_turns: bool) -> None:
        """Count a page that we have read."""
        if page_no == 1:
            self.rows, self.total = rows_of(page), page.total
        elif is_in_turns and page.total is not None:
            self.total = page.total
        self.pages += 1
        self.seen += len(page.tasks)
        self.others += sum(self.status not in (None, row.status) for row in page.tasks)
        self.is_empty |= not (page.tasks or is_in_turns)

    def cover(self, page_no: int, shown: int) -> None:
        """A page was read, which shows so many tasks of ours; one that was read twice counts once."""
        if page_no not in self.covered and page_no <= (self.last_page or MAX_PAGES):
            self.covered.add(page_no)
            self.shown += shown

    def is_last(self, page_no: int, page: TaskPage) -> bool:
        """Whether no row follows this page, by the total that it states, or since it is not full."""
        if page.total is None:
            return rows_of(page) < self.rows
        return (page_no - 1) * self.rows + rows_of(page) >= page.total


def rows_of(page: TaskPage) -> int:
    """The number of rows, unreadable ones included."""
    return len(page.tasks) + len(page.unreadable)


class _PageCall:
    """A list call: which page it asks for, and when it left, by the boot clock."""

    def __init__(
        self, provider: Provider, clock: Clock, status: TaskStatus | None, choose: Callable[[], int | None]
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._status = status
        self._choose = choose
        self.page_no = 1
        self.asked = 0.0

    async def ask(self, permit: Permit) -> TaskPage | ProviderError:
        """Ask for the page that is chosen now; `NO_SLOT` after a moment if there is none."""
        page_no = self._choose()
        if page_no is None:
            await self._clock.sleep(CHECK_SECONDS)
            return NO_SLOT
        self.page_no = page_no
        return await self._provider.list_tasks(page_no, partial(self._leave, permit), status=self._status)

    async def _leave(self, permit: Permit) -> bool:
        is_permitted = await permit()
        self.asked = self._clock.boot_seconds()
        return is_permitted


class ListSweepStage:
    """Sweeps over the list."""

    def __init__(
        self,
        provider: Provider,
        clock: Clock,
        limiter: CallLimiter,
        requests: PollRequests,
        hints: ListHints,
        shared: SharedPages,
        faults: Faults,
    ) -> None:
        self._report = partial(faults.internal_error, BoundaryName.ANSWER, "list")
        self._provider = provider
        self._clock = clock
        self._limiter = limiter
        self._lists = LimitedCalls(limiter, CallKind.LIST)
        self._requests = requests
        self._hints = hints
        self.shared = shared
        self._sweep: Sweep | None = None
        """The sweep that is under way."""
        self._pages = 1
        """Of the last sweep."""
        self._failures = 0
        self._no_filter_until = 0.0
        """Until when all tasks are listed: the list refused the status filter, or did not apply it."""

    async def run(self, on_tick: OnTick) -> None:
        """Sweep until cancelled."""
        while True:
            begun = self._clock.boot_seconds()
            if len(self._requests) >= FEWEST_TASKS and self._hints.is_trusted():
                sweep = answer_of(self._sweep_once(), IDLE_SECONDS, self._report)
                wait_seconds = await ticking(sweep, on_tick)
            else:
                wait_seconds = SWEEP_SECONDS
                self._hints.use_schedule_alone()
            until = begun + wait_seconds
            while (left_seconds := until - self._clock.boot_seconds()) > 0:
                on_tick()
                await self._clock.sleep(min(SWEEP_SECONDS, left_seconds))
            on_tick()
            await self._clock.sleep(0)

    async def _sweep_once(self) -> float:
        """Read the list once; how long after its beginning the next sweep begins, in seconds."""
        begun = self._clock.boot_seconds()
        statuses = (TaskStatus.RUNNING, TaskStatus.PENDING) if begun >= self._no_filter_until else (None,)
        shown = pages = 0
        for status in statuses:
            if shown >= len(self._requests):
                break
            self._sweep = sweep = Sweep(status, begun=self._clock.boot_seconds())
            await self._read(sweep)
            self._sweep = None
            if sweep.ignores_filter:
                self._no_filter_until = begun + UNFILTERED_SECONDS
                return 0.0
            if sweep.failure is not None:
                return self._failed(sweep.failure, status)
            # Without a filter, only the pages down to our oldest task are read.
            is_whole = status is not None and sweep.last_page is not None
            shown, pages = shown + sweep.shown, pages + (sweep.last_page or 0 if is_whole else sweep.pages)
        self._failures, self._pages = 0, pages
        took_seconds = self._clock.boot_seconds() - begun
        is_useful = shown > 0 and self._is_worth_it() and took_seconds <= self._cycle_seconds
        if not (is_useful and self._hints.is_trusted()):
            self._hints.use_schedule_alone()
            return IDLE_SECONDS
        self._hints.use(self._rest(took_seconds), took_seconds)
        return SWEEP_SECONDS

    async def take_shared(self, value: bytes | None) -> None:
        """Use a page that another replica has read; never raises."""
        await answer_of(self._take_shared(value), None, self._report)

    async def _take_shared(self, value: bytes | None) -> None:
        received = self.shared.receive(value)
        if received is None:
            return
        read, sweep = received.read, self._sweep
        shown = await self._hints.use_page(read, self._cycle_seconds)
        self.shared.note(received, shown)
        if sweep is None or sweep.status is not read.status or read.answered_ms < 1000 * sweep.begun:
            return
        if received.size == sweep.rows or (read.is_first and read.is_last):
            sweep.cover(received.page_no, shown)

    async def _read(self, sweep: Sweep) -> None:
        extent = self.shared.extent(sweep.status)
        if extent is not None:
            sweep.rows, sweep.total = extent
            if sweep.status is TaskStatus.PENDING:
                # Only what runs ends: the time slots are of more use for that.
                for page_no, shown in self.shared.recent(sweep.status, SWEEP_SECONDS).items():
                    sweep.cover(page_no, shown)
        else:
            await self._read_page(sweep, 1)
            if sweep.is_over or sweep.last_page == 1:
                return
        if sweep.status is not None:
            self._pages = max(self._pages, sweep.last_page or 1)
        if not self._is_worth_it():
            return
        numbers = iter(range(2, (sweep.last_page or MAX_PAGES) + 1))
        is_shared = self.shared.extent(sweep.status) is not None
        async with asyncio.TaskGroup() as readers:
            for _ in range(AT_ONCE):
                readers.create_task(
                    self._read_in_turns(sweep) if is_shared else self._read_on(sweep, numbers)
                )

    async def _read_on(self, sweep: Sweep, numbers: Iterator[int]) -> None:
        """Read pages until all readers together have read the last one that is worth a call."""
        for page_no in numbers:
            has_all = sweep.status is None and sweep.shown >= len(self._requests)
            if has_all or self._is_long(sweep) or sweep.is_over:
                return
            await self._read_page(sweep, page_no)

    async def _read_in_turns(self, sweep: Sweep) -> None:
        """Read the pages whose turn it is, until all replicas together have read every page."""
        while not (sweep.is_covered or sweep.is_over or self._is_long(sweep)):
            await self._read_page(sweep, None)

    async def _read_page(self, sweep: Sweep, page_no: int | None) -> None:
        """Read a page; None: the one whose turn it is, if the sweep still needs any."""
        call = _PageCall(self._provider, self._clock, sweep.status, lambda: page_no or self._turn(sweep))
        answer = await self._lists.make(call.ask, lambda: page_no is not None or not sweep.is_covered)
        answered = self._clock.boot_seconds()
        if isinstance(answer, ProviderError):
            if answer is not NO_SLOT or not sweep.is_covered:
                sweep.failure = answer
            return
        sweep.note(call.page_no, answer, is_in_turns=page_no is None)
        read = ReadPage(
            answer,
            sweep.status,
            call.page_no == 1,
            sweep.is_last(call.page_no, answer),
            round(1000 * call.asked),
            round(1000 * answered),
        )
        numbered = NumberedPage(read, call.page_no, sweep.rows)
        self.shared.share(numbered)
        shown = await self._hints.use_page(read, self._cycle_seconds)
        self.shared.note(numbered, shown)
        sweep.cover(call.page_no, shown)

    def _turn(self, sweep: Sweep) -> int | None:
        """The page whose turn it is in the slot of the call that has begun."""
        return None if sweep.status is None else self.shared.next_page(sweep.status, sweep.last_page or 1)

    def _is_long(self, sweep: Sweep) -> bool:
        """Whether the sweep has taken longer than polling every task once."""
        return sweep.pages > self._cycle_seconds * self._limiter.share_per_second(CallKind.LIST)

    def _failed(self, failure: ProviderError, status: TaskStatus | None) -> float:
        """Note a failed sweep.

        How long after its beginning the next one begins, in seconds.
        """
        self._failures += 1
        is_refused = failure.http_status == HTTPStatus.BAD_REQUEST and status is not None
        if is_refused and self._failures > 1:
            # The first refusal may be that of the page's size, which the provider then lowers.
            self._no_filter_until = self._clock.boot_seconds() + UNFILTERED_SECONDS
        self._hints.use_schedule_alone()
        return SWEEP_SECONDS + BACKOFF.wait_ms(self._failures, 1.0, failure.retry_after_seconds) / 1000

    @property
    def _cycle_seconds(self) -> float:
        """How long it takes to poll every task once."""
        share = self._limiter.share_per_second(CallKind.QUERY)
        return max(SHORTEST_CYCLE_SECONDS, len(self._requests) / share) if share else SHORTEST_CYCLE_SECONDS

    def _is_worth_it(self) -> bool:
        """Whether a sweep of so many pages is faster than polling every task once."""
        share = self._limiter.share_per_second(CallKind.LIST)
        return share > 0 and self._pages / share <= self._cycle_seconds

    def _rest(self, took_seconds: float) -> Rest:
        share = self._limiter.share_per_second(CallKind.QUERY)
        spot_check_seconds = len(self._requests) / (SPOT_CHECK_PART * share) if share else 0.0
        rest_seconds = max(SHORTEST_REST_SECONDS, 3 * took_seconds)
        return Rest(
            unlisted_ms=round(1000 * (SWEEP_SECONDS + 2 * took_seconds)),
            listed_ms=round(1000 * rest_seconds),
            at_most_ms=round(1000 * max(SHORTEST_SPOT_CHECK_SECONDS, spot_check_seconds)),
            check_ms=round(1000 * self._cycle_seconds),
        )
