"""Calls about hotword lists: each leaves in a slot of its own, or not at all."""

import math
from dataclasses import dataclass, field
from functools import partial

import pytest

from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import HotwordListPage, Need
from service.pipeline.guards.account_hold import AccountHold
from service.pipeline.guards.call_limiter import HOTWORDS_SHARE, CallKind, CallLimiter, Quota
from service.pipeline.guards.limited_calls import LONGEST_WAIT_SECONDS, LimitedCalls
from service.pipeline.hotwords.directory import HotwordListFinder
from service.provider.api import NO_SLOT, Permit
from tests.fakes.clock import FakeClock
from tests.fakes.vocabularies import PAGE_SIZE, FakeVocabularies
from tests.unit.pipeline.world import KnownTime

QUOTA = Quota(1.0, 20.0)
SPACING_SECONDS = 1 / (HOTWORDS_SHARE * QUOTA.calls_per_second)
CONNECT_SECONDS = 0.02


@dataclass
class TimedLists(FakeVocabularies):
    """Lists that note when each call leaves; a connection takes a while, and then the permit is awaited."""

    clock: FakeClock = field(default_factory=FakeClock)
    left: list[float] = field(default_factory=list)

    async def _begin(self, action: str, subject: str, permit: Permit) -> ProviderError | None:
        await self.clock.sleep(CONNECT_SECONDS)
        provider_error = await super()._begin(action, subject, permit)
        if provider_error is not NO_SLOT:
            self.left.append(self.clock.boot_seconds())
        return provider_error


@pytest.fixture
def limiter(clock: FakeClock) -> CallLimiter:
    """The limiter of a process that serves one partition, and is a member for ever."""
    limiter = CallLimiter(clock, QUOTA, KnownTime())
    limiter.proved(math.inf)
    limiter.partitioned(1)
    limiter.resumed(0)
    return limiter


async def test_every_call_about_a_list_leaves_in_a_slot_of_its_own(
    clock: FakeClock, limiter: CallLimiter
) -> None:
    """The directory of a large account has many pages, and each page is a call."""
    lists = TimedLists(clock.now_ms, most=1000, clock=clock)
    for number in range(5 * PAGE_SIZE):
        lists.add("fun-asr", f"other{number}")
    finder = HotwordListFinder(
        lists, LimitedCalls(limiter, CallKind.HOTWORDS), clock, AccountHold(clock, lambda *_: None), lambda: 0
    )
    need = Need("fun-asr", words=())
    assert isinstance(await finder.find(need), str)
    assert [action for action, _ in lists.calls] == [*["list"] * 6, "create", *["list"] * 6, "query"]
    gaps = [later - earlier for earlier, later in zip(lists.left, lists.left[1:], strict=False)]
    assert min(gaps) > 0.9 * SPACING_SECONDS


async def test_a_call_waits_for_its_slot_when_it_is_connected(clock: FakeClock, limiter: CallLimiter) -> None:
    """A slot that is taken before the connection may be over when the call leaves."""
    lists, permitted = TimedLists(clock.now_ms, clock=clock), list[float]()

    async def ask(permit: Permit) -> HotwordListPage | ProviderError:
        async def noted() -> bool:
            is_permitted = await permit()
            permitted.append(clock.boot_seconds())
            return is_permitted

        return await lists.list_page(0, noted)

    for _ in range(5):
        await LimitedCalls(limiter, CallKind.HOTWORDS).make(ask)
    assert permitted == lists.left
    assert len(permitted) == 5


async def test_a_call_without_a_slot_is_given_up_and_no_connection_is_made(
    clock: FakeClock, limiter: CallLimiter
) -> None:
    limiter.stopped(0)
    lists, begun = TimedLists(clock.now_ms, clock=clock), clock.boot_seconds()
    assert await LimitedCalls(limiter, CallKind.HOTWORDS).make(partial(lists.list_page, 0)) is NO_SLOT
    assert lists.calls == []
    assert clock.boot_seconds() - begun < LONGEST_WAIT_SECONDS + 4


async def test_a_call_whose_slot_has_passed_tries_the_next_one(limiter: CallLimiter) -> None:
    answers: list[ProviderError | str] = [NO_SLOT, NO_SLOT, "made"]

    async def ask(_permit: Permit) -> ProviderError | str:
        return answers.pop(0)

    assert await LimitedCalls(limiter, CallKind.HOTWORDS).make(ask) == "made"
    assert answers == []
