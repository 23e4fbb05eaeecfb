"""The fetch guard: which URLs are opened, what goes out, and what stops a body."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.core.task import Trouble
from service.provider.addresses import Lookup
from service.provider.fetch import FetchGuard, Place, ResultFetcher, place_of
from tests.unit.provider.raw_server import answer, raw_server, silence

GUARD = FetchGuard(plain_http_hosts=("127.0.0.1", "simulator"))
SIGNED = "/prod/fun-asr/20260302/10%3A15/7c1d%2f-1.json?Expires=1&Signature=a%2Bb%2F%3D&x='|%27"


async def loopback(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def fetcher(lookup: Lookup = loopback, **limits: Any) -> AsyncIterator[ResultFetcher]:
    guard = FetchGuard(**{"plain_http_hosts": GUARD.plain_http_hosts, "timeout_seconds": 5.0, **limits})
    async with ResultFetcher(guard, 4, ssl.create_default_context(), lookup) as opened:
        yield opened


def trouble(found: bytes | Trouble) -> Trouble:
    assert isinstance(found, Trouble)
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
    assert isinstance(place_of(url, GUARD), Place)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.aliyuncs.com/x",
        "https://evil-aliyuncs.com/x",
        "https://aliyuncs.com.evil.com/x",
        "https://evil.com/aliyuncs.com",
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
        refused = trouble(await results.fetch(url))
    assert refused.code == "fetch_refused"


def test_a_refusal_does_not_repeat_the_url() -> None:
    refused = place_of("https://evil.com/x?Signature=abc", GUARD)
    assert isinstance(refused, Trouble)
    assert "Signature" not in refused.message


def test_the_hosts_of_a_guard_may_be_written_in_any_case() -> None:
    guard = FetchGuard(hosts=("Example.ORG",), plain_http_hosts=("[::1]",))
    assert isinstance(place_of("https://a.example.org/x", guard), Place)
    assert isinstance(place_of("http://[::1]:8080/x", guard), Place)


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
        found = trouble(await results.fetch(server.origin + "/x"))
    assert (found.code, found.http_status, other.requests) == ("http_error", 302, [])


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_an_error_is_told_by_its_status(status: int) -> None:
    async with raw_server(answer(status, "<Error/>", retry_after="3")) as server, fetcher() as results:
        found = trouble(await results.fetch(server.origin + SIGNED))
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
        found = trouble(await results.fetch(server.origin + "/x"))
    assert found.code == "fetch_too_large"


async def test_a_plain_body_stops_at_either_limit() -> None:
    async with raw_server(answer(200, b" " * 100_001)) as server:
        async with fetcher(max_compressed_bytes=100_000) as results:
            assert trouble(await results.fetch(server.origin + "/x")).code == "fetch_too_large"
        async with fetcher(max_decoded_bytes=100_000) as results:
            assert trouble(await results.fetch(server.origin + "/x")).code == "fetch_too_large"
        async with fetcher(max_decoded_bytes=100_001, max_compressed_bytes=100_001) as results:
            assert len(await results.fetch(server.origin + "/x")) == 100_001  # type: ignore[arg-type]


async def test_a_body_that_never_ends_stops_at_the_limit() -> None:
    async def endless(writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
            await writer.drain()

    async with raw_server(endless) as server, fetcher(max_compressed_bytes=1_000_000) as results:
        assert trouble(await results.fetch(server.origin + "/x")).code == "fetch_too_large"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
async def test_an_encoding_we_did_not_ask_for_is_not_guessed_at(encoding: str) -> None:
    async with raw_server(answer(200, b"{}", content_encoding=encoding)) as server, fetcher() as results:
        assert trouble(await results.fetch(server.origin + "/x")).code == "connection_lost"


@pytest.mark.parametrize("cut", [0, 1, 10])
async def test_a_damaged_or_shortened_gzip_body_is_not_taken_for_whole(cut: int) -> None:
    body = gzip.compress(b'{"transcripts":[]}')[: cut or None]
    body = body if cut else b"\x00" + body
    async with raw_server(answer(200, body, content_encoding="gzip")) as server, fetcher() as results:
        assert trouble(await results.fetch(server.origin + "/x")).code == "connection_lost"


async def test_a_body_shorter_than_announced_is_a_lost_connection() -> None:
    async def cut_short(writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with raw_server(cut_short) as server, fetcher() as results:
        assert trouble(await results.fetch(server.origin + "/x")).code == "connection_lost"


@pytest.mark.parametrize(
    "noise", [b"", b"\x16\x03\x01", b"HTTP/9 what\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 99_999]
)
async def test_something_that_is_not_http_is_a_lost_connection(noise: bytes) -> None:
    async def hang_up(writer: Any) -> None:
        writer.write(noise)
        await writer.drain()
        writer.close()

    async with raw_server(hang_up) as server, fetcher() as results:
        assert trouble(await results.fetch(server.origin + "/x")).code == "connection_lost"


async def test_a_result_that_drips_is_bounded_by_the_total_time() -> None:
    async def drip(writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_server(drip) as server, fetcher(timeout_seconds=1.5) as results:
        assert trouble(await results.fetch(server.origin + "/x")).code == "timeout"
        assert await server.ending() == "reset"


async def test_a_host_that_does_not_answer_is_a_timeout() -> None:
    async with raw_server(silence) as server, fetcher(timeout_seconds=1.0) as results:
        assert trouble(await results.fetch(server.origin + "/x")).code == "timeout"


async def test_a_host_that_is_not_there_is_a_failed_connection() -> None:
    async with raw_server(silence) as server:
        origin = server.origin
    async with fetcher() as results:
        assert trouble(await results.fetch(origin + "/x")).code == "connect_failed"


async def test_a_name_without_an_address_is_a_failed_connection() -> None:
    async def nothing(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    async with fetcher(nothing) as results:
        assert trouble(await results.fetch("https://a.aliyuncs.com/x")).code == "connect_failed"


async def test_an_allowed_name_that_leads_inside_is_refused_without_a_connection() -> None:
    async with raw_server(answer(200, "{}"), port=0) as server, fetcher() as results:
        found = trouble(await results.fetch("https://metadata.aliyuncs.com/x"))
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
