"""Find the hotword list that a submit needs by its name in the account's directory, or create it.

It changes only lists that this service made; errors are returned, not raised.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from service.clock import Clock
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action
from service.core.provider.hotword_lists import ListedHotwordList, Need, chosen, is_ours, needs_touch, unused
from service.core.provider.own_codes import OwnCode
from service.errors import FailureCode
from service.pipeline.guards.account_hold import AccountHold
from service.pipeline.guards.limited_calls import LimitedCalls
from service.provider.api import HotwordLists, Permit, all_lists

T = TypeVar("T")


class HotwordListFinder:
    """Finds one list at a time.

    `vendor_offset_ms` returns how far the vendor's clock is ahead of ours; None while that is unknown.
    """

    def __init__(
        self,
        hotword_lists: HotwordLists,
        limited_calls: LimitedCalls,
        clock: Clock,
        hold: AccountHold,
        vendor_offset_ms: Callable[[], int | None],
    ) -> None:
        self._lists = hotword_lists
        self._limited_calls = limited_calls
        self._clock = clock
        self._hold = hold
        self._vendor_offset_ms = vendor_offset_ms

    async def find(self, need: Need) -> str | ProviderError:
        """The id of a list that exists, is ready, and was made for the model."""
        if need.vocabulary_id is not None:
            return await self._checked(need, need.vocabulary_id)
        lists = await self._all()
        if isinstance(lists, ProviderError):
            return lists
        listed = chosen(lists, need.prefix) or await self._make(need, lists)
        if isinstance(listed, ProviderError):
            return listed
        found = await self._touched(need, listed)
        if isinstance(found, ProviderError) and found.code == "NotFound":
            return ProviderError(
                OwnCode.VOCABULARY_NOT_READY, f"hotword list {listed.vocabulary_id} has just been deleted"
            )
        return found

    async def _touched(self, need: Need, listed: ListedHotwordList) -> str | ProviderError:
        """Touch a list before its use, so that no process deletes it as unused."""
        if needs_touch(listed, self._vendor_ms()):
            provider_error = await self._call(partial(self._lists.update, listed.vocabulary_id, need.words))
            if provider_error is not None:
                return provider_error
        return await self._checked(need, listed.vocabulary_id)

    async def _checked(self, need: Need, vocabulary_id: str) -> str | ProviderError:
        """Check the list before its use: the vendor silently ignores a list made for another model."""
        found = await self._call(partial(self._lists.query, vocabulary_id))
        if isinstance(found, ProviderError):
            return found
        if found.target_model != need.model:
            made_for = found.target_model or "no model that it names"
            message = f"hotword list {vocabulary_id} was made for {made_for}, not for {need.model}"
            return ProviderError(OwnCode.VOCABULARY_OTHER_MODEL, message)
        if not found.is_ready:
            return ProviderError(
                OwnCode.VOCABULARY_NOT_READY, f"hotword list {vocabulary_id} is not ready for use"
            )
        return vocabulary_id

    async def _make(
        self, need: Need, lists: tuple[ListedHotwordList, ...]
    ) -> ListedHotwordList | ProviderError:
        """Create the list.

        If the account is full, delete an unused list for the next attempt.
        """
        made = await self._call(partial(self._lists.create, need.model, need.prefix, need.words))
        if isinstance(made, ProviderError):
            return await self._make_room(made, lists)
        # Another replica may have made the list at the same time. All use the first one, and each replica
        # deletes its own duplicate before it is used.
        lists_now = await self._all()
        if isinstance(lists_now, ProviderError):
            return lists_now
        listed = chosen(lists_now, need.prefix) or ListedHotwordList(made)
        if listed.vocabulary_id != made:
            await self._call(partial(self._lists.delete, made))
        return listed

    async def _make_room(
        self, provider_error: ProviderError, lists: tuple[ListedHotwordList, ...]
    ) -> ProviderError:
        """Delete an unused list if the account is full.

        The next attempt uses the free place.

        A foreign list's name may look like one of ours, so the list's words must match its name.
        """
        if error_table.on_hotword_list(provider_error).code is not FailureCode.VOCABULARY_QUOTA:
            return provider_error
        for old in unused(lists, self._vendor_ms()):
            found = await self._call(partial(self._lists.query, old.vocabulary_id))
            if not isinstance(found, ProviderError) and is_ours(found):
                await self._call(partial(self._lists.delete, old.vocabulary_id))
                break
        return provider_error

    async def _all(self) -> tuple[ListedHotwordList, ...] | ProviderError:
        return await all_lists(lambda page_index: self._call(partial(self._lists.list_page, page_index)))

    async def _call(self, ask: Callable[[Permit], Awaitable[T | ProviderError]]) -> T | ProviderError:
        """Make one call in a slot of its own, and judge the key by its answer."""
        return self._judged(await self._limited_calls.make(ask))

    def _judged(self, answer: T) -> T:
        """A dead key begins a hold and a working key ends it.

        Other answers say nothing of the account.
        """
        if isinstance(answer, ProviderError):
            is_of_key = error_table.on_hotword_list(answer).action is Action.HOLD
        else:
            is_of_key = self._hold.code in error_table.DEAD_KEY
        if is_of_key:
            self._hold.judge_poll(answer)
        return answer

    def _vendor_ms(self) -> int:
        return self._clock.now_ms() + (self._vendor_offset_ms() or 0)
