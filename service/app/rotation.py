"""Use a new key, password or certificate as soon as its file has it, without a restart."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import field
from typing import Generic, TypeVar

from pydantic import SecretStr

from service.clock import Clock
from service.errors import ConfigError
from service.frozen import dataclass
from service.kafka.login.credentials import Credentials
from service.observability import log
from service.read_aside import read_aside
from service.settings.groups import KafkaSettings

CHECK_SECONDS = 10.0
"""A hold for the old key ends with the first call under the new one, so within a minute of the rotation."""

T = TypeVar("T")
Loop = Callable[[Callable[[], None]], Coroutine[None, None, None]]
"""A loop, which reports each of its turns."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What rotates, for the log."""

    replaced: log.Event
    refused: log.Event
    fields: Mapping[str, str] = field(default_factory=dict)


API_KEY = Kind(log.KEY_REPLACED, log.KEY_REFUSED)
PASSWORD = Kind(log.KAFKA_LOGIN_REPLACED, log.KAFKA_LOGIN_REFUSED, {"what": "password"})
CERTIFICATES = Kind(log.KAFKA_LOGIN_REPLACED, log.KAFKA_LOGIN_REFUSED, {"what": "certificates"})


class Rotation(Generic[T]):
    """Reads a secret again and again, and passes on one that differs from the one in use.

    A file that cannot be read, or holds nothing of use, changes nothing: it may be about to be replaced.
    `read` runs in a thread; it and `use` raise `ConfigError` for what is of no use.
    """

    def __init__(
        self, kind: Kind, read: Callable[[], T], in_use: T, use: Callable[[T], None], clock: Clock
    ) -> None:
        self._kind = kind
        self._read = read
        self._in_use = in_use
        self._use = use
        self._clock = clock
        self._is_refused = False

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Check until cancelled."""
        reading: asyncio.Future[T] | None = None
        while True:
            on_tick()
            await self._clock.sleep(CHECK_SECONDS)
            # A file system that hangs must not hold the event loop, nor a thread for each check.
            reading = reading or read_aside(self._read)
            done, _ = await asyncio.wait({reading}, timeout=CHECK_SECONDS)
            if done:
                self._take(reading)
                reading = None

    def _take(self, reading: asyncio.Future[T]) -> None:
        try:
            found = reading.result()
            if found == self._in_use:
                self._is_refused = False
                return
            self._use(found)
        except ConfigError as error:
            if not self._is_refused:
                log.write(self._kind.refused, **self._kind.fields, detail=str(error))
            self._is_refused = True
            return
        self._in_use, self._is_refused = found, False
        log.write(self._kind.replaced, **self._kind.fields)


def login_loops(
    kafka: KafkaSettings, credentials: Credentials, hide: Callable[[SecretStr], None], clock: Clock
) -> Mapping[str, Loop]:
    """The loops that replace Kafka's password and the certificates, for those that are in files."""
    loops = dict[str, Loop]()

    def use(password: SecretStr | None) -> None:
        assert password is not None, "it has a file"
        hide(password)
        credentials.use_password(password)

    if kafka.sasl_password_file is not None:
        loops["kafka_password"] = Rotation(PASSWORD, kafka.password, credentials.password, use, clock).run
    if kafka.security_protocol.endswith("SSL") and credentials.files.can_change:
        read, known = credentials.read_tls, credentials.tls
        rotation = Rotation(CERTIFICATES, read, known, credentials.use_tls, clock)
        loops["kafka_certificates"] = rotation.run
    return loops
