"""Use a new API key as soon as the key's file has it, without a restart."""

import asyncio
from collections.abc import Callable

from pydantic import SecretStr

from service.clock import Clock
from service.errors import ConfigError
from service.observability import log

CHECK_SECONDS = 10.0
"""A hold for the old key ends with the first call under the new one, so within a minute of the rotation."""


class KeyRotation:
    """Reads the key again and again, and passes on one that differs from the key in use.

    A file that cannot be read, or holds no key, changes nothing: it may be about to be replaced.
    """

    def __init__(
        self,
        read: Callable[[], SecretStr],
        in_use: SecretStr,
        use: Callable[[SecretStr], None],
        clock: Clock,
    ) -> None:
        self._read = read
        self._in_use = in_use
        self._use = use
        self._clock = clock
        self._is_refused = False

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Check until cancelled."""
        reading: asyncio.Future[SecretStr] | None = None
        while True:
            on_tick()
            await self._clock.sleep(CHECK_SECONDS)
            # A file system that hangs must not hold the event loop, nor a thread for each check.
            reading = reading or asyncio.ensure_future(asyncio.to_thread(self._read))
            done, _ = await asyncio.wait({reading}, timeout=CHECK_SECONDS)
            if done:
                self._take(reading)
                reading = None

    def _take(self, reading: asyncio.Future[SecretStr]) -> None:
        try:
            key = reading.result()
            if key == self._in_use:
                self._is_refused = False
                return
            self._use(key)
        except ConfigError as error:
            if not self._is_refused:
                log.write(log.KEY_REFUSED, detail=str(error))
            self._is_refused = True
            return
        self._in_use, self._is_refused = key, False
        log.write(log.KEY_REPLACED)
