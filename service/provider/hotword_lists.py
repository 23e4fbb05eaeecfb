"""The account's hotword lists over HTTP: makes calls and returns their results as facts."""

from collections.abc import Awaitable, Callable, Sequence

from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import ListedVocabulary, Vocabulary, VocabularyWord
from service.provider.wire import hotword_lists
from service.provider.wire.answers import Answer

MAX_PAGES = 100
"""A thousand lists; more pages than that never end."""

Ask = Callable[[bytes], Awaitable[Answer | ProviderError]]
"""One POST to the hotword endpoint, bounded in time."""


class HotwordLists:
    """The `Vocabularies` port on DashScope's HTTP API."""

    def __init__(self, ask: Ask, host: str) -> None:
        self._ask = ask
        self._host = host

    async def list_all(self) -> tuple[ListedVocabulary, ...] | ProviderError:
        """Every list of the account, also those that Scribe did not make; page by page."""
        found: list[ListedVocabulary] = []
        for page_index in range(MAX_PAGES):
            asked = hotword_lists.body(
                "list_vocabulary", page_index=page_index, page_size=hotword_lists.PAGE_SIZE
            )
            answer = await self._ask(asked)
            page = (
                answer if isinstance(answer, ProviderError) else hotword_lists.read_page(answer, self._host)
            )
            if isinstance(page, ProviderError):
                return page
            found += page
            if len(page) < hotword_lists.PAGE_SIZE:
                break
        return tuple(found)

    async def query(self, vocabulary_id: str) -> Vocabulary | ProviderError:
        """One list."""
        answer = await self._ask(hotword_lists.body("query_vocabulary", vocabulary_id=vocabulary_id))
        if isinstance(answer, ProviderError):
            return answer
        return hotword_lists.read_vocabulary(answer, vocabulary_id, self._host)

    async def create(self, model: str, prefix: str, words: Sequence[VocabularyWord]) -> str | ProviderError:
        """Make a list; returns its id. If the answer is lost, the list may exist all the same."""
        on_wire = hotword_lists.words_on_wire(words)
        answer = await self._ask(
            hotword_lists.body("create_vocabulary", target_model=model, prefix=prefix, vocabulary=on_wire)
        )
        return answer if isinstance(answer, ProviderError) else hotword_lists.read_created(answer, self._host)

    async def update(self, vocabulary_id: str, words: Sequence[VocabularyWord]) -> ProviderError | None:
        """Replace the words of a list."""
        on_wire = hotword_lists.words_on_wire(words)
        answer = await self._ask(
            hotword_lists.body("update_vocabulary", vocabulary_id=vocabulary_id, vocabulary=on_wire)
        )
        return answer if isinstance(answer, ProviderError) else hotword_lists.read_done(answer, self._host)

    async def delete(self, vocabulary_id: str) -> ProviderError | None:
        """Delete a list."""
        answer = await self._ask(hotword_lists.body("delete_vocabulary", vocabulary_id=vocabulary_id))
        return answer if isinstance(answer, ProviderError) else hotword_lists.read_done(answer, self._host)
