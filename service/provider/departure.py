"""Let a request leave only with its permit and in time, and record when it left."""

from collections.abc import Callable

from service.provider.api import Permit


class Departure:
    """The permit of one submit: refuses it if it is late; records whether a byte may have left, and when."""

    def __init__(self, now_seconds: Callable[[], float], latest: float, permit: Permit) -> None:
        self._now_seconds = now_seconds
        self._latest = latest
        self._permit = permit
        self.asked_at = now_seconds()
        self.has_begun = False
        self.is_too_late = False

    async def __call__(self) -> bool:
        # The machine may sleep while we connect; another owner may have taken the job over meanwhile.
        self.is_too_late = not await self._permit() or self._now_seconds() >= self._latest
        self.has_begun = not self.is_too_late
        self.asked_at = self._now_seconds()
        return self.has_begun


class TimedPermit:
    """A call's permit that records when the call left."""

    def __init__(self, now_seconds: Callable[[], float], permit: Permit) -> None:
        self._now_seconds = now_seconds
        self._permit = permit
        self.asked_at = now_seconds()

    async def __call__(self) -> bool:
        is_permitted = await self._permit()
        self.asked_at = self._now_seconds()
        return is_permitted
