"""Uploads: what leaves for the store, how much of it at once, and which hosts get it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.core.provider.answers import Cause, ProviderError
from service.core.provider.own_codes import OwnCode
from service.provider import result_files
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.result_files import FetchGuard
from service.provider.wire import upload_policy
from tests.unit.provider.raw_server import RawServer, Reply, answer, raw_server, silence

KEY = "sk-canary0123456789"
CONTENT = bytes(range(256)) * 4096


def policy(host: str, **changes: object) -> bytes:
    data = {
        "policy": "cG9saWN5",
        "signature": "c2lnbg==",
        "upload_dir": "instant/1",
        "upload_host": host,
        "max_file_size_mb": 100,
        "oss_access_key_id": "LTAI0",
        **changes,
    }
    return answer(200, json.dumps({"data": data}))


@asynccontextmanager
async def stored(
    tmp_path: Path, *store: Reply, host: str | None = None, **changes: object
) -> AsyncIterator[tuple[str | ProviderError, RawServer, RawServer]]:
    """What an upload of one file gives, the API's server and the store's."""
    audio = tmp_path / "my call.wav"
    audio.write_bytes(CONTENT)
    async with (
        raw_server(*(store or (answer(200),))) as there,
        raw_server(policy(host or f"{there.origin}/uploads", **changes)) as api,
    ):
        config = DashScopeConfig(f"{api.origin}/api/v1", SecretStr(KEY))
        async with DashScope(config, FetchGuard(plain_http_hosts=("127.0.0.1",))) as provider:
            yield await provider.uploads.put(audio, "fun-asr"), api, there


async def test_a_file_is_stored_by_a_form_that_holds_it_unchanged_and_no_key(tmp_path: Path) -> None:
    async with stored(tmp_path) as (found, api, store):
        assert found == "oss://instant/1/my_call.wav"
        assert api.requests[0].line == b"GET /api/v1/uploads?action=getPolicy&model=fun-asr HTTP/1.1"
        assert api.requests[0].header("authorization") == [f"Bearer {KEY}"]
        [form] = store.requests
        assert form.line == b"POST /uploads HTTP/1.1"
        assert CONTENT in form.body
        assert form.body.index(b'name="key"\r\n\r\ninstant/1/my_call.wav\r\n') < form.body.index(CONTENT)
        assert form.header("content-length") == [str(len(form.body))]
        assert form.header("transfer-encoding") == []
        assert form.header("authorization") == []
        assert KEY.encode() not in form.head + form.body


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (
            "https://store.evil.example/",
            "the upload's host store.evil.example is not below SCRIBE_FETCH__HOSTS",
        ),
        ("http://aliyuncs.com.evil.example/", "is not below SCRIBE_FETCH__HOSTS"),
        ("ftp://a.aliyuncs.com/", "the upload's URL is refused: it is not a plain http or https URL"),
    ],
)
async def test_a_store_on_a_host_that_is_not_the_vendors_gets_nothing(
    tmp_path: Path, host: str, words: str
) -> None:
    async with stored(tmp_path, host=host) as (found, _, store):
        assert isinstance(found, ProviderError)
        assert words in found.message
        assert store.connections == 0


async def test_a_file_over_the_policys_limit_does_not_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stored(tmp_path, max_file_size_mb=1) as (found, _, store):
        assert isinstance(found, str), "a file of the limit's size is stored"
    monkeypatch.setattr(upload_policy, "MIB", 1024**2 - 1)
    async with stored(tmp_path, max_file_size_mb=1) as (found, _, store):
        assert isinstance(found, ProviderError)
        assert found.message == "it has 1048576 bytes, and the provider's store takes 1048575 at most"
        assert store.connections == 0


async def test_the_stores_refusal_and_its_silence_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answer(403, "<Error><Code>AccessDenied</Code><Message>Policy expired.</Message></Error>")
    async with stored(tmp_path, refusal) as (found, _, _store):
        assert isinstance(found, ProviderError)
        assert (found.code, found.message) == ("AccessDenied", "Policy expired.")
    monkeypatch.setattr(result_files, "STALL_SECONDS", 0.2)
    async with asyncio.timeout(30), stored(tmp_path, silence) as (found, _, _store):
        assert isinstance(found, ProviderError)
        assert (found.code, found.cause) == (OwnCode.TIMEOUT, Cause.TIMEOUT)
        assert "the upload's host 127.0.0.1 did not answer" in found.message


async def test_without_a_policy_nothing_is_stored(tmp_path: Path) -> None:
    refused = answer(401, json.dumps({"code": "InvalidApiKey", "message": "Invalid API-key provided."}))
    async with (
        raw_server(refused) as api,
        DashScope(DashScopeConfig(f"{api.origin}/api/v1", SecretStr(KEY))) as provider,
    ):
        found = await provider.uploads.put(tmp_path / "never-opened.wav", "fun-asr")
    assert isinstance(found, ProviderError)
    assert found.code == "InvalidApiKey"
    assert "key not valid for host 127.0.0.1" in found.message
