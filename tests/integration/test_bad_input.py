"""Bad input through Kafka: each record ends in one failure, is not billed, and the next one goes on."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.stack import Outcome, Stack
from tests.integration.test_main_job import HELLO, request


def with_fields(request_id: str, **fields: object) -> bytes:
    """A request with some fields put otherwise."""
    return json.dumps({**request(request_id, HELLO), **fields}).encode()


BAD: Mapping[str, tuple[bytes | None, str]] = {
    "not JSON": (b"{request_id: 1}", "invalid_json"),
    "not UTF-8": (b'{"request_id": "\xff\xfe"}', "invalid_encoding"),
    "wrong types": (with_fields("bad-types", file_urls="x"), "invalid_request"),
    "not an object": (b"[1, 2, 3]", "invalid_request"),
    "an unknown field": (with_fields("bad-field", speed=2), "invalid_request"),
    "an unknown family": (with_fields("bad-model", model="whisper-1"), "unknown_model"),
    "an option of another family": (
        with_fields("bad-option", options={"enable_itn": True}),
        "invalid_option",
    ),
    "no file": (with_fields("bad-none", file_urls=[]), "invalid_request"),
    "101 files": (
        with_fields("bad-many", file_urls=[f"{HELLO}&n={n}" for n in range(101)]),
        "invalid_request",
    ),
    "a file: URL": (with_fields("bad-file", file_urls=["file:///etc/passwd"]), "invalid_request"),
    "a data: URL": (with_fields("bad-data", file_urls=["data:audio/wav;base64,AAAA"]), "invalid_request"),
    "a URL of 64 KB": (
        with_fields("bad-long", file_urls=["http://a.test/" + "x" * 65536]),
        "invalid_request",
    ),
    "a URL with spaces": (with_fields("bad-space", file_urls=["http://a.test/a b.wav"]), "invalid_request"),
    "a password in a URL": (
        with_fields("bad-login", file_urls=["http://u:p@a.test/a.wav"]),
        "invalid_request",
    ),
    "900 KB of metadata": (with_fields("bad-meta", metadata={"m": "x" * 900_000}), "request_too_large"),
    "9 KB of metadata": (with_fields("bad-meta-9", metadata={"m": "x" * 9_000}), "invalid_request"),
    "a null value": (None, "invalid_request"),
    "a lone surrogate": (
        with_fields("bad-surrogate").replace(b'"model"', b'"metadata": {"m": "\\ud800"}, "model"'),
        "invalid_json",
    ),
    "100,000 brackets": (b"[" * 100_000, "invalid_json"),
    "NaN": (
        with_fields("bad-nan").replace(b'"fun-asr"', b'"fun-asr", "metadata": {"m": NaN}'),
        "invalid_json",
    ),
    "5,000 digits": (
        with_fields("bad-digits").replace(b'"fun-asr"', b'"fun-asr", "replay": ' + b"9" * 5000),
        "invalid_json",
    ),
    "duplicate keys": (b'{"request_id": "bad-twice", "request_id": "bad-twice"}', "invalid_json"),
    "speakers without diarization": (
        with_fields("bad-speakers", options={"speaker_count": 2}),
        "invalid_option",
    ),
    "diarization of several channels": (
        with_fields("bad-channels", options={"diarization_enabled": True, "channel_id": [0, 1]}),
        "invalid_option",
    ),
}


async def test_each_bad_record_ends_in_one_failure_and_the_next_one_goes_on(stack: Stack) -> None:
    await stack.start()
    records: list[Any] = [(value, f"bad {name}", ()) for name, (value, _) in BAD.items()]
    # All in one partition, so that each stands in the way of the next, and a good one last.
    await stack.publish_all([(value, "one-key", headers) for value, _, headers in records])
    await stack.publish(request("good", HELLO), key="one-key")
    outcomes = await stack.outcomes(len(BAD) + 1)

    failures = sorted((each for each in outcomes if each.kind == "failure"), key=_offset)
    got = {name: each.body["code"] for name, each in zip(BAD, failures, strict=True)}
    assert got == {name: code for name, (_, code) in BAD.items()}
    [good] = [each for each in outcomes if each.kind == "result"]
    assert good.id == "good/0/0"
    assert good.body["duplicates_detected"] is False
    assert len(stack.sim.ledger().submits) == 1
    for (value, _), failure in zip(BAD.values(), failures, strict=True):
        _holds_the_record(value, failure)


def _offset(outcome: Outcome) -> int:
    return int(outcome.body["origin"]["offset"])


def _holds_the_record(value: bytes | None, failure: Outcome) -> None:
    """The bytes, or their beginning with the digest of all."""
    body = failure.body
    assert failure.id == f"{body['origin']['topic']}/{body['origin']['partition']}/{body['origin']['offset']}"
    assert body["message"]
    assert body["retryable"] is False
    if value is None:
        assert body["raw"] is None
        return
    assert base64.b64decode(body["raw"]) == value[: 256 * 1024]
    assert body["raw_bytes"] == len(value)
    assert body["raw_sha256"] == hashlib.sha256(value).hexdigest()


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_odd_but_good_records_are_served(stack: Stack) -> None:
    await stack.start()
    framed = b"\x00\x00\x00\x00\x07" + json.dumps(request("framed", HELLO)).encode()
    await stack.publish(framed, "framed")
    await stack.publish(
        json.dumps(request("header", HELLO)).encode(), "header", [("traceparent", b"\xff\xfe")]
    )
    await stack.publish(request("late", HELLO, deadline="2020-01-01T00:00:00Z"))
    outcomes = {each.body["request_id"]: each for each in await stack.outcomes(3)}
    assert outcomes["framed"].kind == "result"
    assert outcomes["header"].kind == "result"
    assert outcomes["header"].headers["traceparent"].encode("latin-1") == b"\xff\xfe"
    assert outcomes["late"].body["code"] == "deadline_exceeded"
    assert outcomes["late"].body["retryable"] is False
    assert len(stack.sim.ledger().submits) == 2


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_what_settings_narrow_is_refused_by_name(stack: Stack) -> None:
    await stack.start(SCRIBE_REQUESTS__ALLOWED_HOSTS="example.org", SCRIBE_REQUESTS__ALLOWED_MODELS="fun-asr")
    await stack.publish(request("host", HELLO))
    await stack.publish({**request("model", "http://a.example.org/x.wav"), "model": "fun-asr-mtl"})
    await stack.publish(request("fine", "http://a.example.org/x.wav"))
    outcomes = {each.body["request_id"]: each for each in await stack.outcomes(3)}
    assert outcomes["host"].body["code"] == "not_allowed"
    assert outcomes["model"].body["code"] == "not_allowed"
    assert outcomes["fine"].kind == "result"


async def test_a_large_poison_record_blocks_no_other_record(stack: Stack) -> None:
    """400 KB that are no JSON: the failure holds the beginning, the digest and the origin."""
    await stack.start()
    value = b"\x01" * 400_000
    await stack.publish(value, "poison")
    await stack.publish(request("after", HELLO), key="poison")
    outcomes = await stack.outcomes(2)
    [failure] = [each for each in outcomes if each.kind == "failure"]
    assert failure.body["raw_bytes"] == len(value)
    assert failure.body["raw_sha256"] == hashlib.sha256(value).hexdigest()
