"""Where tokens come from: a token endpoint (OIDC client credentials), a file, or AWS's signer."""

import base64
import re
import ssl
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp
from pydantic import JsonValue, SecretStr
from typing_extensions import override

from service.clock import SYSTEM_CLOCK, Clock
from service.contract.untrusted_json import parse_json
from service.errors import ConfigError
from service.kafka.login.tokens import NoToken, Token, TokenFault, TokenSource, usable
from service.read_aside import SharedRead
from service.tls import allow_old_extensions

MAX_ANSWER_BYTES = 64 * 1024
FILE_CHECKED_SECONDS = 10.0
"""Whoever writes the file replaces the token long before its end; connections are rare."""
_CODE = re.compile(r"[a-z_]{1,40}")
_BUSY = (429, 500, 502, 503, 504)


class TokenFile(TokenSource):
    """A file that something else keeps fresh, such as a projected token of a Kubernetes service account."""

    def __init__(self, read: Callable[[], SecretStr], clock: Clock = SYSTEM_CLOCK) -> None:
        """`read` reads the file; it raises `ConfigError`."""
        self._read = SharedRead(read)
        self._clock = clock

    @override
    async def fetch(self) -> Token:
        """The token that the file holds now."""
        try:
            text = (await self._read()).get_secret_value()
        except ConfigError as error:
            raise NoToken(TokenFault.NO_FILE, str(error)) from None
        token = usable(text, self._clock)
        if token is None:
            raise NoToken(TokenFault.NO_FILE, "what the token file holds is no token")
        if token.life_seconds is not None and token.life_seconds <= 0:
            raise NoToken(TokenFault.NO_FILE, "the token in the token file has expired")
        return Token(token.value, token.life_seconds, FILE_CHECKED_SECONDS)


class TokenEndpoint(TokenSource):
    """A token endpoint: OAuth 2.0 client credentials, the client's secret in the Authorization header."""

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: Callable[[], SecretStr],
        scope: str | None = None,
        ca_file: Path | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`secret` reads the client's secret, at each fetch; it raises `ConfigError`."""
        self._url = url
        self._client_id = client_id
        self._secret = SharedRead(secret)
        self._scope = scope
        self._ca_file = ca_file
        self._trust = SharedRead(lambda: ssl.create_default_context(cafile=ca_file))
        self._clock = clock

    @override
    async def fetch(self) -> Token:
        """A new token. The endpoint is called without a proxy, and no redirect is followed."""
        try:
            secret = await self._secret()
        except ConfigError as error:
            raise NoToken(TokenFault.NO_CLIENT, str(error)) from None
        status, body = await self._ask(secret, await self._context())
        if status in _BUSY:
            raise NoToken(TokenFault.UNREACHABLE, f"{self._name} answers {status}")
        if status in (400, 401, 403):
            raise NoToken(TokenFault.REFUSED, f"{self._name} refuses us ({status}{_code_of(body)})")
        if status != 200:
            raise NoToken(TokenFault.WRONG_ADDRESS, f"{self._name} answers {status}")
        return self._token(body)

    @property
    def _name(self) -> str:
        return f"the token endpoint {urlsplit(self._url).netloc}"

    async def _context(self) -> ssl.SSLContext | None:
        """None for an endpoint without TLS, which only addresses that are not public may have."""
        if not self._url.startswith("https:"):
            return None
        try:
            context = await self._trust()
        except OSError as error:
            why = error.strerror or type(error).__name__
            words = f"no certificates can be read from {self._ca_file} ({why})"
            raise NoToken(TokenFault.UNTRUSTED, words) from None
        if self._ca_file is not None:
            allow_old_extensions(context)
        return context

    async def _ask(self, secret: SecretStr, context: ssl.SSLContext | None) -> tuple[int, bytes]:
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        shown = f"{quote_plus(self._client_id)}:{quote_plus(secret.get_secret_value())}"
        login = base64.b64encode(shown.encode()).decode()
        connector = aiohttp.TCPConnector(ssl=True if context is None else context, force_close=True)
        headers = {"accept": "application/json", "authorization": f"Basic {login}"}
        try:
            async with (
                aiohttp.ClientSession(connector=connector, headers=headers) as session,
                session.post(self._url, data=form, allow_redirects=False) as response,
            ):
                return response.status, await _bounded(response.content)
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "no reason given"
            raise NoToken(TokenFault.UNTRUSTED, f"{self._name} is not trusted ({why})") from None
        except UnicodeError:
            words = f"{self._name} has no host name: an empty or a very long part between its dots"
            raise NoToken(TokenFault.WRONG_ADDRESS, words) from None
        except (aiohttp.ClientError, OSError) as error:
            words = f"{self._name} does not answer ({type(error).__name__})"
            raise NoToken(TokenFault.UNREACHABLE, words) from None

    def _token(self, body: bytes) -> Token:
        answer = _document(body)
        text = answer.get("access_token")
        token = usable(text, self._clock) if isinstance(text, str) else None
        if token is None:
            raise NoToken(TokenFault.WRONG_ADDRESS, f"{self._name} answers without a token")
        life_seconds = answer.get("expires_in")
        if isinstance(life_seconds, int | float) and life_seconds > 0:
            return Token(token.value, float(life_seconds))
        return token


class MskSigner(TokenSource):
    """Tokens for Amazon MSK with IAM: the vendor's own signer, in the optional extra `msk`.

    AWS's own chain finds the credentials: a web identity, a pod identity, variables, a profile.
    """

    def __init__(self, region: str, clock: Clock = SYSTEM_CLOCK) -> None:
        """Raises `ConfigError` if the extra is not installed."""
        try:
            self._signer: Any = import_module("aws_msk_iam_sasl_signer.MSKAuthTokenProvider")
            faults = import_module("botocore.exceptions")
        except ImportError as error:
            raise ConfigError(
                "SCRIBE_KAFKA__SASL_MECHANISM=AWS_MSK_IAM needs Amazon's signer: "
                "install scribe-speech[msk], or the image that holds it"
            ) from error
        # The signer trips over credentials that are not there.
        self._faults = (faults.BotoCoreError, faults.ClientError, ValueError, OSError, AttributeError)
        self._sign = SharedRead(lambda: self._signer.generate_auth_token(region))
        self._clock = clock

    @override
    async def fetch(self) -> Token:
        """A signed address, which AWS takes as a token for 15 minutes; making it may call AWS."""
        try:
            text, ends_at_ms = await self._sign()
        except self._faults as error:
            why = "none are found" if isinstance(error, AttributeError) else type(error).__name__
            raise NoToken(TokenFault.NO_AWS, f"AWS gives no credentials ({why})") from None
        return Token(SecretStr(text), (ends_at_ms - self._clock.wall_ms()) / 1000)


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """The body, cut where no token endpoint's answer is so long."""
    body = bytearray()
    async for chunk in content.iter_chunked(8192):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return bytes(body[:MAX_ANSWER_BYTES])


def _document(body: bytes) -> dict[str, JsonValue]:
    try:
        document = parse_json(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _code_of(body: bytes) -> str:
    """The `error` of the answer, if it is a code; its other fields may repeat what we sent."""
    code = _document(body).get("error")
    return f", {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
