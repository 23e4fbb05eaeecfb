"""The provider through a proxy: each call takes it, and a submit still knows whether it has left."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.core.provider.answers import Cause, Lost, NotSent, ProviderError, SubmitAnswer
from service.errors import ConfigError
from service.provider.api import Permit, at_once
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.http.handshake import reach
from service.provider.http.proxy import Proxy
from service.provider.result_files import FetchGuard
from tests.connect_proxy import ConnectProxy, connect_proxy
from tests.unit.provider.http.certificates import server_and_client_contexts
from tests.unit.provider.raw_server import RawServer, answer, raw_server

HOST = "api.dashscope.test"
"""Only the proxy knows its address."""
ACCEPTED = answer(200, '{"output": {"task_id": "t-1", "task_status": "PENDING"}, "request_id": "r"}')
LOGIN = "http://us%40er:pass%2Fword@127.0.0.1:{port}"


@dataclass
class Way:
    """A provider behind a proxy, and what stands on the way."""

    server: RawServer
    proxy: ConnectProxy
    provider: DashScope
    tls: ssl.SSLContext
    taken: Proxy


@asynccontextmanager
async def way(
    folder: Path, reply: bytes = ACCEPTED, url: str = "http://127.0.0.1:{port}"
) -> AsyncIterator[Way]:
    server_tls, client_tls = server_and_client_contexts(folder, HOST)
    async with raw_server(ACCEPTED, tls=server_tls) as server, connect_proxy({HOST: server.port}) as proxy:
        taken = Proxy.of(SecretStr(url.format(port=proxy.port)))
        config = DashScopeConfig(
            f"https://{HOST}/api/v1",
            SecretStr("sk-not-a-real-one"),
            submit_timeout_seconds=6.0,
            proxy=taken,
        )
        guard = FetchGuard(hosts=("dashscope.test",))
        async with DashScope(config, guard, ssl_context=client_tls) as provider:
            yield Way(server, proxy, provider, client_tls, taken)


async def submitted(way: Way, permit: Permit = at_once) -> SubmitAnswer:
    return await way.provider.submit("fun-asr", ["https://example.org/a.wav"], {}, permit)


async def test_every_call_goes_through_the_proxy_which_resolves_the_name(tmp_path: Path) -> None:
    async with way(tmp_path, url=LOGIN) as there:
        await submitted(there)
        await there.provider.query("t-1")
        await there.provider.list_tasks(1)
        await there.provider.hotword_lists.query("v-1")
        assert isinstance(await there.provider.fetch(f"https://{HOST}/x?sig=1"), bytes)
        assert await reach(f"https://{HOST}/api/v1", 30.0, there.tls, there.taken) is None
    login = "Basic " + base64.b64encode(b"us@er:pass/word").decode()
    assert {authorization for _, authorization in there.proxy.asked} == {login}
    assert {target for target, _ in there.proxy.asked} == {f"{HOST}:443"}
    assert len(there.server.requests) == 5
    assert all(not each.header("Proxy-Authorization") for each in there.server.requests)


async def test_a_submit_takes_the_tunnel_of_one_that_was_answered(tmp_path: Path) -> None:
    async with way(tmp_path) as there:
        for _ in range(3):
            await submitted(there)
    assert len(there.proxy.asked) == 1
    assert len(there.server.requests) == 3


async def test_plain_http_of_a_simulator_needs_no_proxy(tmp_path: Path) -> None:
    async with raw_server(answer(200, "{}")) as server, connect_proxy({}) as proxy:
        config = DashScopeConfig(
            server.origin + "/api/v1", SecretStr("k"), proxy=Proxy.of(SecretStr(proxy.url))
        )
        async with DashScope(config) as provider:
            await provider.query("t")
    assert len(server.requests) == 1
    assert proxy.asked == []


def _refuses(status: int) -> Callable[[ConnectProxy], None]:
    def spoil(proxy: ConnectProxy) -> None:
        proxy.status = status

    return spoil


def _closes(proxy: ConnectProxy) -> None:
    proxy.closes_first = True


def _hangs(proxy: ConnectProxy) -> None:
    proxy.hangs = True


FAULTS = [
    (_refuses(407), "refuses our login: SCRIBE_PROVIDER__PROXY_URL_FILE needs its user and password"),
    (_refuses(403), f"answers 403 when asked for {HOST}:443: allow it there"),
    (_refuses(502), f"answers 502 when asked for {HOST}:443: allow it there"),
    (_closes, "through the proxy 127.0.0.1:"),
    (_hangs, "through the proxy 127.0.0.1:"),
]


@pytest.mark.parametrize(("spoil", "words"), FAULTS)
async def test_a_submit_whose_tunnel_was_not_opened_was_not_sent(
    tmp_path: Path, spoil: Callable[[ConnectProxy], None], words: str
) -> None:
    permits = []

    async def permit() -> bool:
        permits.append(True)
        return True

    async with way(tmp_path) as there:
        spoil(there.proxy)
        found = await submitted(there, permit)
    assert isinstance(found, NotSent)
    assert words in found.provider_error.message
    assert found.provider_error.host == HOST
    assert permits == []
    assert there.server.requests == []
    assert len(there.proxy.asked) == 1


@pytest.mark.parametrize(("spoil", "words"), FAULTS[:3])
async def test_any_other_call_says_what_the_proxy_said(
    tmp_path: Path, spoil: Callable[[ConnectProxy], None], words: str
) -> None:
    async with way(tmp_path) as there:
        spoil(there.proxy)
        found = await there.provider.query("t-1")
        fetched = await there.provider.fetch(f"https://{HOST}/x")
        reached = await reach(f"https://{HOST}/api/v1", 30.0, there.tls, there.taken)
    for error in (found, fetched, reached):
        assert isinstance(error, ProviderError)
        assert error.kind is Cause.REFUSED
        assert words in error.message
        assert "page" not in error.message


@pytest.mark.parametrize("fault", ["swallows", "mutes"])
async def test_a_submit_that_left_into_a_tunnel_that_broke_is_lost(tmp_path: Path, fault: str) -> None:
    """Before or after the proxy has passed it on: nobody on this side can tell."""
    async with way(tmp_path) as there:

        async def permit() -> bool:
            # The tunnel stands and the handshake is over: from here on bytes are the submit's.
            await asyncio.sleep(0.2)
            setattr(there.proxy, fault, True)
            return True

        found = await submitted(there, permit)
    assert isinstance(found, Lost)
    assert len(there.server.requests) == (0 if fault == "swallows" else 1)
    assert len(there.proxy.asked) == 1


async def test_a_submit_after_the_proxy_has_dropped_the_idle_tunnel_takes_a_new_one(tmp_path: Path) -> None:
    async with way(tmp_path) as there:
        first = await submitted(there)
        there.proxy.drop()
        while there.proxy.open:
            await asyncio.sleep(0)
        second = await submitted(there)
    assert not isinstance(first, Lost)
    assert not isinstance(second, Lost | NotSent)
    assert len(there.server.requests) == len(there.proxy.asked) == 2


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "the proxy 127.0.0.1:1 refuses connections on port 1"),
        ("no-such-proxy.invalid:3128", "the name of the proxy no-such-proxy.invalid:3128 has no address"),
    ],
)
async def test_a_proxy_that_is_not_there_is_named(
    address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Proxy.of(SecretStr(f"http://{address}"))
    config = DashScopeConfig(f"https://{HOST}/api/v1", SecretStr("k"), proxy=taken)
    async with DashScope(config) as provider:
        found = await provider.submit("fun-asr", ["https://example.org/a.wav"], {})
        asked = await provider.query("t")
    reached = await reach(f"https://{HOST}/api/v1", 30.0, ssl.create_default_context(), taken)
    assert isinstance(found, NotSent)
    for error in (found.provider_error, asked, reached):
        assert isinstance(error, ProviderError)
        assert error.message == f"no connection: {words}" or "no name server answers" in error.message


async def test_a_certificate_that_is_not_trusted_is_named_through_a_proxy_too(tmp_path: Path) -> None:
    async with way(tmp_path) as there:
        config = DashScopeConfig(f"https://{HOST}/api/v1", SecretStr("k"), proxy=there.taken)
        async with DashScope(config) as strange:
            found = await strange.query("t")
    assert isinstance(found, ProviderError)
    assert found.kind is Cause.CERTIFICATE


@pytest.mark.parametrize("host", ["10.0.0.7", "evil.test", "dashscope.test.evil.test"])
async def test_behind_a_proxy_the_rule_of_host_names_still_holds(tmp_path: Path, host: str) -> None:
    async with way(tmp_path) as there:
        found = await there.provider.fetch(f"https://{host}/x")
    assert isinstance(found, ProviderError)
    assert "host" in found.message
    assert there.proxy.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "https://proxy:3128",
        "http://proxy",
        "http://proxy:0",
        "http://proxy:99999",
        "http://secret@word@proxy:3128",
        "http://proxy:3128/path",
        "socks5://proxy:1080",
    ],
)
def test_a_url_that_is_no_proxys_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="SCRIBE_PROVIDER__PROXY_URL") as found:
        Proxy.of(SecretStr(url))
    assert "secret" not in str(found.value)
    assert "3128" not in str(found.value)


def test_the_password_is_secret_in_each_form() -> None:
    proxy = Proxy.of(SecretStr("http://user:pass%2Fword@proxy.corp:3128/"))
    assert str(proxy) == "proxy.corp:3128"
    hidden = {each.get_secret_value() for each in proxy.secrets()}
    assert hidden == {"pass/word", "pass%2Fword", base64.b64encode(b"user:pass/word").decode()}
    assert not any(each in repr(proxy) for each in hidden)
    assert Proxy.of(SecretStr("http://[::1]:3128")).origin == "http://[::1]:3128"
    assert Proxy.of(SecretStr("http://proxy.corp:3128")).secrets() == ()
    token = Proxy.of(SecretStr("http://canary-token@proxy.corp:3128"))
    assert token.authorization is not None
    assert [each.get_secret_value() for each in token.secrets()] == [
        "canary-token",
        token.authorization.removeprefix("Basic "),
    ]
