"""The fetch guard: which URLs are opened, what goes out, and what stops a body."""

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp.abc import ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import UNREADABLE_ATTEMPTS
from service.errors import FailureCode
from service.provider.http.addresses import CheckedResolver, Lookup
from service.provider.http.bodies import MAX_MEMBERS, BodyCutShort, BodyTooLarge, read_body
from service.provider.http.transport import MAX_FIELD_BYTES, MAX_HEADERS
from service.provider.result_files import FetchGuard, FetchTarget, ResultFetcher, fetch_target
from tests.unit.provider.http.certificates import server_and_client_contexts
from tests.unit.provider.raw_server import RawServer, answer, raw_server, silence

GUARD = FetchGuard(plain_http_hosts=("127.0.0.1", "simulator"))
SIGNED = "/prod/fun-asr/20260302/10%3A15/7c1d%2f-1.json?Expires=1&Signature=a%2Bb%2F%3D&x='|%27"


async def loopback(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def fetcher(lookup: Lookup = loopback, **limits: Any) -> AsyncIterator[ResultFetcher]:
    guard = FetchGuard(**{"plain_http_hosts": GUARD.plain_http_hosts, "timeout_seconds": 5.0, **limits})
    resolver = CheckedResolver(frozenset(guard.plain_http_hosts), lookup)
    async with ResultFetcher(guard, 4, ssl.create_default_context(), resolver) as opened:
        yield opened


def provider_error(found: bytes | ProviderError) -> ProviderError:
    assert isinstance(found, ProviderError)
    return found


@pytest.mark.parametrize(
    "url",
    [
        "https://dashscope-result-bj.oss-cn-beijing.aliyuncs.com" + SIGNED,
        "https://aliyuncs.com/x",
        "HTTPS://Results.AliYunCS.com/x",
        "https://a.aliyuncs.com:443/x",
        "https://a.aliyuncs.com//evil.example/../x",
    ],
)
def test_an_https_url_below_an_allowed_suffix_is_opened(url: str) -> None:
    assert isinstance(fetch_target(url, GUARD), FetchTarget)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.aliyuncs.com:443/x",
        "http://a.aliyuncs.com:8080/x",
        "http://a.aliyuncs.com:0/x",
        "http://a.aliyuncs.com:99999/x",
        "http://a.aliyuncs.com@evil.com/x",
        "http://evil.com@a.aliyuncs.com/x",
        "http://93.184.216.34/x",
        "http://[2606:2800:220:1::1]/x",
        "http://localhost/x",
        "http:/a.aliyuncs.com/x",
        "http://a.aliyuncs.com",
        "http://a.aliyuncs.com/x#fragment",
        "ws://a.aliyuncs.com/x",
        "https://a.aliyuncs.com@evil.com/x",
        "https://evil.com@a.aliyuncs.com/x",
        "https://a.aliyuncs.com:pw@evil.com/x",
        "https://evil.com#@a.aliyuncs.com/x",
        "https://evil.com?a.aliyuncs.com/x",
        "https://evil.com\\.aliyuncs.com/x",
        "https://evil.com%2f.aliyuncs.com/x",
        "https://evil.com\t.aliyuncs.com/x",
        "https://a.aliyuncs.com./x",
        "https://.aliyuncs.com/x",
        "https://a..aliyuncs.com/x",
        "https://aliyuncs。com/x",
        "https://аliyuncs.com/x",
        "https://93.184.216.34/x",
        "https://[2606:2800:220:1::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://localhost/x",
        "https://results/x",
        "https://127.0.0.0x1/x",
        "https://1.2.3/x",
        "https://a.7/x",
        "https://-a.example/x",
        "https://a-.example/x",
        "https://a.example-/x",
        "https://a..example/x",
        "https://a.example./x",
        f"https://{'a' * 64}.example/x",
        f"https://{'a.' * 130}example/x",
        "https://results.example:8443/x",
        "https://results.example:80/x",
        f"https://{'a' * 64}.aliyuncs.com/x",
        f"http://{'a' * 64}.aliyuncs.com/x",
        "http://results.example:443/x",
        "http://127.0.0.2/x",
        "http://127.1/x",
        "https://a.aliyuncs.com:8443/x",
        "https://a.aliyuncs.com:80/x",
        "http://127.0.0.1:0/x",
        "http://127.0.0.1:70000/x",
        "https://a.aliyuncs.com/x y",
        "https://a.aliyuncs.com/x\r\nHost: evil",
        "https://a.aliyuncs.com/你",
        "https://a.aliyuncs.com/x#fragment",
        "https://a.aliyuncs.com",
        "https:///x",
        "//a.aliyuncs.com/x",
        "ftp://a.aliyuncs.com/x",
        "file:///etc/passwd",
        "",
        "\ud800",
    ],
)
async def test_any_other_url_is_refused_without_a_connection(url: str) -> None:
    async def lookup(host: str, _port: int) -> Sequence[str]:
        raise AssertionError(f"{host} was looked up")

    async with fetcher(lookup) as results:
        refused = provider_error(await results.fetch(url))
    assert refused.code == "fetch_refused"


class Redirecting(CheckedResolver):
    """Checks public addresses, then sends every connection to a server of the test instead."""

    def __init__(self, port: int, *addresses: str) -> None:
        async def lookup(_host: str, _port: int) -> Sequence[str]:
            return addresses or ["93.184.216.34"]

        super().__init__(frozenset(), lookup)
        self._port = port
        self.asked: list[tuple[str, int]] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append((host, port))
        found = await super().resolve(host, port, family)
        return [{**each, "host": "127.0.0.1", "port": self._port} for each in found[:1]]


VENDOR = "dashscope-result-bj.oss-cn-beijing.aliyuncs.com"


@asynccontextmanager
async def vendor(
    tmp_path: Path, *addresses: str, certified: str = VENDOR
) -> AsyncIterator[tuple[RawServer, ResultFetcher, Redirecting]]:
    """The result host: a TLS server of ours, which a fetcher that trusts it takes for port 443 of it."""
    serving, trusting = server_and_client_contexts(tmp_path, certified)
    async with raw_server(answer(200, "{}"), tls=serving) as server:
        resolver = Redirecting(server.port, *addresses)
        async with ResultFetcher(FetchGuard(timeout_seconds=5.0), 4, trusting, resolver) as results:
            yield server, results, resolver


@pytest.mark.parametrize(
    "origin",
    [
        f"http://{VENDOR}",
        f"http://{VENDOR}:80",
        f"http://{VENDOR}:",
        f"http://{VENDOR}:0080",
        f"HTTP://{VENDOR.upper()}",
        f"https://{VENDOR}",
        f"https://{VENDOR}:443",
        f"https://{VENDOR}:",
    ],
)
async def test_a_result_behind_an_http_url_is_fetched_by_https_with_the_path_unchanged(
    tmp_path: Path, origin: str
) -> None:
    async with vendor(tmp_path) as (server, results, resolver):
        assert await results.fetch(origin + SIGNED) == b"{}"
    assert resolver.asked == [(VENDOR, 443)]
    assert server.requests[0].line == f"GET {SIGNED} HTTP/1.1".encode()
    assert server.requests[0].header("host") == [VENDOR]


async def test_an_http_url_does_not_go_to_a_host_whose_certificate_is_anothers(tmp_path: Path) -> None:
    async with vendor(tmp_path, certified="other.aliyuncs.com") as (server, results, _):
        assert provider_error(await results.fetch(f"http://{VENDOR}/x")).code == "connect_failed"
        assert server.requests == []


async def test_a_result_behind_nat64_is_fetched(tmp_path: Path) -> None:
    async with vendor(tmp_path, "64:ff9b::5db8:d822") as (server, results, _):
        assert await results.fetch(f"https://{VENDOR}/x") == b"{}"
    assert server.connections == 1


async def test_an_http_url_leads_no_more_inside_than_an_https_one(tmp_path: Path) -> None:
    async with vendor(tmp_path, "198.18.3.4") as (server, results, _):
        refused = provider_error(await results.fetch(f"http://{VENDOR}/x"))
        assert server.connections == 0
    assert refused.code == "fetch_refused"
    assert "198.18.3.4" in refused.message
    assert "SCRIBE_FETCH__PLAIN_HTTP_HOSTS" in refused.message


def test_a_simulators_own_host_is_still_reached_as_its_url_says() -> None:
    guard = FetchGuard(hosts=("example.org",), plain_http_hosts=("sim.example.org",))
    assert fetch_target("http://sim.example.org/x", guard) == FetchTarget("http", "sim.example.org", 80, "/x")
    assert fetch_target("http://sim.example.org:81/x", guard) == FetchTarget(
        "http", "sim.example.org", 81, "/x"
    )


@pytest.mark.parametrize(
    "host",
    [
        "evil-aliyuncs.com",
        "aliyuncs.com.evil.com",
        "evil.com",
        "dashscope-result-sgp.oss-ap-southeast-1.example.net",
        "a.b",
        "x_y.example",
        "1.2.3.example",
        "results.xn--p1ai",
        f"{'a' * 63}.example",
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "https://{}/x?Signature=abc",
        "HTTPS://{}:443/aliyuncs.com?Signature=abc",
        "http://{}/x?Signature=abc",
        "http://{}:80/x?Signature=abc",
    ],
)
async def test_a_host_that_the_settings_could_allow_is_reported_with_its_setting(
    form: str, host: str
) -> None:
    async def lookup(host: str, _port: int) -> Sequence[str]:
        raise AssertionError(f"{host} was looked up")

    async with fetcher(lookup) as results:
        refused = provider_error(await results.fetch(form.format(host)))
    assert refused == ProviderError(
        "fetch_host_refused", f"the result's host {host} is not below SCRIBE_FETCH__HOSTS"
    )


@pytest.mark.parametrize("url", ["https://evil.com/x?Signature=abc", "https://evil/x?Signature=abc"])
def test_a_refusal_does_not_repeat_the_url(url: str) -> None:
    refused = fetch_target(url, GUARD)
    assert isinstance(refused, ProviderError)
    assert "Signature" not in refused.message


def test_the_hosts_of_a_guard_may_be_written_in_any_case() -> None:
    guard = FetchGuard(hosts=("Example.ORG",), plain_http_hosts=("[::1]",))
    assert isinstance(fetch_target("https://a.example.org/x", guard), FetchTarget)
    assert isinstance(fetch_target("http://[::1]:8080/x", guard), FetchTarget)


async def test_path_and_query_go_out_byte_for_byte_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with raw_server(answer(200, "{}", set_cookie="a=b")) as server, fetcher() as results:
        for _ in range(2):
            assert await results.fetch(server.origin + SIGNED) == b"{}"
    for request in server.requests:
        assert request.line == f"GET {SIGNED} HTTP/1.1".encode()
        assert request.header("host") == [f"127.0.0.1:{server.port}"]
        assert request.header("authorization") == request.header("cookie") == []
        names = {line.partition(b":")[0].lower() for line in request.head.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"accept", b"accept-encoding", b"user-agent"}


@pytest.mark.parametrize("target", ["/a/../b/./c//d", "/%7Ea/%e4?q=%e4;b", "//x", '/a?b?c=[1]&d={}`^<>"'])
async def test_a_path_is_not_tidied_up(target: str) -> None:
    async with raw_server(answer(200, "{}")) as server, fetcher() as results:
        assert await results.fetch(server.origin + target) == b"{}"
    assert server.requests[0].line == f"GET {target} HTTP/1.1".encode()


async def test_a_redirect_is_not_followed() -> None:
    async with (
        raw_server(answer(200, "{}")) as other,
        raw_server(answer(302, location=other.origin + "/x")) as server,
        fetcher() as results,
    ):
        found = provider_error(await results.fetch(server.origin + "/x"))
    assert (found.code, found.http_status, other.requests) == ("http_error", 302, [])


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_an_error_is_recognised_by_its_status(status: int) -> None:
    async with raw_server(answer(status, "<Error/>", retry_after="3")) as server, fetcher() as results:
        found = provider_error(await results.fetch(server.origin + SIGNED))
    assert (found.code, found.http_status, found.retry_after_seconds) == ("http_error", status, 3.0)
    assert "Signature" not in found.message


async def test_a_gzip_body_is_decoded() -> None:
    body = gzip.compress(b'{"transcripts":[]}')
    async with raw_server(answer(200, body, content_encoding="gzip")) as server, fetcher() as results:
        assert await results.fetch(server.origin + "/x") == b'{"transcripts":[]}'


async def test_a_gzip_bomb_stops_at_the_decoded_limit() -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    async with (
        raw_server(answer(200, bomb, content_encoding="gzip")) as server,
        fetcher(max_decoded_bytes=1_000_000) as results,
    ):
        found = provider_error(await results.fetch(server.origin + "/x"))
    assert found.code == "fetch_too_large"


async def test_a_plain_body_stops_at_either_limit() -> None:
    async with raw_server(answer(200, b" " * 100_001)) as server:
        async with fetcher(max_compressed_bytes=100_000) as results:
            assert provider_error(await results.fetch(server.origin + "/x")).code == "fetch_too_large"
        async with fetcher(max_decoded_bytes=100_000) as results:
            assert provider_error(await results.fetch(server.origin + "/x")).code == "fetch_too_large"
        async with fetcher(max_decoded_bytes=100_001, max_compressed_bytes=100_001) as results:
            assert len(await results.fetch(server.origin + "/x")) == 100_001  # type: ignore[arg-type]


async def test_a_body_that_never_ends_stops_at_the_limit() -> None:
    async def endless(writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
            await writer.drain()

    async with raw_server(endless) as server, fetcher(max_compressed_bytes=1_000_000) as results:
        assert provider_error(await results.fetch(server.origin + "/x")).code == "fetch_too_large"


DOCUMENT = b'{"transcripts":[' + b'{"text":"x"},' * 20_000 + b"{}]}"


def members(*parts: bytes) -> bytes:
    return b"".join(map(gzip.compress, parts))


def bare(body: bytes) -> bytes:
    deflating = zlib.compressobj(wbits=-15)
    return deflating.compress(body) + deflating.flush()


def in_chunks(body: bytes, size: int, encoding: str) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """An answer whose body comes in pieces of this size."""

    async def write(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode())
        for start in range(0, len(body), size):
            writer.write(body[start : start + size])
            await writer.drain()

    return write


HALVES = members(DOCUMENT[:1000], DOCUMENT[1000:])


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(DOCUMENT)),
        ("gzip", HALVES),
        ("gzip", members(*(DOCUMENT[at : at + 100] for at in range(0, len(DOCUMENT), 100)))),
        ("gzip", members(b"", DOCUMENT, b"", b"")),
        ("gzip", gzip.compress(DOCUMENT) + bytes(1000)),
        ("gzip", members(DOCUMENT[:9]) + bytes(7) + members(DOCUMENT[9:]) + bytes(1)),
        ("gzip", HALVES + b"trailing"),
        ("deflate", zlib.compress(DOCUMENT) + b"trailing"),
        ("x-gzip", HALVES),
        ("GZip", HALVES),
        ("gzip, identity", HALVES),
        ("identity,gzip", HALVES),
        ("deflate", zlib.compress(DOCUMENT)),
        ("deflate", zlib.compress(DOCUMENT, 1)),
        ("deflate", bare(DOCUMENT)),
        ("identity", DOCUMENT),
        ("", DOCUMENT),
        (" , identity ", DOCUMENT),
    ],
)
async def test_a_body_is_not_cut_whatever_usual_encoding_it_has(encoding: str, body: bytes) -> None:
    async with raw_server(answer(200, body, content_encoding=encoding)) as server, fetcher() as results:
        assert await results.fetch(server.origin + "/x") == DOCUMENT


@pytest.mark.parametrize("size", [1, 2, 3, 500])
@pytest.mark.parametrize("encode", [members, zlib.compress, bare])
async def test_where_the_pieces_of_a_body_end_does_not_matter(
    size: int, encode: Callable[[bytes], bytes]
) -> None:
    body = encode(b'{"transcripts":[]}') + (bytes(3) + members(b" ") if encode is members else b"")
    encoding = "gzip" if encode is members else "deflate"
    async with raw_server(in_chunks(body, size, encoding)) as server, fetcher() as results:
        found = await results.fetch(server.origin + "/x")
    assert isinstance(found, bytes)
    assert found.strip() == b'{"transcripts":[]}'


async def decoded(wire: bytes, size: int, encoding: str, limit: int = 10**6) -> bytes:
    """What a body decodes to that comes in pieces of this size, whatever a socket would make of them."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(wire), size):
            yield wire[start : start + size]

    response = httpx.Response(200, headers={"content-encoding": encoding}, content=pieces())
    return await read_body(response, len(wire), limit)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("encode", [zlib.compress, bare])
async def test_the_first_byte_of_a_deflated_body_may_come_alone(
    size: int, encode: Callable[[bytes], bytes]
) -> None:
    assert await decoded(encode(b"{}"), size, "deflate") == b"{}"
    with pytest.raises(BodyCutShort):
        await decoded(encode(b"{}")[:1], size, "deflate")


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=6), st.integers(1, 50), st.integers(0, 1000))
async def test_a_body_of_many_members_is_read_whole_and_never_over_the_limit(
    parts: list[bytes], size: int, limit: int
) -> None:
    whole, wire = b"".join(parts), members(*parts)
    try:
        assert await decoded(wire, size, "gzip", limit) == whole
    except BodyTooLarge:
        assert len(whole) > limit


@pytest.mark.parametrize(
    "body", [members(*[b" "] * (MAX_MEMBERS + 1)), members(b" " * 5_000_000, b" " * 5_000_000, b" ")]
)
async def test_members_together_are_bounded_in_number_and_in_bytes(body: bytes) -> None:
    async with (
        raw_server(answer(200, body, content_encoding="gzip")) as server,
        fetcher(max_decoded_bytes=10_000_000) as results,
    ):
        found = provider_error(await results.fetch(server.origin + "/x"))
    assert found.code in ("fetch_unreadable", "fetch_too_large")


@pytest.mark.parametrize(
    "encoding",
    ["br", "zstd", "compress", "aws-chunked", "gzip, gzip", "deflate, gzip", "base64", "utf-8", "?"],
)
async def test_an_encoding_that_we_cannot_undo_is_not_fetched_until_the_deadline(encoding: str) -> None:
    async with raw_server(answer(200, b"{}", content_encoding=encoding)) as server, fetcher() as results:
        found = provider_error(await results.fetch(server.origin + "/x"))
    assert (found.code, error_table.on_fetch(found).code) == (
        "fetch_unreadable",
        FailureCode.RESULT_UNREADABLE,
    )
    assert error_table.on_fetch(found).max_attempts == UNREADABLE_ATTEMPTS


@pytest.mark.parametrize("cut", [1, 5, 10, 30, len(HALVES) - 1])
async def test_a_shortened_gzip_body_is_not_taken_for_whole(cut: int) -> None:
    body = HALVES[:cut]
    async with raw_server(answer(200, body, content_encoding="gzip")) as server, fetcher() as results:
        assert provider_error(await results.fetch(server.origin + "/x")).code == "connection_lost"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"\x00" + members(DOCUMENT)),
        ("gzip", b"{}"),
        ("gzip", members(DOCUMENT)[:-8] + bytes(8)),
        ("gzip", members(DOCUMENT) + b"\x1f\x8btrailing"),
        ("x-gzip", zlib.compress(DOCUMENT)),
        ("deflate", zlib.compress(DOCUMENT)[:-4] + bytes(4)),
        ("deflate", b"\xff" * 20),
    ],
)
async def test_a_damaged_body_is_neither_taken_for_whole_nor_fetched_for_ever(
    encoding: str, body: bytes
) -> None:
    async with raw_server(answer(200, body, content_encoding=encoding)) as server, fetcher() as results:
        assert provider_error(await results.fetch(server.origin + "/x")).code == "fetch_unreadable"


def with_headers(*fields: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", "Content-Length: 2", *fields, "", "{}")).encode()


@pytest.mark.parametrize(
    "fields",
    [
        [f"x-oss-meta: {'x' * 8_190}"],
        [f"x-oss-meta: {'x' * 60_000}"],
        [f"{'x' * 8_190}: 1"],
        [f"x-{number}: {number}" for number in range(101)],
        [f"x-{number}: {number}" for number in range(200)],
        ["Set-Cookie: a=b"] * 150,
    ],
)
async def test_a_result_with_large_or_many_headers_is_fetched(fields: list[str]) -> None:
    async with raw_server(with_headers(*fields)) as server, fetcher() as results:
        assert await results.fetch(server.origin + "/x") == b"{}"


@pytest.mark.parametrize(
    "fields",
    [
        [f"x: {'x' * (MAX_FIELD_BYTES + 1)}"],
        [f"{'x' * (MAX_FIELD_BYTES + 1)}: 1"],
        [f"x-{number}: {number}" for number in range(MAX_HEADERS + 1)],
    ],
)
async def test_headers_over_the_limits_are_not_a_lost_connection_until_the_deadline(
    fields: list[str],
) -> None:
    async with raw_server(with_headers(*fields)) as server, fetcher() as results:
        found = provider_error(await results.fetch(server.origin + "/x"))
    assert found.code == "fetch_unreadable"
    assert "headers" in found.message
    assert error_table.on_fetch(found).max_attempts == UNREADABLE_ATTEMPTS


async def test_a_body_shorter_than_announced_is_a_lost_connection() -> None:
    async def cut_short(writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with raw_server(cut_short) as server, fetcher() as results:
        assert provider_error(await results.fetch(server.origin + "/x")).code == "connection_lost"


@pytest.mark.parametrize(
    "noise", [b"", b"\x16\x03\x01", b"HTTP/9 what\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 9_999]
)
async def test_something_that_is_not_http_is_a_lost_connection(noise: bytes) -> None:
    async def hang_up(writer: Any) -> None:
        writer.write(noise)
        await writer.drain()
        writer.close()

    async with raw_server(hang_up) as server, fetcher() as results:
        assert provider_error(await results.fetch(server.origin + "/x")).code == "connection_lost"


async def test_a_result_that_drips_is_bounded_by_the_total_time() -> None:
    async def drip(writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_server(drip) as server, fetcher(timeout_seconds=1.5) as results:
        assert provider_error(await results.fetch(server.origin + "/x")).code == "timeout"
        assert await server.ending() == "reset"


async def test_a_host_that_does_not_answer_is_a_timeout() -> None:
    async with raw_server(silence) as server, fetcher(timeout_seconds=1.0) as results:
        assert provider_error(await results.fetch(server.origin + "/x")).code == "timeout"


async def test_a_host_that_is_not_there_is_a_failed_connection() -> None:
    async with raw_server(silence) as server:
        origin = server.origin
    async with fetcher() as results:
        assert provider_error(await results.fetch(origin + "/x")).code == "connect_failed"


async def test_a_name_without_an_address_is_a_failed_connection() -> None:
    async def nothing(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    async with fetcher(nothing) as results:
        assert provider_error(await results.fetch("https://a.aliyuncs.com/x")).code == "connect_failed"


async def test_an_allowed_name_that_leads_inside_is_refused_without_a_connection() -> None:
    async with raw_server(answer(200, "{}"), port=0) as server, fetcher() as results:
        found = provider_error(await results.fetch("https://metadata.aliyuncs.com/x"))
        assert server.connections == 0
    assert found.code == "fetch_refused"
    assert "metadata.aliyuncs.com" in found.message


async def test_the_connection_goes_to_the_address_that_was_checked_not_to_a_later_one() -> None:
    """DNS rebinding: the second answer of the resolver is never asked for."""
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2"])
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return [next(answers)]

    async with (
        raw_server(answer(200, "checked", connection="close")) as checked,
        raw_server(answer(200, "later"), host="127.0.0.2", port=checked.port) as later,
        fetcher(rebinding) as results,
    ):
        assert await results.fetch(f"http://simulator:{checked.port}/x") == b"checked"
    assert asked == ["simulator"]
    assert later.connections == 0
    assert checked.requests[0].header("host") == [f"simulator:{checked.port}"]


async def test_the_client_of_httpx_which_logs_urls_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with raw_server(answer(200, "{}")) as server, fetcher() as results:
        await results.fetch(server.origin + SIGNED)
    assert "Signature" not in caplog.text


async def test_a_connection_is_used_again() -> None:
    async with raw_server(answer(200, "{}")) as server, fetcher() as results:
        for _ in range(3):
            assert await results.fetch(server.origin + "/x") == b"{}"
    assert server.connections == 1
