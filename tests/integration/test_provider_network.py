"""The provider behind a company's network: only a proxy knows its address, a private authority signs."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.testing

from sandbox.simulator import Fault
from service.cli.commands import app
from tests.connect_proxy import ConnectProxy, connect_proxy
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, request
from tests.integration.test_uncertain import QUICK, billed
from tests.unit.provider.http.certificates import server_and_client_contexts

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])

HOST = "api.dashscope.test"
PASSWORD = "password-canary"
LOGIN = base64.b64encode(f"scribe:{PASSWORD}".encode()).decode()


@asynccontextmanager
async def tls_front(folder: Path, port: int) -> AsyncIterator[int]:
    """The port that speaks TLS as HOST, in front of a plain one; `folder/server.pem` has its authority."""
    server_tls, _ = server_and_client_contexts(folder, HOST)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, up_writer), carry(up_reader, writer))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


@asynccontextmanager
async def network(stack: Stack, folder: Path) -> AsyncIterator[tuple[ConnectProxy, dict[str, str]]]:
    """The proxy to the stack's simulator, and the settings with which a service reaches it."""
    async with AsyncExitStack() as opened:
        port = await opened.enter_async_context(tls_front(folder, urlsplit(stack.sim.base_url).port or 0))
        proxy = await opened.enter_async_context(connect_proxy({HOST: port}))
        (folder / "proxy").write_text(f"http://scribe:{PASSWORD}@127.0.0.1:{proxy.port}\n")
        yield (
            proxy,
            {
                "SCRIBE_PROVIDER__BASE_URL": f"https://{HOST}/api/v1",
                "SCRIBE_PROVIDER__CA_FILE": str(folder / "server.pem"),
                "SCRIBE_PROVIDER__PROXY_URL_FILE": str(folder / "proxy"),
            },
        )


@pytest.mark.needs_minutes
async def test_jobs_are_done_through_a_proxy_and_its_password_stands_nowhere(
    stack: Stack, tmp_path: Path
) -> None:
    async with network(stack, tmp_path) as (proxy, settings):
        scribe = await stack.start(**settings, SCRIBE_LOG__LEVEL="debug")
        await stack.publish(request("p-1", HELLO))
        [outcome] = await stack.outcomes(1)
        assert outcome.kind == "result"
        assert await scribe.end() == 0
    assert {target for target, _ in proxy.asked} == {f"{HOST}:443"}
    assert {login for _, login in proxy.asked} == {f"Basic {LOGIN}"}
    assert PASSWORD not in stack.logs()
    assert LOGIN not in stack.logs()


@pytest.mark.needs_minutes
async def test_a_submit_whose_answer_the_proxy_lost_is_billed_once(stack: Stack, tmp_path: Path) -> None:
    async with network(stack, tmp_path) as (proxy, settings):
        scribe = await stack.start(**settings, **QUICK)
        stack.sim.state.add_fault(Fault(on="submit", kind="hang", accept=True))
        await stack.publish(request("p-1", HELLO))
        await stack.until(lambda: bool(stack.sim.ledger().submits))
        proxy.drop()
        [outcome] = await stack.outcomes(1)
        assert (outcome.kind, billed(stack)) == ("result", {HELLO: 1})
        assert await scribe.end() == 0


@pytest.mark.needs_minutes
async def test_a_submit_for_which_the_proxy_opens_no_tunnel_waits_and_is_not_uncertain(
    stack: Stack, tmp_path: Path
) -> None:
    async with network(stack, tmp_path) as (proxy, settings):
        scribe = await stack.start(**settings, **QUICK)
        proxy.status = 503
        proxy.drop()
        await stack.publish(request("p-1", HELLO))
        before = len(proxy.asked)
        await stack.until(lambda: len(proxy.asked) >= before + 3)
        assert billed(stack) == {}
        proxy.status = 200
        [outcome] = await stack.outcomes(1)
        assert (outcome.kind, billed(stack)) == ("result", {HELLO: 1})
        assert await scribe.counted("scribe_uncertain_submits_total") == {}
        assert await scribe.end() == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "the provider is called through the proxy 127.0.0.1:"),
        ({"SCRIBE_PROVIDER__CA_FILE": ""}, "is not trusted: "),
        ({"SCRIBE_PROVIDER__CA_FILE": "/nowhere.pem"}, "SCRIBE_PROVIDER__CA_FILE names a file that cannot"),
        ({"SCRIBE_PROVIDER__CA_FILE": "{folder}/proxy"}, "it holds no certificate in PEM form"),
        (
            {
                "SCRIBE_PROVIDER__BASE_URL": "http://127.0.0.1:1/api/v1",
                "SCRIBE_PROVIDER__PROXY_URL_FILE": "",
                "HTTPS_PROXY": "http://u:canary@p:1",
            },
            "HTTPS_PROXY is set and not used",
        ),
        ({"SCRIBE_PROVIDER__PROXY_URL_FILE": "{folder}/server.pem"}, "must be http://HOST:PORT"),
    ],
)
async def test_the_doctor_takes_the_same_way(
    stack: Stack, tmp_path: Path, wrong: dict[str, str], words: str
) -> None:
    async with network(stack, tmp_path) as (_, settings):
        changed = {name: value.format(folder=tmp_path) for name, value in wrong.items()}
        environ = {**stack.settings, **settings, **changed}
        done = await asyncio.to_thread(typer.testing.CliRunner().invoke, app, ["doctor"], env=environ)
    lines = done.output.splitlines()
    assert any(words in line for line in lines), done.output
    assert "canary" not in done.output
    if not wrong:
        assert [line.split()[0] for line in lines if line.split()[1] in ("dns", "tls", "answer", "key")] == [
            "ok"
        ] * 4
