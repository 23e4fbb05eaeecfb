"""Tokens are fetched once for all, renewed before their end, and kept while no other can be had."""

import asyncio
import base64
import os
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka import conn
from aiokafka.errors import SaslAuthenticationFailed
from pydantic import SecretStr

from service.errors import ConfigError
from service.kafka.login.token_sources import TokenFile
from service.kafka.login.tokens import (
    FETCH_SECONDS,
    MAX_LIFE_SECONDS,
    RETRY_SECONDS,
    NoToken,
    Token,
    TokenFault,
    Tokens,
    usable,
)
from tests.fakes.clock import BEGIN_MS, FakeClock, LeapingLoop

LIFE_SECONDS = 100.0


@dataclass
class Source:
    """Gives tokens 1, 2, 3 and so on, or fails, or hangs."""

    life_seconds: float | None = LIFE_SECONDS
    fails: bool = False
    hangs: bool = False
    fetched: int = 0

    async def fetch(self) -> Token:
        self.fetched += 1
        await asyncio.sleep(10_000 if self.hangs else 0.1)
        if self.fails:
            raise NoToken(TokenFault.REFUSED, "no")
        return Token(SecretStr(f"token-{self.fetched}"), self.life_seconds)


@dataclass
class Scene:
    """Tokens of a source, and what was told of them."""

    source: Source = field(default_factory=Source)
    hidden: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        def hide(token: SecretStr) -> None:
            self.hidden.append(token.get_secret_value())

        self.tokens = Tokens(self.source, {"pool": "p"}, hide, self.refused.append, self.clock)


def play(scene: Coroutine[None, None, None]) -> None:
    """Play the scene in time that leaps."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(scene)


def test_connections_share_a_token_until_a_fifth_of_its_life_is_left() -> None:
    async def scene() -> None:
        it = Scene()
        shown = await asyncio.gather(*(it.tokens.token() for _ in range(5)))
        assert shown == ["token-1"] * 5
        await it.clock.sleep(0.79 * LIFE_SECONDS)
        assert await it.tokens.token() == "token-1"
        await it.clock.sleep(0.02 * LIFE_SECONDS)
        assert await it.tokens.token() == "token-2"
        assert it.hidden == ["token-1", "token-2"]
        assert it.tokens.extensions() == {"pool": "p"}

    play(scene())


def test_a_token_that_says_that_it_never_ends_is_renewed_all_the_same() -> None:
    async def scene() -> None:
        it = Scene(Source(life_seconds=1e18))
        await it.tokens.token()
        await it.clock.sleep(MAX_LIFE_SECONDS)
        assert await it.tokens.token() == "token-2"

    play(scene())


def test_a_token_is_kept_to_its_end_while_no_other_can_be_had_and_one_complaint_is_made() -> None:
    async def scene() -> None:
        it = Scene()
        await it.tokens.token()
        it.source.fails = True
        await it.clock.sleep(0.85 * LIFE_SECONDS)
        for _ in range(3):
            assert await it.tokens.token() == "token-1"
            await it.clock.sleep(RETRY_SECONDS)
        assert len(it.refused) == 1
        await it.clock.sleep(0.2 * LIFE_SECONDS)
        with pytest.raises(NoToken, match="SCRIBE_KAFKA__OAUTH_CLIENT_ID"):
            await it.tokens.token()
        it.source.fails = False
        await it.clock.sleep(RETRY_SECONDS)
        assert (await it.tokens.token()).startswith("token-")
        it.source.fails = True
        await it.clock.sleep(0.9 * LIFE_SECONDS)
        await it.tokens.token()
        assert len(it.refused) == 2

    play(scene())


def test_a_source_that_fails_is_not_asked_again_at_once() -> None:
    async def scene() -> None:
        it = Scene(Source(fails=True))
        for _ in range(10):
            with pytest.raises(NoToken):
                await it.tokens.token()
        assert it.source.fetched == 1

    play(scene())


def test_a_source_that_hangs_is_given_up() -> None:
    async def scene() -> None:
        it = Scene(Source(hangs=True))
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoToken, match="no token within 10 s; check SCRIBE_KAFKA__OAUTH_TOKEN_URL"):
            await it.tokens.token()
        assert asyncio.get_running_loop().time() - began == pytest.approx(FETCH_SECONDS)

    play(scene())


# A payload of {"exp": BEGIN_MS / 1000 + 90} and so on, signed by nobody.
def jwt(payload: str) -> str:
    return f"e30.{base64.urlsafe_b64encode(payload.encode()).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize(
    ("text", "life_seconds"),
    [
        (jwt(f'{{"exp": {BEGIN_MS / 1000 + 90}}}'), 90.0),
        (jwt('{"exp": "soon"}'), None),
        (jwt("[1]"), None),
        (jwt("{"), None),
        ("opaque-token", None),
    ],
)
def test_a_token_says_itself_when_it_ends_or_has_an_unknown_end(
    text: str, life_seconds: float | None
) -> None:
    token = usable(text, FakeClock())
    assert token is not None
    assert token.life_seconds == (None if life_seconds is None else pytest.approx(life_seconds))


@pytest.mark.parametrize("text", ["", "two words", "a\x01auth=b", "a" * 20_000, "päss"])
def test_what_could_not_be_sent_as_a_token_is_none(text: str) -> None:
    assert usable(text, FakeClock()) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ConfigError("the file cannot be read"), "the file cannot be read"),
        ("two words", "is no token"),
        (jwt('{"exp": 1}'), "has expired"),
    ],
)
async def test_a_token_file_without_a_token_that_holds_is_named(
    content: str | ConfigError, words: str
) -> None:
    def read() -> SecretStr:
        if isinstance(content, ConfigError):
            raise content
        return SecretStr(content)

    with pytest.raises(NoToken) as error:
        await TokenFile(read, FakeClock()).fetch()
    assert words in str(error.value)
    assert "check SCRIBE_KAFKA__OAUTH_TOKEN_FILE" in str(error.value)


async def test_a_broker_that_gives_a_reason_has_refused_the_token() -> None:
    """It says so in an answer without an error code."""
    tokens = Scene().tokens
    authenticator = conn.OAuthAuthenticator(sasl_oauth_token_provider=tokens)
    sent = await authenticator.step(None)
    assert sent is not None
    assert b"auth=Bearer token-1\x01pool=p" in sent[0]
    with pytest.raises(SaslAuthenticationFailed, match="invalid_token"):
        await authenticator.step(b'{"status":"invalid_token"}')
    assert await authenticator.step(b"") is None


async def test_a_file_that_hangs_costs_one_thread_however_often_it_is_asked_for(tmp_path: Path) -> None:
    token = tmp_path / "token"
    os.mkfifo(token)
    source = TokenFile(lambda: SecretStr(token.read_text()), FakeClock())
    try:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(source.fetch(), 0.01)
        assert [each.daemon for each in threading.enumerate() if each.name == "read-aside"] == [True]
    finally:
        token.write_text("token-1")
    assert (await source.fetch()).value.get_secret_value() == "token-1"
