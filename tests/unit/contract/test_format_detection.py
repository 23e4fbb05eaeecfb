"""What is no JSON is named as what it looks like, whatever a producer's serializer made of the request."""

import bz2
import gzip
import json
import lzma
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.format_detection import detect_format, wide_encoding
from service.contract.request_decoder import RequestLimits, read_request
from service.errors import FailureCode, InvalidRecord

TEXT = json.dumps({"request_id": "call-17", "file_urls": ["https://h.example/a.wav"], "model": "fun-asr"})
JSON = TEXT.encode()
FRAME = b"\x00\x00\x00\x00\x07"
PROTOBUF = b"\x0a\x07call-17\x12\x17https://h.example/a.wav\x1a\x07fun-asr\x20\x01"
AVRO = b"\x0ecall-17\x02\x2ehttps://h.example/a.wav\x00\x0efun-asr"


def refused(value: bytes) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        read_request(value, (), RequestLimits())
    return caught.value


LOOKS = [
    (TEXT.encode("utf-16"), "UTF-16"),
    (b"\xfe\xff" + TEXT.encode("utf-16-be"), "UTF-16"),
    (TEXT.encode("utf-16-le"), "UTF-16 without a byte order mark"),
    (TEXT.encode("utf-16-be"), "UTF-16 without a byte order mark"),
    (json.dumps([1], indent=1).encode("utf-16-le"), "UTF-16 without a byte order mark"),
    (TEXT.encode("utf-32"), "UTF-32"),
    (b"\x00\x00\xfe\xff" + TEXT.encode("utf-32-be"), "UTF-32"),
    (TEXT.encode("utf-32-le"), "UTF-32 without a byte order mark"),
    (TEXT.encode("utf-32-be"), "UTF-32 without a byte order mark"),
    (gzip.compress(JSON), "gzip"),
    (b"\x28\xb5\x2f\xfd\x20\x05" + JSON, "zstd"),
    (b"\x04\x22\x4d\x18\x60\x40\x82" + JSON, "lz4"),
    (b"\x82SNAPPY\x00\x00\x00\x00\x01" + JSON, "snappy"),
    (b"\xff\x06\x00\x00sNaPpY" + JSON, "snappy"),
    (zlib.compress(JSON), "zlib"),
    (zlib.compress(JSON, 1), "zlib"),
    (zlib.compress(JSON, 9), "zlib"),
    (bz2.compress(JSON), "bzip2"),
    (lzma.compress(JSON), "xz"),
    (b"PK\x03\x04\x14\x00" + JSON, "a zip file"),
    (b"Obj\x01\x04\x14avro.codec\x08null", "an Avro container file"),
    (b"\xc3\x01" + bytes(range(8)) + AVRO, "Avro in its single-object encoding"),
    (AVRO, "Avro"),
    (b"\x0ecall-17\x80\x80\x01", "Avro"),
    (PROTOBUF, "Protobuf"),
    (b"\x0a\x07call-17", "Protobuf"),
    (b"\x0a\x07call-17\x11" + struct.pack("<d", 1.5) + b"\x1d\x00\x00\x80\x3f", "Protobuf"),
    (b"\xac\xed\x00\x05t\x00\x07call-17", "a serialized Java object"),
    (b"\x83\xaarequest_id\xa7call-17", "MessagePack"),
    (b"\xa3\x6arequest_id\x67call-17", "CBOR"),
    (b"\x01\x02\x03\xff", "binary data, such as Avro or Protobuf"),
    (b"RIFF\x24\x08\x00\x00WAVEfmt ", "audio"),
    (b"ID3\x04\x00", "audio"),
    (b"<?xml version='1.0'?><request/>", "XML or HTML"),
]


@pytest.mark.parametrize(("value", "kind"), LOOKS)
def test_a_value_is_named_as_what_it_looks_like(value: bytes, kind: str) -> None:
    error = refused(value)
    assert error.code in (FailureCode.INVALID_ENCODING, FailureCode.INVALID_JSON)
    assert f"; it looks like {kind}" in error.message, error.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_text_in_another_encoding_is_recognised_as_such(encoding: str) -> None:
    error = refused(TEXT.encode(encoding))
    assert error.code is FailureCode.INVALID_ENCODING
    assert error.message.startswith("the value is not UTF-8")
    assert "schema-registry" not in error.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "the value is empty"),
        (b" \r\n\t", "the value holds nothing"),
        (b"\xef\xbb\xbf", "the value holds nothing"),
        (b"\xef\xbb\xbf\n", "the value holds nothing"),
    ],
)
def test_an_empty_value_has_a_message_of_its_own(value: bytes, message: str) -> None:
    error = refused(value)
    assert (error.code, error.message) == (FailureCode.INVALID_JSON, message)


@pytest.mark.parametrize(
    ("body", "kind"), [(PROTOBUF, "Protobuf"), (b"\x00" + PROTOBUF, "Protobuf"), (AVRO, "Avro"), (b"", "")]
)
def test_what_is_behind_a_schema_registrys_prefix_is_named(body: bytes, kind: str) -> None:
    message = refused(FRAME + body).message
    assert message.endswith("only JSON is read behind one, not Avro or Protobuf")
    assert (f"; it looks like {kind}; " in message) is bool(kind)


@pytest.mark.parametrize("value", [JSON, b"\n\n" + JSON, FRAME + JSON, b"\xef\xbb\xbf" + JSON])
def test_json_is_read_and_never_guessed_at(value: bytes) -> None:
    assert read_request(value, (), RequestLimits()).request.request_id == "call-17"


@pytest.mark.parametrize("value", [b"{", b"hello", "größe".encode(), b"{'a': 1}", b"BZ", b"x"])
def test_text_that_is_no_json_is_called_nothing_else(value: bytes) -> None:
    assert detect_format(value) is None
    assert "looks like" not in refused(value).message


@given(st.binary(max_size=200))
def test_no_bytes_are_beyond_a_refusal(value: bytes) -> None:
    for each in (value, FRAME + value, b"\x0a" + value, b"\xff\xfe" + value, b"\x82" + value):
        error = refused(each)
        assert error.message.isprintable()
        assert wide_encoding(each) in (None, detect_format(each))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit", [b"\x08\x01", b"\x0a\x00", b"\x08" + b"\x80" * 9 + b"\x01", b"\x80", b"\x00"]
)
def test_a_large_value_is_judged_in_no_time(unit: bytes) -> None:
    for _ in range(20):
        detect_format((unit * 600_000)[: 512 * 1024])
