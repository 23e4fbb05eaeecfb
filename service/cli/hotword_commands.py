"""Shows the account's hotword lists, and deletes lists."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from service.app import from_settings
from service.cli.tables import aligned
from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import HotwordList, ListedHotwordList, in_utc, is_ours
from service.errors import ProviderRefused
from service.provider.api import HotwordLists, all_lists
from service.settings import Settings

T = TypeVar("T")


@asynccontextmanager
async def lists_of(settings: Settings) -> AsyncIterator[HotwordLists]:
    """The hotword lists of the configured account."""
    async with from_settings.provider_of(settings) as provider:
        yield provider.hotword_lists


async def table(lists: HotwordLists) -> list[str]:
    """A header line, then one line per list, oldest first. Raises `ProviderRefused`."""
    listed = _had(await all_lists(lists.list_page))
    ordered = sorted(listed, key=lambda each: (each.created, each.vocabulary_id))
    rows = [_row(each, _had(await lists.query(each.vocabulary_id))) for each in ordered]
    return list(aligned([("LIST", "MADE FOR", "WORDS", "CREATED", "TOUCHED", "READY", "OURS"), *rows]))


async def delete(lists: HotwordLists, ids: Sequence[str], *, foreign: bool) -> None:
    """Delete lists; those that this service did not make only with `foreign`.

    Raises `ProviderRefused`; lists before the refused one in `ids` may be deleted then.
    """
    for vocabulary_id in () if foreign else ids:
        if not is_ours(_had(await lists.query(vocabulary_id))):
            message = f"{vocabulary_id} was not made by this service; --foreign deletes it all the same"
            raise ProviderRefused(message)
    for vocabulary_id in ids:
        _had(await lists.delete(vocabulary_id))


def _row(listed: ListedHotwordList, found: HotwordList) -> tuple[str, ...]:
    return (
        listed.vocabulary_id,
        found.target_model or "?",
        str(len(found.words)),
        in_utc(listed.created),
        in_utc(listed.modified),
        "yes" if found.is_ready else "no",
        "yes" if is_ours(found) else "no",
    )


def _had(answer: T | ProviderError) -> T:
    if isinstance(answer, ProviderError):
        said = f"the provider says {answer.code}: {answer.message}"
        raise ProviderRefused(f"{said} (`scribe doctor` checks the key and the way there)")
    return answer
