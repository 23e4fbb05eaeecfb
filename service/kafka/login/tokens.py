"""Tokens for OAUTHBEARER: kept until shortly before their end, fetched once for all connections."""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError
from pydantic import SecretStr
from typing_extensions import override

from service.clock import SYSTEM_CLOCK, Clock
from service.contract.untrusted_json import parse_json
from service.frozen import dataclass
from service.kafka.login.refused_tokens import hear_refusals

FETCH_SECONDS = 10.0
"""Bound of one fetch."""
RENEWED_AT = 0.8
"""The part of a token's life after which the next connection fetches another, as in Kafka's own clients."""
RETRY_SECONDS = 2.0
"""After a fetch that failed, connections get the same answer for so long."""
UNKNOWN_LIFE_SECONDS = 60.0
"""The life of a token that does not say when it ends."""
MAX_LIFE_SECONDS = 4 * 3600.0
"""A token is renewed within this even if it says that it lasts longer: it may be wrong, or be revoked."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")


class TokenFault(Enum):
    """Why there is no token; the value says what to do."""

    UNREACHABLE = "check SCRIBE_KAFKA__OAUTH_TOKEN_URL and the network"
    UNTRUSTED = "check SCRIBE_KAFKA__OAUTH_CA_FILE and SCRIBE_KAFKA__OAUTH_TOKEN_URL"
    WRONG_ADDRESS = "check SCRIBE_KAFKA__OAUTH_TOKEN_URL"
    REFUSED = (
        "check SCRIBE_KAFKA__OAUTH_CLIENT_ID, SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE and "
        "SCRIBE_KAFKA__OAUTH_SCOPE"
    )
    NO_CLIENT = "check SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE"
    NO_FILE = "check SCRIBE_KAFKA__OAUTH_TOKEN_FILE and what writes it"
    NO_AWS = "give the process a role or keys by AWS's own variables, and check SCRIBE_KAFKA__AWS_REGION"


class NoToken(KafkaError):  # type: ignore[misc] # aiokafka ships no types for it
    """No token can be had now: aiokafka takes it like a connection that fails, and tries again."""

    retriable = True

    def __init__(self, fault: TokenFault, detail: str) -> None:
        super().__init__(f"{detail}; {fault.value}")
        self.parts = (fault, detail)

    @override
    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and how long it lasts; None if it does not say."""

    value: SecretStr
    life_seconds: float | None
    checked_after_seconds: float | None = None
    """When to look for another one, if before its end."""


class TokenSource(Protocol):
    """Where tokens come from."""

    async def fetch(self) -> Token:
        """A token; raises `NoToken`. The caller bounds the wait."""
        ...


def _ignore(_value: object) -> None:
    """Nobody is told."""


class Tokens(AbstractTokenProvider):  # type: ignore[misc] # aiokafka ships no types for it
    """The tokens that all clients of a process share."""

    def __init__(
        self,
        source: TokenSource,
        extensions: Mapping[str, str] | None = None,
        hide: Callable[[SecretStr], None] = _ignore,
        refused: Callable[[str], None] = _ignore,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        hear_refusals()
        self._source = source
        self._extensions = dict(extensions or {})
        self._hide = hide
        self._refused = refused
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: SecretStr | None = None
        self._renew_at = self._ends_at = 0.0
        self._failure: NoToken | None = None
        self._failed_at = 0.0

    @override
    async def token(self) -> str:
        """A token that has not ended; raises `NoToken`."""
        async with self._lock:
            if self._clock.boot_seconds() >= self._renew_at:
                await self._renew()
            assert self._value is not None
            return str(self._value.get_secret_value())

    @override
    def extensions(self) -> dict[str, str]:
        """What the token is sent with."""
        return self._extensions

    async def _renew(self) -> None:
        if self._failure is None or self._clock.boot_seconds() >= self._failed_at + RETRY_SECONDS:
            try:
                self._take(await self._fetch())
            except NoToken as error:
                self._fail(error)
        if self._failure is not None and self._clock.boot_seconds() >= self._ends_at:
            # A new one for each caller: a raised error keeps the frames that it passed.
            raise NoToken(*self._failure.parts)

    async def _fetch(self) -> Token:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._source.fetch()
        except TimeoutError:
            raise NoToken(TokenFault.UNREACHABLE, f"no token within {FETCH_SECONDS:.0f} s") from None

    def _take(self, token: Token) -> None:
        self._hide(token.value)
        now = self._clock.boot_seconds()
        stated = UNKNOWN_LIFE_SECONDS if token.life_seconds is None else token.life_seconds
        life_seconds = min(stated, MAX_LIFE_SECONDS)
        checked = token.checked_after_seconds
        self._renew_at = now + min(RENEWED_AT * life_seconds, life_seconds if checked is None else checked)
        self._ends_at = now + life_seconds
        self._value, self._failure = token.value, None

    def _fail(self, error: NoToken) -> None:
        if self._failure is None:
            self._refused(str(error))
        self._failure, self._failed_at = error, self._clock.boot_seconds()


def usable(text: str, clock: Clock) -> Token | None:
    """The text as a token, with the life that it states; None if it cannot be one."""
    if not _TOKEN.fullmatch(text):
        return None
    ends_at = _expiry(text)
    return Token(SecretStr(text), None if ends_at is None else ends_at - clock.wall_ms() / 1000)


def _expiry(text: str) -> float | None:
    """The `exp` of a JSON Web Token, in seconds since the epoch."""
    parts = text.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = parse_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return float(expiry) if isinstance(expiry, int | float) and 0 < expiry < 1e12 else None
