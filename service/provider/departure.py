"""Let a request leave only with its permit and in time, and record when it left."""

from collections.abc import Callable, Mapping

from service.provider.api import Permit


class Departure:
    """Observes one submit leave: records whether a byte may have left.

    Stops it if late or not permitted.

    httpcore reports each stage of a request before it begins (its `trace` extension); the stages before
    the request itself are named `connection.*`.
    """

    def __init__(self, now_seconds: Callable[[], float], latest: float, permit: Permit) -> None:
        self._now_seconds = now_seconds
        self._latest = latest
        self._permit = permit
        self.asked_at = now_seconds()
        self.has_begun = False
        self.is_too_late = False
        self.is_in_handshake = False

    async def __call__(self, event: str, _info: Mapping[str, object]) -> None:
        self.is_in_handshake |= event == "connection.start_tls.started"
        if self.has_begun or self.is_too_late or event.startswith("connection."):
            return
        # The machine may sleep while we connect; another owner may have taken the job over meanwhile.
        if not await self._permit() or self._now_seconds() >= self._latest:
            self.is_too_late = True
            raise TimeoutError
        self.has_begun = True
        self.asked_at = self._now_seconds()


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
