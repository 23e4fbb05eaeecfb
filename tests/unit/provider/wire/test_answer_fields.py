"""What every vendor answer has in common: codes, messages, and the wish to be left alone for a while."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.provider.wire.answer_fields import (
    HttpAnswer,
    code_of,
    error_of_answer,
    object_of,
    retry_after_seconds,
)

HOST = "dashscope-intl.aliyuncs.com"


def refused(status: int, body: bytes, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, headers, body)


def test_the_native_error_shape_is_read() -> None:
    provider_error = error_of_answer(
        refused(429, b'{"code":"Throttling.RateQuota","message":"slow down"}'), HOST
    )
    assert (provider_error.code, provider_error.message, provider_error.http_status) == (
        "Throttling.RateQuota",
        "slow down",
        429,
    )


def test_the_openai_error_shape_and_msg_are_read_too() -> None:
    body = b'{"error":{"code":"invalid_api_key","message":"wrong","type":"x","param":null}}'
    assert error_of_answer(refused(400, body), HOST).code == "invalid_api_key"
    assert error_of_answer(refused(400, b'{"code":"Conflict","msg":"twice"}'), HOST).message == "twice"


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"", b"[]", b'{"message":"no code"}', b"\xff\xfe"]
)
def test_an_answer_without_a_vendor_code_is_an_http_error(body: bytes) -> None:
    assert error_of_answer(refused(502, body), HOST).code == "http_error"


@pytest.mark.parametrize("code", ["", "two\nlines", "x" * 101, "9lives", '<b>"', 7, None, ["InternalError"]])
def test_a_code_that_does_not_look_like_one_is_none(code: object) -> None:
    assert code_of({"code": code}) is None  # type: ignore[dict-item]


def test_a_rejected_key_names_the_host_it_was_shown_to() -> None:
    provider_error = error_of_answer(
        refused(401, b'{"code":"InvalidApiKey","message":"Invalid API-key provided."}'), HOST
    )
    assert provider_error.message.startswith(f"key not valid for host {HOST}: ")


def test_a_message_is_redacted() -> None:
    said = "bad https://a.example/x.wav?Signature=abc, key sk-0123456789abcdef"
    body = json.dumps({"code": "InvalidParameter", "message": said}).encode()
    message = error_of_answer(refused(400, body), HOST).message
    assert "Signature" not in message
    assert "sk-0123456789abcdef" not in message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "300"}, 300.0),
        ({"retry-after": "86400"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 03:00:20 GMT", "date": "Tue, 24 Nov 2026 03:00:00 GMT"}, 20.0),
        ({"retry-after": "Tue, 24 Nov 2026 03:00:00 GMT", "date": "Tue, 24 Nov 2026 03:00:20 GMT"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 03:00:20 GMT"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 03:00:20", "date": "Tue, 24 Nov 2026 03:00:00 GMT"}, None),
        ({"retry-after": "soon", "date": "Tue, 24 Nov 2026 03:00:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_a_wish_for_delay_is_read_in_every_form_and_bounded(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(headers) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_makes_the_delay_unbounded(value: str, date: str) -> None:
    seconds = retry_after_seconds({"retry-after": value, "retry-after-ms": date, "date": date})
    assert seconds is None or 0 <= seconds <= 300


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{", b"NaN"])
def test_json_that_a_parser_chokes_on_is_no_object(body: bytes) -> None:
    assert object_of(body) is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "m", "type": "invalid_request_error", "code": "invalid_api_key"}, "invalid_api_key"),
        ({"message": "m", "type": "invalid_request_error", "code": None}, "invalid_request_error"),
        ({"message": "m", "type": None, "code": None}, "http_error"),
    ],
)
def test_an_openai_shaped_error_is_called_by_its_code_or_its_type(
    error: dict[str, JsonValue], code: str
) -> None:
    answer = HttpAnswer(400, {}, json.dumps({"error": error}).encode())
    assert error_of_answer(answer, "host.example").code == code
