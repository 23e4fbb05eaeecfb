"""Hostile request records: what a producer may put into a record, and the one outcome that each must have."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.hostile.values import LEVELS, NO_JSON_NUMBERS, NO_TEXTS, NUMBERS, TEXTS, deep, garbage, replaced

RESULT = "result"
TTL_SECONDS = 3_600
"""No request that is served may end by the slowness of the machine."""
_MIN, _MAX = -(2**63), 2**63 - 1
TIMES_MS = (
    *(-1, -2, 0, 1, _MIN, _MIN + 1, _MAX, _MAX - 1),
    *(-62135596800001, -62135596800000, -62167219200001, 253402300799999, 253402300800000),
    *(1764000000000000, 1764000000000000000, 2**31, 2**32, 2**53, -(2**53), 10**15, -(10**15)),
)
"""Every edge of an int64, of the calendar, and of units that producers mix up."""

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class HostileRecord:
    """One record, and what must come of it: `result`, or the code of its failure."""

    name: str
    value: bytes | None
    expected: frozenset[str]
    key: bytes | None = b"hostile"
    headers: tuple[Header, ...] = ()
    timestamp_ms: int | None = None
    request_id: str | None = None
    """Of a record that is served: its outcomes name this, the others the record's position."""


@dataclass(frozen=True)
class _Rule:
    name: str
    make: Callable[[Random, str], "_Made"]
    expected: frozenset[str]


@dataclass(frozen=True)
class _Made:
    value: bytes | None
    key: bytes | None = b"hostile"
    headers: tuple[Header, ...] = ()
    timestamp_ms: int | None = None


@dataclass
class Records:
    """Draws records from a seed; each has a number of its own."""

    rng: Random
    drawn: int = field(default=0)

    def draw(self) -> HostileRecord:
        """The next record."""
        self.drawn += 1
        request_id = f"record-{self.drawn}"
        rule = RULES[(self.drawn - 1) % len(RULES)] if self.drawn <= len(RULES) else self.rng.choice(RULES)
        made = rule.make(self.rng, request_id)
        served = request_id if RESULT in rule.expected else None
        return HostileRecord(
            rule.name, made.value, rule.expected, made.key, made.headers, made.timestamp_ms, served
        )


def _document(request_id: str) -> dict[str, object]:
    return {
        "request_id": request_id,
        "file_urls": [f"http://media.test/{request_id}.wav?run=0"],
        "model": "fun-asr",
        "ttl_seconds": TTL_SECONDS,
    }


def _good(request_id: str, **fields: object) -> bytes:
    return json.dumps({**_document(request_id), **fields}).encode()


def _with(name: str, values: tuple[str, ...], holder: str | None = None) -> Callable[[Random, str], _Made]:
    """A request with a field, of the request or of an object in it, put to one of the values."""

    def make(rng: Random, request_id: str) -> _Made:
        document = _document(request_id)
        if holder is not None:
            document[holder] = {}
        path = (name,) if holder is None else (holder, name)
        return _Made(replaced(document, path, rng.choice(values)))  # type: ignore[arg-type]

    return make


def _times(rng: Random, request_id: str) -> _Made:
    drawn = rng.choice((rng.choice(TIMES_MS), rng.randrange(_MIN, _MAX + 1)))
    return _Made(_good(request_id), timestamp_ms=drawn)


def _unreadable_at_a_time(rng: Random, request_id: str) -> _Made:
    return _Made(b"{" + request_id.encode(), timestamp_ms=_times(rng, request_id).timestamp_ms)


def _headers(rng: Random, request_id: str) -> _Made:
    headers = [
        ("traceparent", rng.randbytes(rng.randrange(0, 200))),
        ("", b""),
        ("correlation-id", b"x" * rng.randrange(0, 9_000)),
        *[(f"h{n}", rng.randbytes(3)) for n in range(rng.randrange(0, 300))],
        ("ce_id", b"\xff"),
        ("content-type", b"application/octet-stream"),
    ]
    return _Made(_good(request_id), headers=tuple(rng.sample(headers, rng.randrange(1, len(headers)))))


def _encoded(rng: Random, request_id: str) -> _Made:
    good = _good(request_id)
    return _Made(
        rng.choice(
            (good.decode().encode("utf-16"), gzip.compress(good), good[:-2] + b"\xff\xfe", b"\xc3(" + good)
        )
    )


def _not_json(rng: Random, request_id: str) -> _Made:
    good = _good(request_id)
    bad = good.replace(b'"fun-asr"', b'"fun-asr", "metadata": {"m": ' + rng.choice(_NO_JSON).encode() + b"}")
    return _Made(rng.choice((bad, good[:-1], good + b"x", b"[" * rng.choice(LEVELS), b"'" + good + b"'")))


_NO_JSON = (*NO_JSON_NUMBERS, "9" * 5_000, '"\\ud800"', "01", "+1", "0x1", "")


def _deep_metadata(rng: Random, request_id: str) -> _Made:
    return _Made(replaced(_document(request_id), ("metadata",), '{"m":' + deep(rng) + "}"))  # type: ignore[arg-type]


def _any_bytes(rng: Random, request_id: str) -> _Made:
    return _Made(bytes([rng.randrange(128, 256)]) + rng.randbytes(rng.randrange(0, 2_000)))


def _not_an_object(rng: Random, request_id: str) -> _Made:
    return _Made(rng.choice((b"[]", b"17", b"null", b"true", b'"text"', b"[{}]", b"{}", b" { } ")))


def _too_large(rng: Random, request_id: str) -> _Made:
    return _Made(_good(request_id, metadata={"m": "x" * rng.randrange(530_000, 900_000)}))


def _url(rng: Random, request_id: str) -> _Made:
    url = rng.choice(_URLS) if rng.random() < 0.7 else "http://a.test/" + chr(rng.randrange(0x80, 0xD800))
    return _Made(_good(request_id, file_urls=[url]))


_URLS = (
    *(
        "",
        " ",
        "x",
        "file:///etc/passwd",
        "data:audio/wav;base64,AAAA",
        "ftp://a.test/x",
        "http://",
        "http:///x",
    ),
    *("http://a test/x", "http://a.test/ x", "http://u:p@a.test/x", "http://a.test/\\x", "http://[::1/x"),
    *(
        "http://a.test:port/x",
        "javascript:alert(1)",
        "//a.test/x",
        "http://a.test/" + "x" * 9_000,
        "http://\u0000/",
    ),
)


def _odd_key(rng: Random, request_id: str) -> _Made:
    return _Made(
        _good(request_id), key=rng.choice((None, b"", b"\xff\xfe", b"x" * 10_000, rng.randbytes(20)))
    )


def _prefixed(rng: Random, request_id: str) -> _Made:
    prefix = rng.choice((b"\xef\xbb\xbf", b"\x00" + rng.randbytes(4), b"  \n\t", b"\r\n"))
    return _Made(prefix + _good(request_id))


def _metadata(rng: Random, request_id: str) -> _Made:
    value = rng.choice([each for each in TEXTS if not _is_too_odd(each)])
    return _Made(replaced(_document(request_id), ("metadata",), '{"m":[' + value + ',"\\ud83d\\ude80"]}'))  # type: ignore[arg-type]


def _is_too_odd(text: str) -> bool:
    """Half of a surrogate pair is no text, and metadata has its size."""
    return "\\ud8" in text or "\\udf" in text or len(text) > 1_000


def _expecting(*codes: str) -> frozenset[str]:
    return frozenset(codes)


_REFUSED = _expecting("invalid_request", "invalid_json")
_WRONG_NUMBERS = tuple(each for each in NUMBERS if each not in ("null", "1e9", "2147483648", "-0.0"))
_WRONG_TEXTS = tuple(each for each in (*NO_TEXTS, *TEXTS) if each != "null")

RULES: tuple[_Rule, ...] = (
    _Rule("a timestamp of any int64", _times, _expecting(RESULT)),
    _Rule(
        "an unreadable record with a timestamp of any int64",
        _unreadable_at_a_time,
        _expecting("invalid_json"),
    ),
    _Rule("headers of any bytes and number", _headers, _expecting(RESULT)),
    _Rule("a key of any bytes", _odd_key, _expecting(RESULT)),
    _Rule("a prefix that is skipped", _prefixed, _expecting(RESULT)),
    _Rule("metadata that is hard to print", _metadata, _expecting(RESULT)),
    _Rule("another encoding", _encoded, _expecting("invalid_encoding", "invalid_json")),
    _Rule("not JSON", _not_json, _expecting("invalid_json")),
    _Rule("any bytes", _any_bytes, _expecting("invalid_encoding", "invalid_json")),
    _Rule("not a request", _not_an_object, _expecting("invalid_request")),
    _Rule("deep metadata", _deep_metadata, _REFUSED | {"request_too_large"}),
    _Rule("a record over its size", _too_large, _expecting("request_too_large")),
    _Rule("no value", lambda rng, _: _Made(None), _expecting("invalid_request")),
    _Rule("a URL nobody can fetch", _url, _expecting("invalid_request")),
    _Rule("garbage", lambda rng, name: _Made(garbage(rng, _good(name))), _REFUSED | {"invalid_encoding"}),
    _Rule(
        "a version of its own",
        lambda rng, name: _Made(_good(name), headers=(("ce_type", f"x.v{rng.random()}".encode()),)),
        _expecting("unsupported_version"),
    ),
    *(
        _Rule(f"{name} of a wrong kind", _with(name, values), _REFUSED)
        for name, values in {
            "request_id": (*_WRONG_TEXTS, "null"),
            "file_urls": _WRONG_TEXTS,
            "replay": tuple(each for each in _WRONG_NUMBERS if each != "9223372036854775808"),
            "ttl_seconds": _WRONG_NUMBERS,
            "file_indexes": _WRONG_TEXTS,
            "action": _WRONG_TEXTS,
            "unknown": _WRONG_NUMBERS,
            "output": tuple(each for each in _WRONG_TEXTS if each != "{}"),
        }.items()
    ),
    _Rule("a model of a wrong kind", _with("model", (*_WRONG_TEXTS, "null")), _REFUSED | {"unknown_model"}),
    *(
        _Rule(f"option {name} of a wrong kind", _with(name, values, "options"), _REFUSED | {"invalid_option"})
        for name, values in {
            "speaker_count": _WRONG_NUMBERS,
            "channel_id": _WRONG_NUMBERS[:-1],
            "language_hints": tuple(each for each in _WRONG_TEXTS if each != "[]"),
            "diarization_enabled": tuple(each for each in _WRONG_NUMBERS if each != "true"),
        }.items()
    ),
)
