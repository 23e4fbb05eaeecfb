"""Reading request records: every bad input of the contract ends in one clear refusal."""

import base64
import hashlib
import json
import traceback
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract.output_formats import OutputFormat
from service.contract.request import Action, Request
from service.contract.request_decoder import (
    REQUEST_TYPE,
    DecodedRequest,
    RequestLimits,
    digest,
    raw_failure_fields,
    read_request,
)
from service.errors import FailureCode, InvalidRecord

URL = "https://media.example.org/call-17.wav"
NO_LIMITS = RequestLimits()


def document(**fields: JsonValue) -> dict[str, JsonValue]:
    return {"request_id": "call-17", "file_urls": [URL], "model": "fun-asr", **fields}


def encoded(**fields: JsonValue) -> bytes:
    return json.dumps(document(**fields)).encode()


def read(
    value: bytes | None, *headers: tuple[str, bytes | None], limits: RequestLimits = NO_LIMITS
) -> DecodedRequest:
    return read_request(value, headers, limits)


def refused(
    value: bytes | None, *headers: tuple[str, bytes | None], limits: RequestLimits = NO_LIMITS
) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        read(value, *headers, limits=limits)
    return caught.value


# What is read


def test_a_minimal_request_has_the_documented_defaults() -> None:
    request = read(encoded()).request
    assert request == Request(request_id="call-17", file_urls=(URL,), model="fun-asr")
    assert (request.action, request.replay, request.metadata) == (Action.TRANSCRIBE, 0, {})
    assert (request.deadline, request.ttl_seconds, request.file_indexes) == (None, None, None)


def test_every_field_is_read() -> None:
    request = read(
        encoded(
            options={"channel_id": [1]},
            deadline="2026-03-02T18:00:00.25+01:00",
            metadata={"a": [1, None, "ü"]},
            action="transcribe",
            replay=2,
            file_indexes=[0],
        )
    ).request
    assert request.options == {"channel_id": [1]}
    assert request.deadline == datetime(2026, 3, 2, 17, 0, 0, 250_000, UTC)
    assert request.metadata == {"a": [1, None, "ü"]}
    assert (request.replay, request.file_indexes) == (2, (0,))


@pytest.mark.parametrize("output", [None, {}, {"formats": None}, {"formats": []}])
def test_a_request_may_want_no_renderings(output: JsonValue) -> None:
    request = read(encoded(output=output)).request
    assert request.formats == ()
    assert digest(request) == digest(read(encoded()).request)


def test_wanted_renderings_are_read_in_an_order_of_ours() -> None:
    first, second = (
        read(encoded(output={"formats": [*formats]}))
        for formats in (["vtt", "text", "srt"], ["srt", "text", "vtt"])
    )
    assert first.request.formats == (OutputFormat.SRT, OutputFormat.TEXT, OutputFormat.VTT)
    assert first.digest == second.digest


def test_other_renderings_are_other_work() -> None:
    digests = {
        read(encoded(output={"formats": [*each]})).digest for each in ([], ["srt"], ["vtt"], ["srt", "vtt"])
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"formats": ["docx"]}, "`output.formats[0]` must be one of 'srt', 'vtt' or 'text'"),
        ({"formats": ["SRT"]}, "`output.formats[0]` must be one of 'srt', 'vtt' or 'text'"),
        ({"formats": ["srt", "text", "srt"]}, "`output.formats` must not name a format twice"),
        ({"formats": "srt"}, "`output.formats` must be an array"),
        ({"format": ["srt"]}, "`output.format` is not a known field"),
        (["srt"], "`output` must be an object"),
    ],
)
def test_an_output_that_cannot_be_is_refused_with_the_reason(output: JsonValue, message: str) -> None:
    error = refused(encoded(output=output))
    assert (error.code, error.message) == (FailureCode.INVALID_REQUEST, message)


def test_a_cancel_needs_only_the_id() -> None:
    request = read(b'{"request_id":"call-17","action":"cancel"}').request
    assert (request.action, request.file_urls, request.model) == (Action.CANCEL, (), "")


def test_a_cancel_may_repeat_the_request_it_ends() -> None:
    assert read(encoded(action="cancel", options={"any": "thing"})).request.action is Action.CANCEL


def test_null_counts_as_absent() -> None:
    nulls: dict[str, JsonValue] = dict.fromkeys(
        ["options", "deadline", "ttl_seconds", "metadata", "action", "replay", "file_indexes", "output"]
    )
    assert read(encoded(**nulls)) == read(encoded())


def test_a_required_field_that_is_null_is_missing() -> None:
    assert refused(encoded(model=None)).message == "`model` is required"


def test_a_byte_order_mark_is_skipped() -> None:
    assert read(b"\xef\xbb\xbf" + encoded()) == read(encoded())


def test_a_schema_registry_prefix_is_skipped_and_reported() -> None:
    framed = read(b"\x00\x00\x00\x00\x07" + encoded())
    assert framed.framed
    assert not read(encoded()).framed
    assert framed.request == read(encoded()).request


def test_a_value_behind_a_prefix_that_is_no_json_has_a_message_of_its_own() -> None:
    for body in (b"\x02\x10call-17", b"\xff\xfe"):
        error = refused(b"\x00\x00\x00\x00\x07" + body)
        assert error.message.endswith("only JSON is read behind one, not Avro or Protobuf")


@pytest.mark.parametrize("value", [b"\x00", b"\x00\x00\x00\x00\x07", b"\x00\x00\x00\x00"])
def test_a_frame_without_a_body_is_refused(value: bytes) -> None:
    assert refused(value).code is FailureCode.INVALID_JSON


def test_the_same_url_may_stand_twice() -> None:
    assert read(encoded(file_urls=[URL, URL])).request.file_urls == (URL, URL)


def test_a_refusal_keeps_what_could_be_read_of_the_record() -> None:
    bad = refused(encoded(replay=3, metadata={"n": [1]}, priority=1))
    assert (bad.request_id, bad.replay, bad.model, bad.metadata) == ("call-17", 3, "fun-asr", {"n": [1]})
    large = refused(encoded(replay=3, metadata={"n": 1}, options={"x": "y" * 600_000}))
    assert (large.code, large.replay, large.metadata) == (FailureCode.REQUEST_TOO_LARGE, 3, {"n": 1})


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"replay": -1}, "replay"),
        ({"replay": True}, "replay"),
        ({"replay": 1_000_001}, "replay"),
        ({"replay": 1.0}, "replay"),
        ({"replay": "1"}, "replay"),
        ({"model": 3}, "model"),
        ({"model": "a b"}, "model"),
        ({"model": "x" * 201}, "model"),
        ({"model": "sk-\u00fc"}, "model"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {}}, "metadata"),
        ({"metadata": {"n": "x" * 8_200}}, "metadata"),
        ({"request_id": "a/b"}, "request_id"),
        ({"request_id": 7}, "request_id"),
    ],
)
def test_a_refusal_repeats_no_field_that_a_request_could_not_have(
    fields: dict[str, JsonValue], kept: str
) -> None:
    assert getattr(refused(encoded(**fields, unknown=1)), kept) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://h/",
        "HTTPS://Media.Example.ORG",
        "https://h?x=1",
        "https://10.0.0.1:8443/a",
        "https://[2001:db8::1]:8443/a",
        "https://my_host.internal/a%20b.wav?Signature=a%2Fb%3D&x=(1)'#t",
        "oss://dashscope-instant/0a/2026-03-02/a.wav",
        "https://h/" + "a" * (8_192 - 10),
    ],
)
def test_a_usable_url_is_taken_as_it_is(url: str) -> None:
    assert read(encoded(file_urls=[url])).request.file_urls == (url,)


def test_a_hundred_urls_are_taken() -> None:
    assert len(read(encoded(file_urls=[URL] * 100)).request.file_urls) == 100


def test_headers_that_are_not_ours_may_hold_any_bytes() -> None:
    assert read(encoded(), ("traceparent", b"\xff\xfe"), ("x", None), ("ce_id", b"1")) == read(encoded())


def test_the_type_of_v1_may_be_named() -> None:
    assert read(encoded(), ("ce_type", REQUEST_TYPE.encode())) == read(encoded())


def test_a_null_type_counts_as_absent() -> None:
    assert read(encoded(), ("ce_type", None)) == read(encoded())


# What is refused: the record


def test_a_null_value_is_refused() -> None:
    error = refused(None)
    assert (error.code, error.message) == (FailureCode.INVALID_REQUEST, "the record has no value (null)")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"hello", "Expecting value (line 1, column 1)"),
        (encoded()[:-1], "Expecting ',' delimiter"),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b'{"a":' + b"1" * 5_000 + b"}", "a number has more than 64 digits"),
        (b"[" * 100_000, "arrays and objects are nested more than 64 deep"),
        (b'{"model":"a","model":"b"}', "the key `model` appears twice in one object"),
        (
            encoded(metadata={"a": "\ud800"}),
            "a string holds half of a surrogate pair, which UTF-8 cannot carry",
        ),
    ],
)
def test_what_is_not_json_is_refused(value: bytes, why: str) -> None:
    error = refused(value)
    assert error.code is FailureCode.INVALID_JSON
    assert error.message.startswith(f"the value is not JSON that we accept: {why}")


@pytest.mark.parametrize("value", [b"\xff", '{"a":"ü"}'.encode("latin-1"), '{"a":1}'.encode("utf-16")])
def test_what_is_not_utf_8_is_refused(value: bytes) -> None:
    error = refused(value)
    assert error.code is FailureCode.INVALID_ENCODING
    assert error.message.startswith("the value is not UTF-8 (byte ")


def test_bytes_of_a_lone_surrogate_are_not_utf_8() -> None:
    assert refused(b'{"request_id":"\xed\xa0\x80"}').code is FailureCode.INVALID_ENCODING


@pytest.mark.parametrize("value", [b"[]", b'"x"', b"3", b"null", b"true"])
def test_a_request_must_be_an_object(value: bytes) -> None:
    error = refused(value)
    assert (error.code, error.message) == (FailureCode.INVALID_REQUEST, "a request must be a JSON object")


def test_900_kb_of_metadata_are_refused_with_the_request_id() -> None:
    value = encoded(metadata={"note": "x" * 900_000})
    error = refused(value)
    assert error.code is FailureCode.REQUEST_TOO_LARGE
    assert error.message == f"the record has {len(value)} bytes; at most 524288 are allowed"
    assert error.request_id == "call-17"


def test_a_record_of_512_kib_is_read_and_one_byte_more_is_not() -> None:
    padded = encoded().ljust(512 * 1024)
    assert read(padded) == read(encoded())
    assert refused(padded + b" ").code is FailureCode.REQUEST_TOO_LARGE


def test_another_version_is_refused_by_name() -> None:
    error = refused(encoded(), ("ce_type", b"scribe.transcription.request.v2"))
    assert error.code is FailureCode.UNSUPPORTED_VERSION
    assert error.message == (
        "the header `ce_type` names scribe.transcription.request.v2; "
        "this service reads scribe.transcription.request.v1"
    )
    assert error.request_id == "call-17"


def test_another_type_is_refused_without_repeating_it() -> None:
    error = refused(encoded(), ("ce_type", b"canary?x=1"))
    assert error.code is FailureCode.UNSUPPORTED_VERSION
    assert "canary" not in error.message


def test_a_type_that_is_not_utf_8_is_refused() -> None:
    error = refused(encoded(), ("ce_type", b"\xff"))
    assert (error.code, error.message) == (FailureCode.INVALID_REQUEST, "the header `ce_type` is not UTF-8")


# What is refused: fields

BAD_ID = "`request_id` must match ^[A-Za-z0-9._:@-]{1,200}$"
BAD_TIME = "`deadline` must be an RFC 3339 time with a zone, such as 2026-03-02T10:15:00Z"
NO_TIME = "`deadline` is not a time that exists"
NOON = "2026-03-02T12:00:00Z"
CANCELS_ALL = "`file_indexes` does not go with a cancel, which ends the whole request"
BIG_OPTIONS: JsonValue = {"extra_parameters": {"x": "y" * 33_000}}
SEVERAL = "`model` must be a string; `replay` must be an integer; `priority` is not a known field"
MANY = "`a` is not a known field; `b` is not a known field; `c` is not a known field; and 1 more"
BAD_FIELDS: list[tuple[dict[str, JsonValue], str]] = [
    ({"request_id": ""}, BAD_ID),
    ({"request_id": "a" * 201}, BAD_ID),
    ({"request_id": "a\n"}, BAD_ID),
    ({"request_id": 7}, "`request_id` must be a string"),
    ({"file_urls": []}, "`file_urls` must have 1 or more entries"),
    ({"file_urls": [URL] * 101}, "`file_urls` must have at most 100 entries"),
    ({"file_urls": URL}, "`file_urls` must be an array"),
    ({"file_urls": [URL, 3]}, "`file_urls[1]` must be a string"),
    ({"file_urls": ["file:///etc/passwd"]}, "`file_urls[0]` must be an http, https or oss URL"),
    ({"file_urls": ["data:audio/wav;base64,UklGRg=="]}, "`file_urls[0]` must be an http, https or oss URL"),
    ({"file_urls": ["call.wav"]}, "`file_urls[0]` must be an http, https or oss URL"),
    ({"file_urls": [URL + "?" + "x" * 65_536]}, "`file_urls[0]` has 65574 characters; a URL may have 8192"),
    ({"file_urls": ["https:///a.wav?x=canary"]}, "`file_urls[0]` has no host"),
    ({"file_urls": ["https://"]}, "`file_urls[0]` has no host"),
    ({"file_urls": ["https://h:99999999/a"]}, "`file_urls[0]` has a port that is not between 1 and 65535"),
    ({"file_urls": ["https://[::1/a"]}, "`file_urls[0]` is not a valid URL"),
    ({"file_urls": ["https://h%41/a"]}, "`file_urls[0]` is not a valid URL"),
    ({"model": ""}, "`model` is required"),
    ({"model": 3}, "`model` must be a string"),
    ({"options": []}, "`options` must be an object"),
    ({"options": BIG_OPTIONS}, "`options` takes 33029 bytes as JSON; at most 32768 are allowed"),
    ({"metadata": "x"}, "`metadata` must be an object"),
    ({"metadata": {"n": "ü" * 4_093}}, "`metadata` takes 8194 bytes as JSON; at most 8192 are allowed"),
    ({"deadline": "tomorrow"}, BAD_TIME),
    ({"deadline": 1772474400}, BAD_TIME),
    ({"deadline": "2026-03-02T10:15:00"}, BAD_TIME),
    ({"deadline": "2026-02-30T10:15:00Z"}, NO_TIME),
    ({"deadline": "0001-01-01T00:00:00+14:00"}, NO_TIME),
    ({"deadline": NOON, "ttl_seconds": 1}, "`deadline` and `ttl_seconds` exclude each other"),
    ({"ttl_seconds": 0}, "`ttl_seconds` must be at least 1"),
    ({"ttl_seconds": 10**60}, "`ttl_seconds` must be at most 31622400"),
    ({"ttl_seconds": "60"}, "`ttl_seconds` must be an integer"),
    ({"action": "delete"}, "`action` must be one of 'transcribe' or 'cancel'"),
    ({"replay": -1}, "`replay` must be at least 0"),
    ({"replay": True}, "`replay` must be an integer"),
    ({"file_indexes": []}, "`file_indexes` must have 1 or more entries"),
    ({"file_indexes": [1]}, "`file_indexes` must be below 1, the number of `file_urls`"),
    ({"file_indexes": [0, 0]}, "`file_indexes` must not name a file twice"),
    ({"file_indexes": [0], "action": "cancel"}, CANCELS_ALL),
    ({"priority": 1}, "`priority` is not a known field"),
    ({"priority": 1, "model": 3, "replay": "x"}, SEVERAL),
    ({"a": 1, "b": 1, "c": 1, "d": 1}, MANY),
]


@pytest.mark.parametrize(("fields", "message"), BAD_FIELDS)
def test_a_bad_field_is_refused_by_name_and_reason(fields: dict[str, JsonValue], message: str) -> None:
    error = refused(encoded(**fields))
    assert (error.code, error.message) == (FailureCode.INVALID_REQUEST, message)


@pytest.mark.parametrize("missing", ["request_id", "file_urls", "model"])
def test_a_missing_field_is_refused_by_name(missing: str) -> None:
    fields = document()
    del fields[missing]
    error = refused(json.dumps(fields).encode())
    assert error.code is FailureCode.INVALID_REQUEST
    assert error.message.startswith(f"`{missing}` ")


@pytest.mark.parametrize(
    "url",
    [
        "https://h/my call.wav",
        "https://h/ä.wav",
        "https://h/a\tb",
        "https://h/a\n",
        "https://evil\\.h/a",
        " " + URL,
    ],
)
def test_a_url_that_is_not_percent_encoded_is_refused(url: str) -> None:
    message = refused(encoded(file_urls=[url])).message
    assert message.startswith("`file_urls[0]` must be percent-encoded: it has a space, a backslash, ")


@pytest.mark.parametrize(
    "url", ["https://user:canary@h/a", "https://canary@h/a", "http://h@evil:80/", "https://@h/"]
)
def test_a_url_with_a_user_or_password_is_refused(url: str) -> None:
    assert (
        refused(encoded(file_urls=[url])).message == "`file_urls[0]` must not have a user or password in it"
    )


def test_the_name_of_an_unknown_field_is_redacted() -> None:
    assert "canary" not in refused(encoded(**{"https://h/a?Signature=canary": 1})).message


def test_options_and_models_have_their_own_codes() -> None:
    assert refused(encoded(options={"enable_itn": True})).code is FailureCode.INVALID_OPTION
    assert refused(encoded(model="whisper-1")).code is FailureCode.UNKNOWN_MODEL


@pytest.mark.parametrize(
    ("value", "request_id"),
    [
        (encoded(model=3), "call-17"),
        (encoded(request_id="a/b"), None),
        (encoded(request_id=["call-17"]), None),
        (b'{"request_id":"call-17"', None),
        (b'["call-17"]', None),
        (None, None),
        (b'{"request_id":"call-17","x":"' + b"x" * 3_000_000 + b'"}', None),
    ],
)
def test_a_refusal_tells_the_request_id_where_it_can_be_read(
    value: bytes | None, request_id: str | None
) -> None:
    assert refused(value).request_id == request_id


# What the operator allows


def test_a_model_that_is_not_allowed_is_refused() -> None:
    limits = RequestLimits(allowed_models=frozenset({"fun-asr-mtl"}))
    error = refused(encoded(), limits=limits)
    assert (error.code, error.message) == (
        FailureCode.NOT_ALLOWED,
        "this service's settings do not allow this `model`",
    )
    assert read(encoded(model="fun-asr-mtl"), limits=limits).request.model == "fun-asr-mtl"


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("example.org", True),
        ("media.example.org", True),
        ("MEDIA.Example.ORG", True),
        ("media.example.org.", True),
        ("media.example.org:8443", True),
        ("badexample.org", False),
        ("example.org.evil.net", False),
        ("org", False),
        ("[2001:db8::1]", False),
        ("10.0.0.7", True),
        ("10.0.0.70", False),
    ],
)
def test_hosts_are_allowed_by_whole_labels(host: str, is_allowed: bool) -> None:
    limits = RequestLimits(allowed_hosts=frozenset({"example.org", "10.0.0.7"}))
    value = encoded(file_urls=["https://example.org/a", f"https://{host}/a?Signature=canary"])
    if is_allowed:
        assert read(value, limits=limits) == read(value)
    else:
        error = refused(value, limits=limits)
        assert error.code is FailureCode.NOT_ALLOWED
        assert error.message == "this service's settings do not allow the host of `file_urls[1]`"


def test_an_empty_list_of_hosts_allows_none() -> None:
    assert refused(encoded(), limits=RequestLimits(allowed_hosts=frozenset())).code is FailureCode.NOT_ALLOWED


def test_a_cancel_is_not_narrowed() -> None:
    cancel = b'{"request_id":"a","action":"cancel"}'
    assert read(cancel, limits=RequestLimits(frozenset(), frozenset())) == read(cancel)


# Digests


def test_the_digest_is_the_documented_recipe() -> None:
    value = encoded(
        file_urls=[URL + "?Expires=1#t", "oss://b/k"], options={"language_hints": ["en"], "channel_id": [0]}
    )
    recipe = f'["fun-asr",{{"channel_id":[0],"language_hints":["en"]}},["{URL}","oss://b/k"]]'
    assert read(value).digest == hashlib.blake2b(recipe.encode(), digest_size=16).hexdigest()


def test_the_digest_of_a_released_request_never_changes() -> None:
    assert (
        read(encoded(options={"extra_parameters": {"ü": 1.5}})).digest == "79e9af103b9f2290f43c84e735246df6"
    )


@pytest.mark.parametrize(
    "same",
    [
        {"file_urls": [URL + "?Expires=2&Signature=b"]},
        {"metadata": {"a": 1}},
        {"ttl_seconds": 5},
        {"file_indexes": [0]},
        {"replay": 1},
        {"request_id": "other"},
        {"options": {"vocabulary_id": None}},
    ],
)
def test_what_does_not_change_the_work_does_not_change_the_digest(same: dict[str, JsonValue]) -> None:
    assert read(encoded(**same)).digest == read(encoded()).digest


@pytest.mark.parametrize(
    "other",
    [
        {"file_urls": [URL + "2"]},
        {"file_urls": [URL, URL]},
        {"model": "fun-asr-mtl"},
        {"options": {"channel_id": [0]}},
        {"options": {"extra_parameters": {"a": 1}}},
    ],
)
def test_other_work_has_another_digest(other: dict[str, JsonValue]) -> None:
    assert read(encoded(**other)).digest != read(encoded()).digest


def test_both_forms_of_the_word_filter_have_one_digest() -> None:
    words: dict[str, JsonValue] = {"filter_with_empty": {"word_list": ["um"]}}
    as_object = read(encoded(options={"special_word_filter": words}))
    as_text = read(encoded(options={"special_word_filter": json.dumps(words)}))
    assert as_object.digest == as_text.digest == digest(as_text.request)


# Nothing else is ever raised, nothing leaks

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from([*Request.model_fields, "x"])
REQUESTS = st.builds(
    lambda base, odd: {**base, **odd}, st.just(document()), st.dictionaries(FIELDS, JSON, max_size=4)
)
OPTION_NAMES = st.sampled_from(["channel_id", "language_hints", "special_word_filter", "speaker_count",
                                "diarization_enabled", "extra_parameters", "vocabulary_id", "x"])  # fmt: skip
WITH_OPTIONS = st.dictionaries(OPTION_NAMES, JSON, max_size=4).map(lambda odd: document(options=odd))


@given(
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | (JSON | REQUESTS | WITH_OPTIONS).map(lambda value: json.dumps(value).encode()),
    st.none() | st.binary() | st.just(REQUEST_TYPE.encode()),
    st.booleans(),
)
@example(b"\x00" * 6, None, True)
def test_any_record_is_read_or_refused_and_nothing_else(
    value: bytes, ce_type: bytes | None, is_framed: bool
) -> None:
    try:
        decoded = read(b"\x00\x00\x00\x00\x01" + value if is_framed else value, ("ce_type", ce_type))
    except InvalidRecord as error:
        message = error.message
    else:
        message = ""
        again = decoded.request.model_dump_json(exclude_unset=True).encode()
        assert read(again) == DecodedRequest(decoded.request, False, decoded.digest)
    assert not message or (message.isprintable() and len(message) < 600)


SECRETS = [
    "https://u:canary@h/a",
    "ftp://h/canary",
    "https://h /a?x=canary",
    "canary",
    "https://h/a?Signature=canary",
]


@pytest.mark.parametrize("field", [name for name in Request.model_fields if name != "request_id"])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_value_is_repeated_in_a_refusal_or_in_what_caused_it(field: str, secret: str) -> None:
    values: list[JsonValue] = [secret, [secret], {"deep": [secret]}, {"special_word_filter": secret}]
    told = "".join(report(field, value) for value in values)
    assert told or field == "metadata"
    assert "canary" not in told


def report(field: str, value: JsonValue) -> str:
    try:
        read(encoded(**{field: value}))
    except InvalidRecord as error:
        return "".join(traceback.format_exception(error))
    return ""


def test_printing_a_request_shows_no_url_option_or_metadata() -> None:
    decoded = read(encoded(file_urls=[URL + "?Signature=canary"], metadata={"a": "canary"}))
    assert "canary" not in repr(decoded)


# Raw bytes of a failure


def test_the_raw_fields_hold_a_short_record_whole() -> None:
    fields = raw_failure_fields(b"\xff\x00")
    assert fields == ("/wA=", 2, hashlib.sha256(b"\xff\x00").hexdigest())


def test_the_raw_fields_of_a_long_record_hold_its_first_256_kib_and_the_digest_of_the_whole() -> None:
    value = bytes(range(256)) * 4_096
    fields = raw_failure_fields(value)
    assert base64.b64decode(fields.raw or "") == value[: 256 * 1024]
    assert (fields.raw_bytes, fields.raw_sha256) == (len(value), hashlib.sha256(value).hexdigest())


def test_a_null_value_has_no_raw_fields() -> None:
    assert raw_failure_fields(None) == (None, None, None)
