"""The border around one answer of the provider: a fault of ours makes it one that did not come."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.core.provider.answers import ProviderError

T = TypeVar("T")
UNREAD = ProviderError("connection_lost", "the answer was lost to a fault of Scribe itself")


async def answer_of(call: Awaitable[T], instead: T, report: Callable[[Exception], None]) -> T:
    """What the call comes to; `instead`, and a report, where reading its answer raises."""
    try:
        return await call
    # The border of one provider answer.
    except Exception as error:
        report(error)
        return instead
