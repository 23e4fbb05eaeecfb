"""An operator sees why nothing goes on: the cause of an outage, the words of a hold."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from sandbox.child import free_ports
from sandbox.simulator import Fault
from tests.integration.stack import Scribe, Stack
from tests.integration.test_limits import status_until
from tests.integration.test_main_job import HELLO, request
from tests.unit.provider.http.certificates import Flaw, flawed_contexts
from tests.unit.provider.raw_server import Reply, answer, raw_server, silence

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])
JOBS = 4
TTL_SECONDS = 15
ClientConfig = Callable[[Path], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def _closed(_folder: Path) -> AsyncIterator[str]:
    yield f"http://127.0.0.1:{free_ports(1)[0]}"


@asynccontextmanager
async def _unknown(_folder: Path) -> AsyncIterator[str]:
    yield "https://nothing.invalid"


@asynccontextmanager
async def _self_signed(folder: Path) -> AsyncIterator[str]:
    server_tls, _ = flawed_contexts(folder, Flaw(is_self_signed=True))
    async with raw_server(silence, tls=server_tls) as server:
        yield f"https://localhost:{server.port}"


def _serving(*replies: Reply, scheme: str = "http", tls: ssl.SSLContext | None = None) -> ClientConfig:
    @asynccontextmanager
    async def place(_folder: Path) -> AsyncIterator[str]:
        async with raw_server(*replies, tls=tls) as server:
            yield f"{scheme}://127.0.0.1:{server.port}"

    return place


HTML = "<html>Welcome</html>"


def _dated(status: int) -> Reply:
    """A web page with the time, as any web server sends it."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(status, HTML, date=formatdate(usegmt=True)))
        await writer.drain()

    return reply


PLACES: dict[str, tuple[ClientConfig, str, str]] = {
    "closed port": (_closed, "refused", "refuses connections on port"),
    "unknown host": (_unknown, "unknown_host", "host nothing.invalid"),
    "self-signed": (
        _self_signed,
        *("certificate", "the certificate of host localhost is not trusted: self-signed"),
    ),
    "no TLS": (_serving(silence, scheme="https"), "tls", "the TLS handshake with host 127.0.0.1"),
    "hung": (_serving(silence), "timeout", "host 127.0.0.1 did not answer within 2 s"),
    "web page": (_serving(_dated(200)), "wrong_answer", "answered 200 with a web page"),
    "wrong path": (_serving(_dated(404)), "http_error", "there is no such path"),
}
USUAL = ("hung", "wrong path")


def lines(stack: Stack, event: str) -> list[dict[str, Any]]:
    """The lines of the log with this event."""
    found = [json.loads(line) for line in stack.logs().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def outage_of(scribe: Scribe) -> dict[str, Any]:
    """What /status says of an outage, once there is one."""
    async with asyncio.timeout(30):
        while True:
            for each in await status_until(scribe, "submits"):
                if each["outage"]:
                    outage: dict[str, Any] = each["outage"]
                    return outage
            await asyncio.sleep(0.1)


DATED = ("web page", "wrong path")
"""The others never tell the time: no deadline ends a job before the first `Date`."""


@pytest.mark.parametrize(
    "place",
    [each if each in USUAL else pytest.param(each, marks=pytest.mark.computes) for each in PLACES],
)
async def test_an_outage_says_why_in_log_status_metric_and_failures(
    stack: Stack, tmp_path: Path, place: str
) -> None:
    serve, cause, words = PLACES[place]
    async with serve(tmp_path) as origin:
        scribe = await stack.start(
            SCRIBE_PROVIDER__BASE_URL=f"{origin}/api/v1", SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS="2"
        )
        await stack.publish_all(
            [(request(f"r-{n}", f"{HELLO}&n={n}", ttl_seconds=TTL_SECONDS), None, ()) for n in range(JOBS)]
        )
        outage = await outage_of(scribe)
        assert outage["cause"] == cause
        assert words in outage["reason"]
        metrics = (await scribe.get("metrics")).text
        assert f'scribe_provider_outage_cause{{cause="{cause}",model="fun-asr"}} 1.0' in metrics
        outcomes = await stack.outcomes(JOBS, seconds=60) if place in DATED else []
    started = lines(stack, "outage_started")
    assert [(line["cause"], words in line["reason"], line["host"]) for line in started] == [
        (cause, True, outage["host"])
    ]
    for outcome in outcomes:
        assert outcome.body["code"] == "deadline_exceeded"
        assert words in outcome.body["message"]


async def test_a_hold_says_the_providers_words_how_many_wait_and_what_to_do_once(stack: Stack) -> None:
    scribe = await stack.start()
    assert (await scribe.get("status")).json()["account_hold"] == "unknown"
    message = "Incorrect API key sk-canary1234567890, see https://u:p@h.example/?Signature=canary"
    stack.sim.state.add_fault(
        Fault(on="submit", kind="status", status=401, code="InvalidApiKey", message=message, times=None)
    )
    await stack.publish_all([(request(f"r-{n}", f"{HELLO}&n={n}"), None, ()) for n in range(JOBS)])
    async with asyncio.timeout(20):
        while (hold := await status_until(scribe, "hold"))["jobs_waiting"] < JOBS:
            await asyncio.sleep(0.1)
    status = (await scribe.get("status")).json()
    assert (hold["code"], status["account_hold"]) == ("InvalidApiKey", "held")
    assert "Incorrect API key" in hold["reason"]
    assert "SCRIBE_PROVIDER__API_KEY_FILE" in hold["advice"]
    [line] = lines(stack, "hold_started")
    assert (line["provider_code"], line["reason"], line["advice"]) == (
        hold["code"],
        hold["reason"],
        hold["advice"],
    )
    assert line["jobs_waiting"] >= 1
    assert "canary" not in stack.logs() + json.dumps(status)
