"""Shared pages: write what a page of the list showed, and use what other replicas wrote.

Each replica reads the page whose turn it is (`core.polling.page_turns`), so that all of them together make
one sweep. A page of another replica is a hint like an own one, under a trust of its own. While none arrives,
or they mislead, the list is read alone. A process that has all partitions writes none.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from service.core.polling.list_trust import PageSource
from service.core.polling.listed_tasks import ReadPage
from service.core.polling.page_turns import Extent, PageTurns
from service.core.polling.shared_page import SharedPage, decode_page, encode_page
from service.core.provider.answers import TaskStatus
from service.pipeline.guards.call_limiter import CallKind, CallLimiter
from service.pipeline.polling.list_hints import ListHints
from service.pipeline.shard.observer import ListObserver, PageResult

MAX_AGE_SECONDS = 5.0
"""A page that was asked for earlier is not used: the topic lags."""


class NumberedPage(NamedTuple):
    """A page with its number, where `size` is the number of rows of the first one."""

    read: ReadPage
    page_no: int
    size: int


class SharedPages:
    """Writes and receives pages of the list; `send` must not wait."""

    def __init__(
        self,
        limiter: CallLimiter,
        hints: ListHints,
        observer: ListObserver,
        sender: str,
        send: Callable[[bytes], None],
    ) -> None:
        self._limiter = limiter
        self._hints = hints
        self._observer = observer
        self._sender = sender
        """Unlike that of any other process."""
        self._send = send
        self._turns = {status: PageTurns() for status in (TaskStatus.RUNNING, TaskStatus.PENDING)}

    def is_wanted(self) -> bool:
        """Whether other replicas may serve partitions too."""
        share = self._limiter.share
        return bool(share.served) and not share.is_alone(self._now)

    def extent(self, status: TaskStatus | None) -> Extent | None:
        """How long the list is; None if it is to be read alone, or from its first page on."""
        turns = self._turns.get(status) if status else None
        is_shared = turns is not None and self._hints.is_trusted(PageSource.SHARED)
        return turns.extent(self._now) if turns is not None and is_shared else None

    def next_page(self, status: TaskStatus, pages: int) -> int | None:
        """The page that the call begun last reads; None if it is not to be made."""
        clock = self._limiter.clock
        return self._turns[status].next_page(
            self._limiter.slot_number(CallKind.LIST), pages, self._now, clock.draw()
        )

    def recent(self, status: TaskStatus, within_seconds: float) -> Mapping[int, int]:
        """The pages that were read just now, by anyone, with the number of tasks of ours in each."""
        return self._turns[status].shown_since(self._now - within_seconds)

    def note(self, page: NumberedPage, shown: int) -> None:
        """A page that was read, by us or another replica, showed so many tasks of ours."""
        turns = self._turns.get(page.read.status) if page.read.status else None
        if turns is not None:
            turns.read(page.page_no, min(self._now, page.read.asked_ms / 1000), shown)

    def share(self, page: NumberedPage) -> None:
        """Write a page that was read here, for the others."""
        self._observer.list_page(PageResult.OWN)
        read, status = page.read, page.read.status
        if status not in self._turns or not self.is_wanted():
            return
        rows = len(read.page.tasks) + len(read.page.unreadable)
        self._turns[status].note_own_answer(page.page_no, rows, read.page.total, read.asked_ms / 1000)
        clock = self._limiter.share.read(self._limiter.now())
        ahead_ms = round(1000 * clock.offset_seconds)
        shared = SharedPage(
            self._sender,
            status,
            page.page_no,
            page.size,
            read.page,
            read.asked_ms + ahead_ms,
            read.answered_ms + ahead_ms,
            math.ceil(1000 * clock.error_seconds),
        )
        try:
            self._send(encode_page(shared))
        except ValueError:
            # Without a total, or far larger than any list of the vendor: each replica reads it alone.
            return

    def receive(self, value: bytes | None) -> NumberedPage | None:
        """The page that another replica wrote; None if it is not to be used."""
        try:
            shared = decode_page(value)
        except ValueError:
            self._observer.list_page(PageResult.UNUSED)
            return None
        if shared.sender == self._sender:
            return None
        received = self._placed(shared)
        is_used = received is not None and self._hints.is_trusted(PageSource.SHARED)
        self._observer.list_page(PageResult.SHARED if is_used else PageResult.UNUSED)
        return received if is_used else None

    def _placed(self, shared: SharedPage) -> NumberedPage | None:
        """The page with the times of our own clock; None if it is too old, or of the future.

        The page was made within the times of the result, whatever the errors of both clocks.
        """
        clock, now = self._limiter.share.read(self._limiter.now()), self._now
        slack = clock.error_seconds + shared.error_ms / 1000
        asked_at = shared.asked_ms / 1000 - clock.offset_seconds
        answered_at = shared.answered_ms / 1000 - clock.offset_seconds
        if asked_at < now - MAX_AGE_SECONDS or answered_at > now + slack:
            return None
        self._turns[shared.status].note_shared_page(min(now, asked_at))
        rows = len(shared.page.tasks) + len(shared.page.unreadable)
        is_last = (shared.page_no - 1) * shared.size + rows >= (shared.page.total or 0)
        read = ReadPage(
            shared.page,
            shared.status,
            shared.page_no == 1,
            is_last,
            round(1000 * (asked_at - slack)),
            round(1000 * (answered_at + slack)),
            PageSource.SHARED,
        )
        return NumberedPage(read, shared.page_no, shared.size)

    @property
    def _now(self) -> float:
        return self._limiter.clock.boot_seconds()
