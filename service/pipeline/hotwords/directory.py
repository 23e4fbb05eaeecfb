"""Find the hotword list that a submit needs: by its name in the account's directory, or by making it.

It changes only lists that this service made, and says what became of it as a value.
"""

from collections.abc import Callable
from typing import TypeVar

from service.clock import Clock
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action
from service.core.provider.hotword_lists import ListedVocabulary, Need, chosen, is_ours, needs_touch, unused
from service.errors import FailureCode
from service.pipeline.admission.account_hold import AccountHold
from service.provider.api import Vocabularies

T = TypeVar("T")


class ListFinder:
    """Finds one list at a time.

    `vendor_offset_ms` says how far the vendor's clock is ahead of ours, None while nobody knows.
    """

    def __init__(
        self,
        vocabularies: Vocabularies,
        clock: Clock,
        hold: AccountHold,
        vendor_offset_ms: Callable[[], int | None],
    ) -> None:
        self._lists = vocabularies
        self._clock = clock
        self._hold = hold
        self._vendor_offset_ms = vendor_offset_ms

    async def find(self, need: Need) -> str | ProviderError:
        """The id of a list that is there, ready and made for the model."""
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
                "vocabulary_not_ready", f"hotword list {listed.vocabulary_id} has just been deleted"
            )
        return found

    async def _touched(self, need: Need, listed: ListedVocabulary) -> str | ProviderError:
        """Touch what is about to be used, so that nobody takes it for unused meanwhile."""
        if needs_touch(listed, self._vendor_ms()):
            provider_error = self._judged(await self._lists.update(listed.vocabulary_id, need.words))
            if provider_error is not None:
                return provider_error
        return await self._checked(need, listed.vocabulary_id)

    async def _checked(self, need: Need, vocabulary_id: str) -> str | ProviderError:
        """The vendor passes over a list of another model without a word: look at it before."""
        found = self._judged(await self._lists.query(vocabulary_id))
        if isinstance(found, ProviderError):
            return found
        if found.target_model != need.model:
            made_for = found.target_model or "no model that it names"
            told = f"hotword list {vocabulary_id} was made for {made_for}, not for {need.model}"
            return ProviderError("vocabulary_other_model", told)
        if not found.is_ready:
            return ProviderError("vocabulary_not_ready", f"hotword list {vocabulary_id} is not ready for use")
        return vocabulary_id

    async def _make(
        self, need: Need, lists: tuple[ListedVocabulary, ...]
    ) -> ListedVocabulary | ProviderError:
        """Make the list, in the place of an unused one where there is none free."""
        made = self._judged(await self._lists.create(need.model, need.prefix, need.words))
        if isinstance(made, ProviderError):
            return await self._make_room(made, lists)
        # Another replica may have made one at the same time: all take the first, and its duplicate is dropped
        # by who made it, before anybody used it.
        lists_now = await self._all()
        if isinstance(lists_now, ProviderError):
            return lists_now
        listed = chosen(lists_now, need.prefix) or ListedVocabulary(made)
        if listed.vocabulary_id != made:
            self._judged(await self._lists.delete(made))
        return listed

    async def _make_room(
        self, provider_error: ProviderError, lists: tuple[ListedVocabulary, ...]
    ) -> ProviderError:
        """Delete a list that nobody uses, if the account is full; the next attempt finds its place.

        Somebody else's name may look like one of ours: what a list holds must be what its name says.
        """
        if error_table.on_vocabulary(provider_error).code is not FailureCode.VOCABULARY_QUOTA:
            return provider_error
        for old in unused(lists, self._vendor_ms()):
            found = self._judged(await self._lists.query(old.vocabulary_id))
            if not isinstance(found, ProviderError) and is_ours(found):
                self._judged(await self._lists.delete(old.vocabulary_id))
                break
        return provider_error

    async def _all(self) -> tuple[ListedVocabulary, ...] | ProviderError:
        return self._judged(await self._lists.list_all())

    def _judged(self, answer: T) -> T:
        """A dead key holds, and a key that is taken again ends that; all else says nothing of the account."""
        if isinstance(answer, ProviderError):
            is_of_key = error_table.on_vocabulary(answer).action is Action.HOLD
        else:
            is_of_key = self._hold.code in error_table.DEAD_KEY
        if is_of_key:
            self._hold.judge_poll(answer)
        return answer

    def _vendor_ms(self) -> int:
        return self._clock.now_ms() + (self._vendor_offset_ms() or 0)
