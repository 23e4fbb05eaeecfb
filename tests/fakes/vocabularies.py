"""Hotword lists in memory: they do what the port `HotwordLists` promises, and go wrong on demand.

The contract suite runs on them and on `DashScopeHotwordLists` alike.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import (
    ZONE_SECONDS,
    HotwordList,
    HotwordListEntry,
    HotwordListPage,
    ListedHotwordList,
)
from service.provider.api import NO_SLOT, Permit, at_once

NO_LIST = ProviderError("NotFound", "The vocabulary does not exist.", 404)
FULL = ProviderError("Throttling.AllocationQuota", "Too many vocabularies.", 400)
LISTS = 10
PAGE_SIZE = 10


@dataclass
class FakeVocabularies:
    """Scripted beforehand, read afterwards.

    `lists` are those of the account, `calls` the (action, id) of every call in order. An entry of
    `provider_errors` takes the next call, whatever it asks; with `hides` the directory shows no list made
    since.
    """

    now_ms: Callable[[], int] = lambda: 0
    most: int = LISTS
    lists: dict[str, tuple[ListedHotwordList, HotwordList]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    provider_errors: deque[ProviderError] = field(default_factory=deque)
    hides: bool = False
    before_create: Callable[[], object] = lambda: None
    """What happens at the provider just before a list is made."""
    guards: asyncio.Event = field(default_factory=asyncio.Event)
    made: int = 0
    _shown: tuple[ListedHotwordList, ...] = ()

    def __post_init__(self) -> None:
        self.guards.set()

    async def list_page(self, page_index: int, permit: Permit = at_once) -> HotwordListPage | ProviderError:
        """A page of all of them, the newest first."""
        provider_error = await self._begin("list", "", permit)
        if not self.hides:
            self._shown = tuple(listed for listed, _ in reversed(self.lists.values()))
        rows = self._shown[page_index * PAGE_SIZE : (page_index + 1) * PAGE_SIZE]
        return provider_error or HotwordListPage(rows, is_last=len(rows) < PAGE_SIZE)

    async def query(self, vocabulary_id: str, permit: Permit = at_once) -> HotwordList | ProviderError:
        """The list with its words."""
        provider_error = await self._begin("query", vocabulary_id, permit)
        if provider_error or vocabulary_id not in self.lists:
            return provider_error or NO_LIST
        return self.lists[vocabulary_id][1]

    async def create(
        self, model: str, prefix: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> str | ProviderError:
        """A new list, unless the account is full."""
        self.before_create()
        provider_error = await self._begin("create", prefix, permit)
        if provider_error or len(self.lists) >= self.most:
            return provider_error or FULL
        return self.add(model, prefix, words)

    async def update(
        self, vocabulary_id: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> ProviderError | None:
        """New words, and a new time."""
        provider_error = await self._begin("update", vocabulary_id, permit)
        if provider_error or vocabulary_id not in self.lists:
            return provider_error or NO_LIST
        listed, found = self.lists[vocabulary_id]
        self.lists[vocabulary_id] = (
            replace(listed, modified=self._time(0.0)),
            replace(found, words=tuple(words)),
        )
        return None

    async def delete(self, vocabulary_id: str, permit: Permit = at_once) -> ProviderError | None:
        """One less."""
        provider_error = await self._begin("delete", vocabulary_id, permit)
        if provider_error or vocabulary_id not in self.lists:
            return provider_error or NO_LIST
        del self.lists[vocabulary_id]
        return None

    def add(
        self,
        model: str,
        prefix: str,
        words: Sequence[HotwordListEntry] = (),
        *,
        age_hours: float = 0.0,
        is_ready: bool = True,
    ) -> str:
        """A list that is there; its id."""
        self.made += 1
        vocabulary_id = f"vocab-{prefix}-{self.made:08x}"
        time = self._time(age_hours)
        listed = ListedHotwordList(vocabulary_id, time, time)
        self.lists[vocabulary_id] = (listed, HotwordList(vocabulary_id, model, is_ready, tuple(words)))
        return vocabulary_id

    def count(self, action: str) -> int:
        """How many calls of a kind there were."""
        return sum(called == action for called, _ in self.calls)

    async def _begin(self, action: str, subject: str, permit: Permit) -> ProviderError | None:
        if not await permit():
            return NO_SLOT
        self.calls.append((action, subject))
        await self.guards.wait()
        return self.provider_errors.popleft() if self.provider_errors else None

    def _time(self, age_hours: float) -> str:
        seconds = self.now_ms() / 1000 + ZONE_SECONDS - 3600 * age_hours
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
