"""The shapes of an upload: the policy that is read, the form that is sent, the store's answers."""

import json
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.request_decoder import RequestLimits, read_request
from service.core.provider.answers import ProviderError
from service.provider.wire.answer_fields import HttpAnswer
from service.provider.wire.upload_policy import (
    UploadPolicy,
    form_around,
    object_name,
    policy_path,
    read_policy,
    read_stored,
)

DATA: dict[str, Any] = {
    "policy": "eyJleHBpcmF0aW9uIjoi",
    "signature": "c2ln=",
    "upload_dir": "dashscope-instant/0a/2026-03-02/x",
    "upload_host": "https://dashscope-file-mgr.oss-cn-beijing.aliyuncs.com",
    "expire_in_seconds": 300,
    "max_file_size_mb": 1024,
    "capacity_limit_mb": 999,
    "oss_access_key_id": "LTAI0",
    "x_oss_object_acl": "private",
    "x_oss_forbid_overwrite": "true",
}


def policy(**changes: Any) -> UploadPolicy | ProviderError:
    document = {"request_id": "r", "data": {**DATA, **changes}}
    return read_policy(HttpAnswer(200, {}, json.dumps(document).encode()), "api.example")


def granted(**changes: Any) -> UploadPolicy:
    found = policy(**changes)
    assert isinstance(found, UploadPolicy)
    return found


def test_the_path_asks_for_one_model() -> None:
    assert policy_path("a&b") == "/uploads?action=getPolicy&model=a%26b"


def test_a_policy_is_read_with_its_limit_and_a_host_that_has_a_path() -> None:
    found = granted()
    assert found.host == "https://dashscope-file-mgr.oss-cn-beijing.aliyuncs.com/"
    assert found.max_bytes == 1024**3
    assert found.file_url("a.wav") == "oss://dashscope-instant/0a/2026-03-02/x/a.wav"
    assert granted(upload_host="http://127.0.0.1:1/uploads").host == "http://127.0.0.1:1/uploads"
    assert granted(max_file_size_mb=None).max_bytes is None
    assert granted(max_file_size_mb=True).max_bytes is None


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": ""},
        {"signature": None},
        {"upload_host": 7},
        {"oss_access_key_id": 'x"\r\nContent-Type: text/html'},
        {"policy": "\u00fc"},
        {"upload_dir": "a b"},
        {"upload_dir": "../x?y"},
    ],
    ids=str,
)
def test_a_policy_that_lacks_a_part_or_would_break_the_form_is_an_error(changes: dict[str, Any]) -> None:
    found = policy(**changes)
    assert isinstance(found, ProviderError)
    assert "api.example grants no upload" in found.message


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": 1}', b'{"code": "Denied.X", "message": "no"}'])
def test_any_other_answer_is_an_error(body: bytes) -> None:
    assert isinstance(read_policy(HttpAnswer(200, {}, body), "h"), ProviderError)
    assert isinstance(read_policy(HttpAnswer(403, {}, body), "h"), ProviderError)


def test_the_form_ends_with_the_file_as_the_store_asks() -> None:
    head, tail = form_around(granted(), "a.wav", "b")
    names = [line.split(b'"')[1] for line in head.split(b"\r\n") if b"name=" in line]
    assert names[-2:] == [b"key", b"file"]
    assert names[:-2] == [
        *(b"OSSAccessKeyId", b"Signature", b"policy", b"x-oss-object-acl", b"x-oss-forbid-overwrite"),
        b"success_action_status",
    ]
    assert b"\r\n\r\ndashscope-instant/0a/2026-03-02/x/a.wav\r\n" in head
    assert tail == b"\r\n--b--\r\n"


@given(st.text(min_size=1, max_size=300).filter(lambda name: "/" not in name and "\0" not in name))
def test_any_file_name_becomes_one_that_a_request_may_hold(name: str) -> None:
    found = object_name(PurePath(name))
    assert len(found) <= 110
    url = granted().file_url(found)
    request = {"request_id": "r", "model": "fun-asr", "file_urls": [url]}
    read_request(json.dumps(request).encode(), (), RequestLimits())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("my call.mp3", "my_call.mp3"), ("Übung.WAV", "bung.WAV"), ("录音.m4a", "audio.m4a"), ("a", "a")],
)
def test_a_file_name_keeps_what_a_url_can_hold(name: str, expected: str) -> None:
    assert object_name(PurePath("/tmp") / name) == expected


def test_the_stores_refusal_is_read_from_its_xml() -> None:
    xml = b"<Error><Code>AccessDenied</Code><Message>Invalid according to Policy: Policy expired.</Message>"
    found = read_stored(HttpAnswer(403, {}, xml), "store.example")
    assert found is not None
    assert (found.code, found.http_status) == ("AccessDenied", 403)
    assert found.message == "Invalid according to Policy: Policy expired."
    other = read_stored(HttpAnswer(503, {}, b"\xff"), "store.example")
    assert other is not None
    assert other.message == "store.example answered 503"
    assert read_stored(HttpAnswer(204, {}, b""), "store.example") is None
