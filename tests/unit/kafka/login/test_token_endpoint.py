"""Every answer of a token endpoint is a token, or says what to do and repeats no secret."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from service.errors import ConfigError
from service.kafka.login.token_sources import TokenEndpoint
from service.kafka.login.tokens import NoToken
from tests.tokens import Endpoint, issuer, serving

SECRET = "secret/of:the client+"
LONG = "x" * 200_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture
async def endpoint(keys: Path) -> AsyncIterator[Endpoint]:
    async with serving(Endpoint(issuer(keys), "scribe", SECRET)) as ready:
        yield ready


def source(url: str, secret: str = SECRET, ca_file: Path | None = None) -> TokenEndpoint:
    return TokenEndpoint(url, "the client", lambda: SecretStr(secret), "a b", ca_file)


async def test_a_token_is_asked_for_with_the_clients_credentials(endpoint: Endpoint) -> None:
    token = await source(endpoint.url).fetch()
    assert token.value.get_secret_value() == endpoint.given[0]
    assert token.life_seconds == endpoint.life_seconds
    assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "a b", "client": "the client"}]


@pytest.mark.parametrize(
    ("answer", "words", "setting"),
    [
        (web.json_response({"error": "invalid_scope"}, status=400), "(400, invalid_scope)", "OAUTH_SCOPE"),
        (web.json_response({"error": SECRET}, status=401), "(401)", "OAUTH_CLIENT_ID"),
        (web.Response(status=403, text="<html>"), "(403)", "OAUTH_CLIENT_SECRET_FILE"),
        (web.Response(status=404), "answers 404", "OAUTH_TOKEN_URL"),
        (web.Response(status=302, headers={"location": "/other"}), "answers 302", "OAUTH_TOKEN_URL"),
        (web.Response(status=429), "answers 429", "the network"),
        (web.Response(status=503), "answers 503", "the network"),
        (web.json_response({}), "without a token", "OAUTH_TOKEN_URL"),
        (web.json_response([]), "without a token", "OAUTH_TOKEN_URL"),
        (web.json_response({"access_token": "two words"}), "without a token", "OAUTH_TOKEN_URL"),
        (web.Response(text=f'{{"access_token": "{LONG}"}}'), "without a token", "OAUTH_TOKEN_URL"),
    ],
)
async def test_every_other_answer_says_what_to_check(
    endpoint: Endpoint, answer: web.Response, words: str, setting: str
) -> None:
    endpoint.answers = [answer]
    with pytest.raises(NoToken) as error:
        await source(endpoint.url).fetch()
    assert words in str(error.value)
    assert setting in str(error.value)
    assert SECRET not in str(error.value)


async def test_an_endpoint_that_is_not_there_is_named(endpoint: Endpoint) -> None:
    with pytest.raises(NoToken, match=r"127\.0\.0\.1:1 does not answer .*SCRIBE_KAFKA__OAUTH_TOKEN_URL"):
        await source("http://127.0.0.1:1/token").fetch()
    with pytest.raises(NoToken, match="does not answer"):  # it speaks no TLS
        await source(endpoint.url.replace("http:", "https:")).fetch()


async def test_a_ca_file_that_cannot_be_read_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(NoToken, match="check SCRIBE_KAFKA__OAUTH_CA_FILE"):
        await source("https://127.0.0.1:1/token", ca_file=tmp_path / "no.pem").fetch()


async def test_a_secret_that_cannot_be_read_is_named() -> None:
    def read() -> SecretStr:
        raise ConfigError("its file is empty")

    with pytest.raises(NoToken, match="its file is empty; check SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE"):
        await TokenEndpoint("http://127.0.0.1:1", "scribe", read).fetch()


@pytest.mark.parametrize("host", ["a..localhost", "a" * 64 + ".localhost"])
async def test_a_host_that_no_resolver_takes_is_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What getaddrinfo does first; the guard of these tests lets no foreign name reach it.
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_rest, **_options: host.encode("idna"))
    with pytest.raises(NoToken, match=r"has no host name.*SCRIBE_KAFKA__OAUTH_TOKEN_URL"):
        await source(f"http://{host}:1/token").fetch()
