"""Signed tokens, and the endpoint that hands them out, for tests of logins without a password."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_plus

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.kafka.security import TokenIssuer

ISSUER, AUDIENCE = "https://issuer.example", "kafka"


@dataclass(frozen=True)
class Issuer:
    """Signs tokens with a key whose public half lies where the brokers look for it."""

    key: rsa.RSAPrivateKey
    keys_file: Path

    @property
    def known(self) -> TokenIssuer:
        """What the brokers are told of it."""
        return TokenIssuer(self.keys_file.as_uri(), ISSUER, AUDIENCE)

    def token(self, subject: str, life_seconds: float = 300.0, **claims: object) -> str:
        """A token of this subject; `claims` replace those that the brokers expect."""
        now = int(time.time())
        own = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "scope": "kafka", "iat": now - 1}
        head = _part({"alg": "RS256", "kid": "k1", "typ": "JWT"})
        signed = f"{head}.{_part({**own, 'exp': now + life_seconds, **claims})}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"


def issuer(keys_file: Path) -> Issuer:
    """A new one; its keys lie at `keys_file`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = key.public_key().public_numbers()
    shown = {"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256"}
    size = {"n": _number(numbers.n), "e": _number(numbers.e)}
    keys_file.write_text(json.dumps({"keys": [{**shown, **size}]}))
    return Issuer(key, keys_file)


@dataclass
class Endpoint:
    """A token endpoint; `answers` are given first, then tokens of `issuer` for `subject`."""

    issuer: Issuer
    subject: str
    secret: str = "secret-of-the-client"
    life_seconds: float = 300.0
    answers: list[web.Response] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        """The answer to one call."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        name, _, secret = (
            base64.b64decode(request.headers["authorization"].split()[1]).decode().partition(":")
        )
        self.asked.append({**form, "client": unquote_plus(name)})
        if self.answers:
            return self.answers.pop(0)
        if unquote_plus(secret) != self.secret:
            body = {"error": "invalid_client", "error_description": f"not {secret}"}
            return web.json_response(body, status=401)
        self.given.append(self.issuer.token(self.subject, self.life_seconds))
        return web.json_response({"access_token": self.given[-1], "expires_in": self.life_seconds})


@asynccontextmanager
async def serving(endpoint: Endpoint) -> AsyncIterator[Endpoint]:
    """The endpoint on loopback."""
    app = web.Application()
    app.router.add_post("/token", endpoint.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        endpoint.url = f"http://127.0.0.1:{port}/token"
        yield endpoint
    finally:
        await runner.cleanup()


def _part(claims: dict[str, object]) -> str:
    return _encoded(json.dumps(claims).encode())


def _number(number: int) -> str:
    return _encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
