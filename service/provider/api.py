"""The provider port: the calls that the pipeline makes to a speech-to-text provider.

Implementations translate wire answers into `core.provider.answers` facts. They raise only
`asyncio.CancelledError`: every error is a value, so that `core/` decides.
The caller limits rates: an implementation awaits the permit that it is given when it is ready to write the
first byte, and sends nothing without it. It never repeats a call of which a byte may have left.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from service.core.provider.answers import ProviderError, SubmitAnswer, TaskPage, TaskStatus, TaskView
from service.core.provider.hotword_lists import (
    HotwordList,
    HotwordListEntry,
    HotwordListPage,
    ListedHotwordList,
)
from service.core.provider.own_codes import OwnCode

Permit = Callable[[], Awaitable[bool]]
"""Waits until a call may leave; False when it must not. Awaited once, after the connection is made; the first
byte is written right after it."""
NO_SLOT = ProviderError(OwnCode.NO_SLOT, "no slot of the account's quota came in time: the call was not made")
"""The answer of a call whose permit was refused; a submit is `NotSent`."""
MAX_HOTWORD_LIST_PAGES = 100
"""A thousand lists; a directory with more pages never ends."""


async def at_once() -> bool:
    """The permit of an unlimited call."""
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
        """Submit these files: the answer is one task, or the transcript of a synchronous model.

        Billed when `Accepted` or `Answered`, perhaps billed when `Lost`.

        `options` are the validated options of a request in the contract's form (vendor's names;
        `special_word_filter` an object); the implementation encodes them. Its total time is bounded,
        so that it always returns an answer or `Lost`.
        """
        ...

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """Poll a task once."""
        ...

    async def list_tasks(
        self, page_no: int, permit: Permit = at_once, status: TaskStatus | None = None
    ) -> TaskPage | ProviderError:
        """One page, from 1, of the account's tasks of the last day.

        The page after the last is empty.

        With a status, only tasks in this state; the caller checks whether the vendor applies it.
        """
        ...

    def clock_offset_ms(self) -> int | None:
        """How far the vendor's clock is ahead of ours; None before the first answer.

        `VendorClock` says how exact it is."""
        ...

    async def cancel(self, task_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Ask the provider to drop a pending task; None when it agreed."""
        ...

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """Download a result file without credentials, within the fetch guard's limits.

        A file over `max_bytes` is the error `fetch_too_large`, and no more than that is held.
        """
        ...


class HotwordLists(Protocol):
    """The account's hotword lists.

    They cost nothing, and their number is small. Each method is one call.
    """

    async def list_page(self, page_index: int, permit: Permit = at_once) -> HotwordListPage | ProviderError:
        """One page, from 0, of every list of the account, also those that Scribe did not make."""
        ...

    async def query(self, vocabulary_id: str, permit: Permit = at_once) -> HotwordList | ProviderError:
        """Read one list; the vendor's error has the code `NotFound` if there is none."""
        ...

    async def create(
        self, model: str, prefix: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> str | ProviderError:
        """Make a list for exactly this model; returns its id, which contains the prefix."""
        ...

    async def update(
        self, vocabulary_id: str, words: Sequence[HotwordListEntry], permit: Permit = at_once
    ) -> ProviderError | None:
        """Replace the words of a list; None when it was done."""
        ...

    async def delete(self, vocabulary_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Delete a list; None when it was done."""
        ...


async def all_lists(
    list_page: Callable[[int], Awaitable[HotwordListPage | ProviderError]],
) -> tuple[ListedHotwordList, ...] | ProviderError:
    """Every list of the account, page by page."""
    found: list[ListedHotwordList] = []
    for page_index in range(MAX_HOTWORD_LIST_PAGES):
        page = await list_page(page_index)
        if isinstance(page, ProviderError):
            return page
        found += page.lists
        if page.is_last:
            break
    return tuple(found)
