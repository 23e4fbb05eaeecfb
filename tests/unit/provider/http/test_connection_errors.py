"""Why a call came to no answer: each cause with a real socket or TLS server, as submit and as query."""

import asyncio
import errno
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.core.provider.answers import Cause, Lost, NotSent, ProviderError, Refused, SubmitAnswer
from service.provider.dashscope import DashScope
from service.provider.http.bodies import BodyBroken
from service.provider.http.connection_errors import Peer, no_answer, no_connection
from service.provider.http.transport import AiohttpTransport
from service.provider.result_files import FetchGuard, ResultFetcher
from tests.unit.provider.http.certificates import Flaw, flawed_contexts
from tests.unit.provider.raw_server import Reply, answer, raw_server, silence
from tests.unit.provider.test_dashscope import FILES, TASK, config, refused_port

HTML = "<!doctype html><html><title>Welcome to nginx</title></html>"
SECRET = "sk-canary1234567890"
PEER = Peer("api.example", 443)


@asynccontextmanager
async def provider_at(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[DashScope]:
    made = config(f"{url}/api/v1", submit_timeout_seconds=1.2, call_timeout_seconds=0.4)
    async with DashScope(made, ssl_context=tls) as provider:
        yield provider


async def errors_at(
    url: str, tls: ssl.SSLContext | None = None
) -> tuple[SubmitAnswer, ProviderError, ProviderError]:
    """The result of a submit, its provider error, and that of a query."""
    async with provider_at(url, tls) as provider:
        submitted = await provider.submit("fun-asr", FILES, {})
        assert isinstance(submitted, NotSent | Lost | Refused)
        queried = await provider.query(TASK)
        assert isinstance(queried, ProviderError)
        return submitted, submitted.provider_error, queried


async def close_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def speak_smtp(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()
    writer.close()


async def cut(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cut_within(writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, HTML)[:-20])
    await writer.drain()
    writer.close()


async def babble(writer: asyncio.StreamWriter) -> None:
    writer.write(b"+OK hello, this is no HTTP\r\n\r\n")
    await writer.drain()


# No connection.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_closed_port_is_named(host: str) -> None:
    port = await refused_port()
    answer, submitted, queried = await errors_at(f"http://{host}:{port}")
    assert isinstance(answer, NotSent)
    for provider_error in (submitted, queried):
        assert (provider_error.code, provider_error.kind, provider_error.host) == (
            "connect_failed",
            Cause.REFUSED,
            host,
        )
        assert provider_error.message == f"no connection: host {host} refuses connections on port {port}"


@pytest.mark.parametrize("host", ["nothing.invalid", "a.b.c.invalid", "x" * 70 + ".invalid"])
async def test_an_unknown_host_is_named(host: str) -> None:
    answer, submitted, queried = await errors_at(f"https://{host}")
    assert isinstance(answer, NotSent)
    for provider_error in (submitted, queried):
        assert (provider_error.code, provider_error.kind, provider_error.host) == (
            "connect_failed",
            Cause.UNKNOWN_HOST,
            host,
        )
        assert host in provider_error.message


FLAWS = [
    (Flaw(is_self_signed=True), "the certificate of host localhost is not trusted: self-signed"),
    (Flaw(first_day=-9, last_day=-1), "is not trusted: it has expired"),
    (Flaw(first_day=1, last_day=9), "is not trusted: it is not valid yet"),
    (Flaw(names=("api.example",)), "is not trusted: it was made for another name"),
    (Flaw(names=("*.example",)), "is not trusted: it was made for another name"),
]


@pytest.mark.parametrize(("flaw", "words"), FLAWS)
async def test_a_certificate_that_is_not_trusted_says_why(tmp_path: Path, flaw: Flaw, words: str) -> None:
    server_tls, client_tls = flawed_contexts(tmp_path, flaw)
    async with raw_server(silence, tls=server_tls) as server:
        answer, submitted, queried = await errors_at(f"https://localhost:{server.port}", client_tls)
    assert isinstance(answer, NotSent)
    for provider_error in (submitted, queried):
        assert (provider_error.code, provider_error.kind, provider_error.host) == (
            "connect_failed",
            Cause.CERTIFICATE,
            "localhost",
        )
        assert words in provider_error.message
    assert server.requests == []


STRANGERS = [
    (Flaw(), "is not trusted: its issuer is unknown to this machine"),
    (Flaw(sends_root=True), "is not trusted: its chain ends in a self-signed certificate"),
]


@pytest.mark.parametrize(("flaw", "words"), STRANGERS)
async def test_a_certificate_of_an_unknown_authority_says_so(tmp_path: Path, flaw: Flaw, words: str) -> None:
    server_tls, _ = flawed_contexts(tmp_path, flaw)
    async with raw_server(silence, tls=server_tls) as server:
        _, submitted, queried = await errors_at(f"https://localhost:{server.port}")
    for provider_error in (submitted, queried):
        assert provider_error.kind is Cause.CERTIFICATE
        assert words in provider_error.message


async def test_a_certificate_without_the_address_that_was_asked_says_so(tmp_path: Path) -> None:
    server_tls, client_tls = flawed_contexts(tmp_path, Flaw())
    async with raw_server(silence, tls=server_tls) as server:
        _, submitted, queried = await errors_at(f"https://127.0.0.1:{server.port}", client_tls)
    for provider_error in (submitted, queried):
        assert provider_error.kind is Cause.CERTIFICATE
        assert "it was made for another address" in provider_error.message


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (close_at_once, "the host closed the connection"),
        (reset_at_once, "the host closed the connection"),
        (speak_smtp, "what answers does not speak TLS"),
    ],
)
async def test_a_port_that_speaks_no_tls_is_named(serve: Callable[..., Awaitable[None]], words: str) -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer, submitted, queried = await errors_at(f"https://localhost:{port}")
    assert isinstance(answer, NotSent)
    for provider_error in (submitted, queried):
        assert (provider_error.code, provider_error.kind) == ("connect_failed", Cause.TLS)
        assert provider_error.message.startswith(
            "no connection: the TLS handshake with host localhost failed: "
        )
        assert words in provider_error.message


async def test_an_http_server_that_is_asked_by_https_is_named() -> None:
    async with await asyncio.start_server(speak_http, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, submitted, queried = await errors_at(f"https://localhost:{port}")
    for provider_error in (submitted, queried):
        assert provider_error.kind is Cause.TLS
        assert "an http:// address, or another port?" in provider_error.message


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(answer(400, HTML))
    await writer.drain()
    writer.close()


async def test_a_host_without_a_common_tls_version_is_named(tmp_path: Path) -> None:
    server_tls, client_tls = flawed_contexts(tmp_path, Flaw())
    server_tls.maximum_version = ssl.TLSVersion.TLSv1_2
    client_tls.minimum_version = ssl.TLSVersion.TLSv1_3
    async with raw_server(silence, tls=server_tls) as server:
        _, submitted, queried = await errors_at(f"https://localhost:{server.port}", client_tls)
    for provider_error in (submitted, queried):
        assert provider_error.kind is Cause.TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_host_that_wants_a_client_certificate_is_an_error_of_tls(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server_tls, client_tls = flawed_contexts(tmp_path, Flaw())
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.maximum_version = version
    async with raw_server(silence, tls=server_tls) as server:
        _, submitted, queried = await errors_at(f"https://localhost:{server.port}", client_tls)
    # In TLS 1.3 the alert comes behind the handshake, and may meet a connection that is reset already.
    allowed = {Cause.TLS} if version is ssl.TLSVersion.TLSv1_2 else {Cause.TLS, Cause.CONNECTION_LOST}
    assert {submitted.kind, queried.kind} <= allowed


async def test_a_tls_handshake_that_hangs_is_named() -> None:
    async with raw_server(silence) as server:
        answer, submitted, _ = await errors_at(f"https://localhost:{server.port}")
    assert isinstance(answer, NotSent)
    assert (submitted.code, submitted.kind) == ("connect_failed", Cause.TLS)
    assert "the TLS handshake with host localhost did not end within 0.4 s" in submitted.message


async def test_a_submit_that_finds_no_free_connection_blames_this_process() -> None:
    async with raw_server(silence) as server:
        made = config(server.origin + "/api/v1", submit_timeout_seconds=0.9, max_connections=1)
        async with DashScope(made) as provider:
            first = asyncio.create_task(provider.submit("fun-asr", FILES, {}))
            await server.arrival()
            second = await provider.submit("fun-asr", FILES, {})
            assert isinstance(await first, Lost)
    assert len(server.requests) == 1
    assert isinstance(second, NotSent)
    assert second.provider_error.kind is Cause.LOCAL
    assert "all connections of this process to host 127.0.0.1 are in use" in second.provider_error.message


# A connection, and no useful answer.


@dataclass(frozen=True)
class Odd:
    """A reply, and what is made of it."""

    reply: Reply
    code: str
    cause: Cause
    words: str
    http_status: int | None = None


ODD = {
    "a hung server": Odd(silence, "timeout", Cause.TIMEOUT, "host 127.0.0.1 did not answer within"),
    "a cut": Odd(cut, "connection_lost", Cause.CONNECTION_LOST, "the connection to host 127.0.0.1 was lost"),
    "half an answer": Odd(cut_within, "connection_lost", Cause.CONNECTION_LOST, "was lost"),
    "another protocol": Odd(babble, "connection_lost", Cause.WRONG_ANSWER, "answers is not HTTP"),
    "a web page": Odd(
        answer(200, HTML, content_type="text/html; charset=utf-8"),
        *(
            "not_json",
            Cause.WRONG_ANSWER,
            "127.0.0.1 answered 200 with a web page that is no JSON object",
            200,
        ),
    ),
    "a web page that says it is JSON": Odd(
        answer(200, HTML), "not_json", Cause.WRONG_ANSWER, "with a web page", 200
    ),
    "an empty answer": Odd(answer(200), "not_json", Cause.WRONG_ANSWER, "with an empty body", 200),
    "text": Odd(
        answer(200, "OK", content_type="text/plain"),
        *("not_json", Cause.WRONG_ANSWER, "with text/plain that is no JSON object", 200),
    ),
    "a list": Odd(
        answer(200, "[1]"), "not_json", Cause.WRONG_ANSWER, "with application/json that is no", 200
    ),
    "no type": Odd(
        answer(200, "x", content_type=f"?{SECRET}"),
        *("not_json", Cause.WRONG_ANSWER, "with a body of no known type", 200),
    ),
    "another API": Odd(
        answer(200, '{"hello": 1}'), "unexpected_answer", Cause.WRONG_ANSWER, "the answer", 200
    ),
    "a wrong path": Odd(
        answer(404, HTML, content_type="text/html"),
        *("http_error", Cause.HTTP_ERROR, "there is no such path; look at SCRIBE_PROVIDER__BASE_URL", 404),
    ),
    "a redirect": Odd(
        answer(301, "", location=f"https://u:p@elsewhere.example/?key={SECRET}"),
        *("http_error", Cause.HTTP_ERROR, "a redirect, which is not followed", 301),
    ),
    "a gateway": Odd(
        answer(502, HTML, content_type="text/html"),
        *("http_error", Cause.HTTP_ERROR, "answered 502 without a message, with a web page", 502),
    ),
    "a bare 503": Odd(answer(503), "http_error", Cause.HTTP_ERROR, "answered 503 without a message", 503),
    "a gateway's timeout": Odd(answer(504), "http_error", Cause.HTTP_ERROR, "answered 504", 504),
    "the provider": Odd(
        answer(500, '{"code": "InternalError", "message": "oops"}'),
        *("InternalError", Cause.PROVIDER_ERROR, "oops", 500),
    ),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_an_answer_of_no_use_says_who_gave_it_and_what_it_was(odd: Odd) -> None:
    async with raw_server(odd.reply) as server:
        _, submitted, queried = await errors_at(server.origin)
    for provider_error in (submitted, queried):
        assert (provider_error.code, provider_error.kind, provider_error.http_status) == (
            odd.code,
            odd.cause,
            odd.http_status,
        )
        assert odd.words in provider_error.message
        assert "canary" not in provider_error.message
    assert submitted.host == "127.0.0.1"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500, 502])
async def test_a_key_of_any_form_that_an_error_quotes_does_not_come_out(status: int) -> None:
    key = "0123abcd-canary-4567"
    quoted = answer(status, f'{{"code": "Odd", "message": "cannot take key {key} here"}}')
    async with raw_server(quoted) as server:
        made = replace(config(server.origin + "/api/v1"), api_key=SecretStr(key))
        async with DashScope(made) as provider:
            submitted = await provider.submit("fun-asr", FILES, {})
            queried = await provider.query(TASK)
            listed = await provider.list_tasks(1)
    assert isinstance(submitted, Refused | Lost)
    for provider_error in (submitted.provider_error, queried, listed):
        assert isinstance(provider_error, ProviderError)
        assert "canary" not in provider_error.message
        assert "cannot take key" in provider_error.message


# Results.


async def test_a_result_host_that_cannot_be_reached_says_why() -> None:
    port = await refused_port()
    context = ssl.create_default_context()
    async with ResultFetcher(FetchGuard(plain_http_hosts=("localhost",)), 4, context) as fetcher:
        found = await fetcher.fetch(f"http://localhost:{port}/x.json?Signature={SECRET}")
    assert isinstance(found, ProviderError)
    assert (found.code, found.kind, found.host) == ("connect_failed", Cause.REFUSED, "localhost")
    words = f"no connection: the result's host localhost refuses connections on port {port}"
    assert found.message == words


# What loopback cannot show.


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (OSError(errno.ENETUNREACH, "x"), Cause.UNREACHABLE, "there is no route to host api.example"),
        (OSError(errno.EHOSTUNREACH, "x"), Cause.UNREACHABLE, "there is no route to host api.example"),
        (OSError(errno.EMFILE, "x"), Cause.LOCAL, "Too many open files"),
        (OSError(errno.ENFILE, "x"), Cause.LOCAL, "cannot open a connection"),
        (OSError(errno.EADDRNOTAVAIL, "x"), Cause.LOCAL, "cannot open a connection"),
        (OSError(errno.ETIMEDOUT, "x"), Cause.CONNECT_TIMEOUT, "did not answer on port 443"),
        (OSError("All connection attempts failed"), Cause.UNREACHABLE, "cannot be reached on port 443"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), Cause.UNKNOWN_HOST, "no name server answers for host"),
        (socket.gaierror(socket.EAI_NONAME, "x"), Cause.UNKNOWN_HOST, "has no address"),
        (UnicodeError("label too long"), Cause.UNKNOWN_HOST, "has no address"),
    ],
)
def test_an_error_of_the_system_is_read_by_its_number(error: Exception, cause: Cause, words: str) -> None:
    wrapped = httpx.ConnectError("x")
    wrapped.__cause__ = error
    provider_error = no_answer(wrapped, PEER, 3.0)
    assert (provider_error.code, provider_error.kind) == ("connect_failed", cause)
    assert words in provider_error.message


def test_of_several_addresses_the_one_that_answered_counts() -> None:
    group = ExceptionGroup(
        "x", [OSError(errno.ENETUNREACH, "v6"), ConnectionRefusedError(errno.ECONNREFUSED, "v4")]
    )
    outer = OSError("All connection attempts failed")
    outer.__cause__ = group
    assert no_connection(outer, PEER, 3.0).kind is Cause.REFUSED


def test_a_host_that_takes_no_connection_in_time_is_named() -> None:
    provider_error = no_connection(httpx.ConnectTimeout("x"), PEER, 3.0)
    assert provider_error.kind is Cause.CONNECT_TIMEOUT
    assert "host api.example took no connection on port 443 within 3 s" in provider_error.message
    closed = no_connection(httpx.ConnectError("x"), PEER, 3.0, in_handshake=True)
    assert (closed.kind, "closed the connection" in closed.message) == (Cause.TLS, True)


def test_a_body_that_cannot_be_read_is_no_lost_connection() -> None:
    provider_error = no_answer(BodyBroken("cut"), PEER, 3.0)
    assert (provider_error.kind, provider_error.message) == (
        Cause.WRONG_ANSWER,
        "the answer of host api.example cannot be read",
    )


def test_a_circle_of_causes_ends() -> None:
    first, second = httpx.ReadError("x"), OSError("y")
    first.__cause__, second.__cause__ = second, first
    assert no_answer(first, PEER, 3.0).kind is Cause.CONNECTION_LOST


def any_error() -> st.SearchStrategy[BaseException]:
    text = st.sampled_from([SECRET, f"https://u:p@h/?Signature={SECRET}", f"Bearer {SECRET}"])
    plain = st.sampled_from(
        [
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.ReadError,
            httpx.RemoteProtocolError,
        ]
    )
    leaf = st.one_of(
        st.builds(lambda kind, words: kind(words), plain, text),
        st.builds(OSError, st.sampled_from(sorted(errno.errorcode)), text),
        st.builds(lambda words: ssl.SSLError(1, words), text),
        st.builds(socket.gaierror, st.integers(-20, 5), text),
        st.builds(TimeoutError, text),
    )
    return st.builds(
        _behind, st.builds(lambda kind, words: kind(words), plain, text), st.lists(leaf, max_size=4)
    )


def _behind(error: BaseException, others: list[BaseException]) -> BaseException:
    last = error
    for other in others:
        last.__cause__ = other
        last = other
    return error


@given(any_error())
def test_no_words_of_a_foreign_exception_come_out(error: BaseException) -> None:
    for provider_error in (no_answer(error, PEER, 3.0), no_connection(error, PEER, 3.0)):
        assert "canary" not in provider_error.message
        assert provider_error.message
        assert provider_error.kind in Cause


async def test_an_answer_that_is_no_http_is_distinguished_from_a_lost_connection() -> None:
    async with raw_server(babble) as server, AiohttpTransport(1, ssl.create_default_context()) as transport:
        with pytest.raises(httpx.RemoteProtocolError):
            await transport.handle_async_request(httpx.Request("GET", server.origin + "/"))
