"""The account's hotword lists over HTTP: makes calls and returns their results as facts."""

from collections.abc import Awaitable, Callable, Sequence

from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import HotwordList, HotwordListEntry, HotwordListPage
from service.provider.api import Permit, at_once
from service.provider.wire import hotword_actions
from service.provider.wire.answer_fields import HttpAnswer

Ask = Callable[[bytes, Permit], Awaitable[HttpAnswer | ProviderError]]
"""Sends one POST to the hotword endpoint once the permit is given; bounded in time."""


class DashScopeHotwordLists:
    """The `HotwordLists` port on DashScope's HTTP API."""

    def __init__(self, ask: Ask, host: str) -> None:
        self._ask = ask
        self._host = host

    async def list_page(self, page_index: int, permit: Permit = at_once) -> HotwordListPage | ProviderError:
        """One page, from 0, of every list of the account."""
        size = hotword_actions.PAGE_SIZE
        asked = hotword_actions.body("list_vocabulary", page_index=page_index, page_size=size)
        answer = await self._ask(asked, permit)
        return answer if isinstance(answer, ProviderError) else hotword_actions.read_page(answer, self._host)

    async def query(self, vocabulary_id: str, permit: Permit = at_once) -> HotwordList | ProviderError:
        """One list."""
        answer = await self._ask(
            hotword_actions.body("query_vocabulary", vocabulary_id=vocabulary_id), permit
        )
        if isinstance(answer, ProviderError):
            return answer
        return hotword_actions.read_hotword_list(answer, vocabulary_id, self._host)

    async def create(
        self, model: str, prefix: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> str | ProviderError:
        """Make a list; returns its id.

        If the answer is lost, the list may exist all the same.
        """
        on_wire = hotword_actions.words_on_wire(words)
        asked = hotword_actions.body(
            "create_vocabulary", target_model=model, prefix=prefix, vocabulary=on_wire
        )
        answer = await self._ask(asked, permit)
        return (
            answer if isinstance(answer, ProviderError) else hotword_actions.read_created(answer, self._host)
        )

    async def update(
        self, vocabulary_id: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> ProviderError | None:
        """Replace the words of a list."""
        on_wire = hotword_actions.words_on_wire(words)
        asked = hotword_actions.body("update_vocabulary", vocabulary_id=vocabulary_id, vocabulary=on_wire)
        answer = await self._ask(asked, permit)
        return answer if isinstance(answer, ProviderError) else hotword_actions.read_done(answer, self._host)

    async def delete(self, vocabulary_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Delete a list."""
        answer = await self._ask(
            hotword_actions.body("delete_vocabulary", vocabulary_id=vocabulary_id), permit
        )
        return answer if isinstance(answer, ProviderError) else hotword_actions.read_done(answer, self._host)
