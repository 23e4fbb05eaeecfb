"""Let a call leave only with its permit and in time, and record when it left."""

import math
from collections.abc import Callable

from service.provider.api import Permit


class Departure:
    """The permit of one call, which also refuses it from `latest` on.

    It records whether a byte may have left, and when.
    """

    def __init__(self, now_seconds: Callable[[], float], permit: Permit, latest: float = math.inf) -> None:
        self._now_seconds = now_seconds
        self._permit = permit
        self._latest = latest
        self.asked_at = now_seconds()
        self.has_begun = False
        self.is_too_late = False

    async def __call__(self) -> bool:
        # The machine may sleep while we connect; another owner may have taken the job over meanwhile.
        is_permitted = await self._permit()
        self.asked_at = self._now_seconds()
        self.has_begun = is_permitted and self.asked_at < self._latest
        self.is_too_late = not self.has_begun
        return self.has_begun
