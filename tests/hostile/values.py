"""JSON values that nobody should send, as text: numbers, depths, texts and types."""

import json
from collections.abc import Sequence
from random import Random

from pydantic import JsonValue

Path = Sequence[str | int]
_HERE = "@@hostile@@"

NUMBERS = (
    "-1",
    "-5000",
    "-0.0",
    "0.1",
    "1e-400",
    "1e9",
    "1e308",
    "1e400",
    "-1e400",
    "2147483648",
    "9223372036854775808",
    "1" + "0" * 40,
    "9" * 400,
    "-" + "9" * 400,
    "9" * 5000,
    '"12"',
    '"-5"',
    '"1e9"',
    '"' + "9" * 400 + '"',
    '"\\u0967"',
    '"NaN"',
    "true",
    "null",
    "[]",
    "{}",
    "[1]",
)
"""In place of a number: out of bounds, too long, or no number at all."""
NO_JSON_NUMBERS = ("NaN", "Infinity", "-Infinity")
"""What some writers print and the standard does not know."""
TEXTS = (
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u202e\\u2066abc"',
    '"\\ud83d\\udc69\\u200d\\ud83d\\ude80"',
    '"e\\u0301\\u0301\\u0301\\u0301"',
    '"<b>{\\\\an8}-->"',
    '"\\u2028\\u0085\\r\\n"',
    '"' + "x" * 100_000 + '"',
)
"""In place of a text: texts that are hard to print, to encode or to hold."""
NO_TEXTS = ("null", "true", "0", "-1e308", "[]", "{}", '["a"]', '{"a":{"b":[]}}')
"""In place of a text: other types."""
LEVELS = (70, 260, 1_000, 5_000, 50_000)
"""More than any document of the provider has; from some 1,000 on, Python's own parser gives up."""


def deep(rng: Random) -> str:
    """A value nested far deeper than any document of the provider."""
    levels = rng.choice(LEVELS)
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
    return opening * levels + "0" + closing * levels


def replaced(document: JsonValue, path: Path, value: str) -> bytes:
    """The document as JSON with the text `value` under `path`; a last key that is not there yet is added."""
    copy = json.loads(json.dumps(document))
    holder = copy
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = _HERE
    return json.dumps(copy).replace(f'"{_HERE}"', value).encode()


def paths_of(document: JsonValue, kinds: tuple[type, ...]) -> list[Path]:
    """Every path in the document that leads to a value of one of the types."""
    found: list[Path] = []
    queue: list[tuple[tuple[str | int, ...], JsonValue]] = [((), document)]
    while queue:
        path, value = queue.pop(0)
        if type(value) in kinds:
            found.append(path)
        children = value.items() if isinstance(value, dict) else enumerate(_items(value))
        queue += [((*path, name), child) for name, child in children]
    return found


def _items(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def garbage(rng: Random, document: bytes) -> bytes:
    """Bytes that are no JSON document of the right kind, most of them once a good one."""
    return rng.choice(
        (
            b"",
            b" ",
            b"<html><body>502</body></html>",
            document[: len(document) // 2],
            document + document,
            b"\xff\xfe" + document,
            rng.randbytes(rng.randrange(1, 4_096)),
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"[]",
            b"null",
            b"17",
            b'"text"',
        )
    )
