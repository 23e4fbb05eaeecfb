"""Hotword list calls within their share of the account's quota: each waits for a slot of its own."""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TypeVar

from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import ListedVocabulary, Vocabulary, VocabularyWord
from service.pipeline.admission.call_limiter import CallLimiter, Kind
from service.provider.api import NO_SLOT, Vocabularies

T = TypeVar("T")
LONGEST_WAIT_SECONDS = 30.0
"""A call without a slot for this long is given up, and the caller tries again."""


class LimitedVocabularies:
    """Hotword list calls in slots; these calls are few, so a slot may pass before the connection is made."""

    def __init__(self, vocabularies: Vocabularies, limiter: CallLimiter) -> None:
        self._lists = vocabularies
        self._limiter = limiter

    async def list_all(self) -> tuple[ListedVocabulary, ...] | ProviderError:
        """As the port says."""
        return await self._in_turn(self._lists.list_all)

    async def query(self, vocabulary_id: str) -> Vocabulary | ProviderError:
        """As the port says."""
        return await self._in_turn(partial(self._lists.query, vocabulary_id))

    async def create(self, model: str, prefix: str, words: Sequence[VocabularyWord]) -> str | ProviderError:
        """As the port says."""
        return await self._in_turn(partial(self._lists.create, model, prefix, words))

    async def update(self, vocabulary_id: str, words: Sequence[VocabularyWord]) -> ProviderError | None:
        """As the port says."""
        return await self._in_turn(partial(self._lists.update, vocabulary_id, words))

    async def delete(self, vocabulary_id: str) -> ProviderError | None:
        """As the port says."""
        return await self._in_turn(partial(self._lists.delete, vocabulary_id))

    async def _in_turn(
        self, ask: Callable[[], Coroutine[None, None, T | ProviderError]]
    ) -> T | ProviderError:
        clock = self._limiter.clock
        latest = clock.boot_seconds() + LONGEST_WAIT_SECONDS
        while clock.boot_seconds() < latest:
            await clock.sleep(min(1.0, self._limiter.wait_seconds(Kind.HOTWORDS)))
            with self._limiter.begin(Kind.HOTWORDS) as call:
                if await call.depart():
                    return await ask()
        return NO_SLOT
