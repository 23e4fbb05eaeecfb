"""Guesses the format of a value that is not JSON, to help find a producer's wrong setting.

The guess goes into error messages and decides nothing else.
"""

import re

_MAGIC = (
    (b"\x1f\x8b", "gzip: let the producer compress (`compression.type`), not the value"),
    (b"\x28\xb5\x2f\xfd", "zstd: let the producer compress (`compression.type`), not the value"),
    (b"\x04\x22\x4d\x18", "lz4: let the producer compress (`compression.type`), not the value"),
    (b"\x82SNAPPY\x00", "snappy: let the producer compress (`compression.type`), not the value"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy: let the producer compress (`compression.type`), not the value"),
    (b"x\x01", "zlib"),
    (b"x\x9c", "zlib"),
    (b"x\xda", "zlib"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "a zip file"),
    (b"Obj\x01", "an Avro container file"),
    (b"\xc3\x01", "Avro in its single-object encoding"),
    (b"\xac\xed\x00\x05", "a serialized Java object"),
    (b"PAR1", "Parquet"),
    (b"%PDF", "a PDF file"),
    (b"RIFF", "audio: a request names a URL of it"),
    (b"OggS", "audio: a request names a URL of it"),
    (b"fLaC", "audio: a request names a URL of it"),
    (b"ID3", "audio: a request names a URL of it"),
    (b"<", "XML or HTML"),
)
_WIDE_MARKS = (
    # UTF-16's mark is a prefix of UTF-32's.
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_WIDE_TEXT = (
    # JSON begins with two ASCII characters, or is one digit (RFC 4627, section 3).
    (re.compile(rb"\x00[\t\n\r -~]\x00[\t\n\r -~]"), "UTF-16 without a byte order mark"),
    (re.compile(rb"[\t\n\r -~]\x00[\t\n\r -~]\x00"), "UTF-16 without a byte order mark"),
    (re.compile(rb"\x00\x00\x00[\t\n\r -~]\x00\x00\x00"), "UTF-32 without a byte order mark"),
    (re.compile(rb"[\t\n\r -~]\x00\x00\x00[\t\n\r -~]\x00"), "UTF-32 without a byte order mark"),
)
_MAPS = (
    # A map with few names and a short first one: the beginning of a request in either format.
    (re.compile(rb"[\x81-\x8f][\xa1-\xbf][ -~]"), "MessagePack"),
    (re.compile(rb"[\xa1-\xb7][\x61-\x77][ -~]"), "CBOR"),
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_PRINTABLE = re.compile(rb"[ -~]+")
_ENOUGH_FIELDS = 1_000
"""So many well-formed fields are no coincidence; examining more would only block the event loop."""
_MAX_VARINT_BYTES = 10
"""Ten groups of seven bits hold the 64 bits of the largest number."""


def wide_encoding(value: bytes) -> str | None:
    """The encoding of text in units of two or four bytes; None for any other value."""
    marked = next((name for mark, name in _WIDE_MARKS if value.startswith(mark)), None)
    return marked or next((name for text, name in _WIDE_TEXT if text.match(value)), None)


def detect_format(value: bytes) -> str | None:
    """The likely format of the bytes; None if they are text or unknown."""
    wide = wide_encoding(value)
    if wide is not None:
        return wide
    known = next((name for magic, name in _MAGIC if value.startswith(magic)), None)
    known = known or next((name for form, name in _MAPS if form.match(value)), None)
    if known is not None or not _is_binary(value):
        return known
    if _is_protobuf(value) or (value.startswith(b"\x00") and _is_protobuf(value[1:])):
        return "Protobuf"
    return "Avro" if _is_avro(value) else "binary data, such as Avro or Protobuf"


def _is_binary(value: bytes) -> bool:
    return _CONTROL.search(value) is not None


def _is_protobuf(value: bytes) -> bool:
    """Whether the bytes are exactly the fields of a message."""
    at, fields = 0, 0
    while at < len(value) and fields < _ENOUGH_FIELDS:
        tag, at = _varint(value, at)
        end = _field_end(value, at, tag)
        if tag >> 3 == 0 or end is None or end > len(value):
            return False
        at, fields = end, fields + 1
    return fields > 0


def _field_end(value: bytes, at: int, tag: int) -> int | None:
    """The end of the field after the tag, by its wire type; None for an invalid type."""
    match tag & 7:
        case 0:
            return _varint(value, at)[1]
        case 1:
            return at + 8
        case 2:
            length, begin = _varint(value, at)
            return begin + length
        case 5:
            return at + 4
        case _:
            return None


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and its end; if there is none, 0 and an end past the value."""
    number = 0
    for index, byte in enumerate(value[at : at + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, at + index + 1
    return 0, len(value) + 1


def _is_avro(value: bytes) -> bool:
    """Whether the bytes begin with a string, as most records do: its length, doubled, then its text."""
    length = value[0] >> 1
    is_length = value[0] % 2 == 0 and 0 < length < len(value)
    return is_length and _PRINTABLE.fullmatch(value[1 : 1 + length]) is not None
