"""The boundary around one provider answer: a fault of Scribe itself counts as no answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode

T = TypeVar("T")
UNREAD = ProviderError(OwnCode.CONNECTION_LOST, "the answer was lost to a fault of Scribe itself")


async def answer_of(call: Awaitable[T], instead: T, report: Callable[[Exception], None]) -> T:
    """The call's answer; if reading it raises, report the error and return `instead`."""
    try:
        return await call
    # The boundary of one provider answer.
    except Exception as error:
        report(error)
        return instead
