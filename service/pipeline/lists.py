"""Find the hotword list that a submit needs: by its name in the account's directory, or by making it.

It changes only lists that this service made, and says what became of it as a value.
"""

from collections.abc import Callable
from typing import TypeVar

from service.clock import Clock
from service.core import verdicts
from service.core.task import Trouble
from service.core.verdict import Action
from service.core.vocabulary import ListedVocabulary, Need, chosen, is_ours, needs_touch, unused
from service.errors import FailureCode
from service.pipeline.hold import Hold
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
        hold: Hold,
        vendor_offset_ms: Callable[[], int | None],
    ) -> None:
        self._lists = vocabularies
        self._clock = clock
        self._hold = hold
        self._vendor_offset_ms = vendor_offset_ms

    async def find(self, need: Need) -> str | Trouble:
        """The id of a list that is there, ready and made for the model."""
        if need.vocabulary_id is not None:
            return await self._checked(need, need.vocabulary_id)
        lists = await self._all()
        if isinstance(lists, Trouble):
            return lists
        listed = chosen(lists, need.prefix) or await self._make(need, lists)
        if isinstance(listed, Trouble):
            return listed
        found = await self._touched(need, listed)
        if isinstance(found, Trouble) and found.code == "NotFound":
            return Trouble(
                "vocabulary_not_ready", f"hotword list {listed.vocabulary_id} has just been deleted"
            )
        return found

    async def _touched(self, need: Need, listed: ListedVocabulary) -> str | Trouble:
        """Touch what is about to be used, so that nobody takes it for unused meanwhile."""
        if needs_touch(listed, self._vendor_ms()):
            trouble = self._judged(await self._lists.update(listed.vocabulary_id, need.words))
            if trouble is not None:
                return trouble
        return await self._checked(need, listed.vocabulary_id)

    async def _checked(self, need: Need, vocabulary_id: str) -> str | Trouble:
        """The vendor passes over a list of another model without a word: look at it before."""
        found = self._judged(await self._lists.query(vocabulary_id))
        if isinstance(found, Trouble):
            return found
        if found.target_model != need.model:
            made_for = found.target_model or "no model that it names"
            told = f"hotword list {vocabulary_id} was made for {made_for}, not for {need.model}"
            return Trouble("vocabulary_other_model", told)
        if not found.is_ready:
            return Trouble("vocabulary_not_ready", f"hotword list {vocabulary_id} is not ready for use")
        return vocabulary_id

    async def _make(self, need: Need, lists: tuple[ListedVocabulary, ...]) -> ListedVocabulary | Trouble:
        """Make the list, in the place of an unused one where there is none free."""
        made = self._judged(await self._lists.create(need.model, need.prefix, need.words))
        if isinstance(made, Trouble):
            return await self._make_room(made, lists)
        # Another replica may have made one at the same time: all take the first, and its twin is dropped
        # by who made it, before anybody used it.
        lists_now = await self._all()
        if isinstance(lists_now, Trouble):
            return lists_now
        listed = chosen(lists_now, need.prefix) or ListedVocabulary(made)
        if listed.vocabulary_id != made:
            self._judged(await self._lists.delete(made))
        return listed

    async def _make_room(self, trouble: Trouble, lists: tuple[ListedVocabulary, ...]) -> Trouble:
        """Delete a list that nobody uses, if the account is full; the next attempt finds its place.

        Somebody else's name may look like one of ours: what a list holds must be what its name says.
        """
        if verdicts.on_vocabulary(trouble).code is not FailureCode.VOCABULARY_QUOTA:
            return trouble
        for old in unused(lists, self._vendor_ms()):
            found = self._judged(await self._lists.query(old.vocabulary_id))
            if not isinstance(found, Trouble) and is_ours(found):
                self._judged(await self._lists.delete(old.vocabulary_id))
                break
        return trouble

    async def _all(self) -> tuple[ListedVocabulary, ...] | Trouble:
        return self._judged(await self._lists.list_all())

    def _judged(self, answer: T) -> T:
        """A dead key holds, and a key that is taken again ends that; all else says nothing of the account."""
        if isinstance(answer, Trouble):
            is_of_key = verdicts.on_vocabulary(answer).action is Action.HOLD
        else:
            is_of_key = self._hold.code in verdicts.DEAD_KEY
        if is_of_key:
            self._hold.judge_look(answer)
        return answer

    def _vendor_ms(self) -> int:
        return self._clock.now_ms() + (self._vendor_offset_ms() or 0)
