"""The provider port: what the pipeline may ask of a speech-to-text provider.

Implementations translate wire answers into `core.provider.answers` facts. They raise nothing but
`asyncio.CancelledError`: every error is a value, so that deciding stays in `core/`.
Budgets are the caller's: an implementation awaits the permit that it is given, when all is ready for the
first byte, and sends nothing without it. It never retries.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from service.core.provider.answers import ProviderError, SubmitAnswer, TaskPage, TaskView
from service.core.provider.hotword_lists import ListedVocabulary, Vocabulary, VocabularyWord

Permit = Callable[[], Awaitable[bool]]
"""Waits until a call may leave; False when it must not. Awaited once, between the connection and the first
byte, which is written at once."""
NO_SLOT = ProviderError("no_slot", "no slot of the account's quota came in time: the call was not made")
"""The answer of a query, list or cancel whose permit was refused; a submit is `NotSent`."""


async def at_once() -> bool:
    """The permit of a call that nobody limits."""
    return True


class Provider(Protocol):
    """One account of one provider."""

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        """Ask for the work on these files: one task, or of a synchronous model the transcript at once.

        Billed when `Accepted` or `Answered`, perhaps billed when `Lost`.

        `options` are the validated options of a request in the contract's form (vendor's names;
        `special_word_filter` an object); wire encoding is the implementation's work. Bounded in total
        time, so that an answer or `Lost` always comes.
        """
        ...

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """Look at a task once."""
        ...

    async def list_tasks(self, page_no: int, permit: Permit = at_once) -> TaskPage | ProviderError:
        """One page, from 1, of all the account's tasks of the last day; the page behind the last is empty."""
        ...

    def clock_offset_ms(self) -> int | None:
        """How far the vendor's clock is ahead of ours, give or take 1.5 s; None before any answer came."""
        ...

    async def cancel(self, task_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Ask the provider to drop a pending task; None when it agreed."""
        ...

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """Download a result file without credentials, within the fetch guard's limits.

        One of more than `max_bytes` is the error `fetch_too_large`, and no more of it is held.
        """
        ...


class Vocabularies(Protocol):
    """The account's hotword lists; they cost nothing, and their number is small."""

    async def list_all(self) -> tuple[ListedVocabulary, ...] | ProviderError:
        """Every list, other people's too."""
        ...

    async def query(self, vocabulary_id: str) -> Vocabulary | ProviderError:
        """Look at a list once; `NotFound` where there is none."""
        ...

    async def create(self, model: str, prefix: str, words: Sequence[VocabularyWord]) -> str | ProviderError:
        """Make a list for exactly this model; its id, which holds the prefix."""
        ...

    async def update(self, vocabulary_id: str, words: Sequence[VocabularyWord]) -> ProviderError | None:
        """Replace the words of a list; None when it was done."""
        ...

    async def delete(self, vocabulary_id: str) -> ProviderError | None:
        """Delete a list; None when it was done."""
        ...
