"""Reads foreign JSON and numbers within bounds.

Values out of bounds become null, never another value.

`strict_json` refuses a request for one invalid number. A paid answer is not discarded for one: the number
is null, and the rest is used.
"""

import json
import math
import re
from collections.abc import Callable, Iterable

from pydantic import JsonValue

from service.contract.strict_json import MAX_DEPTH, MAX_NUMBER_CHARS

MAX_WHOLE = 2**31 - 1
"""Milliseconds, rates, ids: 24 days, and within what consumers in other languages can hold."""
MAX_TOKENS = 10**9
"""A thousand times the longest transcript; sums of many stay exact in a float."""
MAX_BILLED_SECONDS = 10_000_000
"""A hundred files of 24 h; a larger bill is an error that would use up a day's spending limit."""
MAX_EPOCH_MS = 4_102_444_800_000
"""The year 2100."""

_DIGITS_TO_ZERO = bytes(ord("0") if chr(byte).isdigit() else ord(" ") for byte in range(128)) + b" " * 128
_LONG_NUMBER = b"0" * MAX_NUMBER_CHARS
_NOT_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""Half of a surrogate pair, escaped or plain; escaped pairs match too."""

_Container = list[JsonValue] | dict[str, JsonValue]
_CONTAINERS = (list, dict)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


def parse_json(text: str | bytes) -> JsonValue:
    """The document; numbers that are not finite or have too many digits become null.

    So do arrays and objects more than `MAX_DEPTH` deep. In a document from bytes, lone surrogates become
    U+FFFD; a string may be a part of a stream that was cut within a pair. Raises ValueError for invalid JSON,
    or nesting that Python's own parser cannot read.
    """
    if isinstance(text, str):
        return _cut(_loaded(text, parse_int=_int))
    encoding = json.detect_encoding(text)
    whole = text.decode(encoding, "surrogatepass")
    if encoding != "utf-8":
        return encodable(_cut(_loaded(whole, parse_int=_int)))
    # Large files hold words in the usual form: checks of the bytes take a tenth of a walk through them.
    document = _loaded(whole, parse_int=_int if _LONG_NUMBER in text.translate(_DIGITS_TO_ZERO) else None)
    document = document if _is_shallow(text) else _cut(document)
    return encodable(document) if _may_hold_surrogates(text) else document


def _loaded(text: str, *, parse_int: Callable[[str], int | None] | None) -> JsonValue:
    try:
        document: JsonValue = json.loads(text, parse_int=parse_int, parse_float=_float, parse_constant=_null)
    except RecursionError:
        raise ValueError("its arrays and objects are nested too deep") from None
    return document


def _may_hold_surrogates(body: bytes) -> bool:
    # Two plain searches are five times as fast as the expression, which they nearly always spare.
    return (b"\\u" in body or b"\xed" in body) and _SURROGATE.search(body) is not None


def encodable(document: JsonValue) -> JsonValue:
    """A copy in which lone surrogates, which UTF-8 cannot encode, are replaced by U+FFFD."""
    if isinstance(document, str):
        return document.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(document, list):
        return [encodable(item) for item in document]
    if isinstance(document, dict):
        return {str(encodable(name)): encodable(item) for name, item in document.items()}
    return document


def _is_shallow(body: bytes) -> bool:
    """Whether valid JSON is certainly not nested too deep; False if a string holds a bracket."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # Only the quotes around a bracket are left: such a string may hide how deep the document is.
    brackets = body.translate(None, _NOT_MARKS).replace(b'""', b"")
    if b'"' in brackets:
        return False
    for _ in range(MAX_DEPTH // 2):
        if not brackets:
            return True
        # One pass removes at most two levels.
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return False


def whole_number(value: JsonValue) -> int | None:
    """Milliseconds, a rate or an id: 0 to `MAX_WHOLE`.

    Fractions are rounded, a string of digits is read.
    """
    is_text = isinstance(value, str) and _DIGITS.fullmatch(value)
    return _whole(int(str(value)) if is_text else value, MAX_WHOLE, round)


def token_count(value: JsonValue) -> int | None:
    """Billed tokens, or a weight: 0 to `MAX_TOKENS`, rounded up."""
    return _whole(value, MAX_TOKENS, math.ceil)


def billed_seconds(value: JsonValue) -> int | None:
    """Billed seconds: 0 to `MAX_BILLED_SECONDS`, rounded up."""
    return _whole(value, MAX_BILLED_SECONDS, math.ceil)


def epoch_ms(value: JsonValue) -> int | None:
    """A time in milliseconds since 1970, up to `MAX_EPOCH_MS`; None for a fraction."""
    return _whole(value, MAX_EPOCH_MS, _exactly)


def row_count(value: JsonValue) -> int | None:
    """The number of rows of a list: 0 to `MAX_WHOLE`; None for a fraction."""
    return _whole(value, MAX_WHOLE, _exactly)


def _whole(value: JsonValue, most: int, rounded: Callable[[float], int | None]) -> int | None:
    """The number if it is within bounds; None for NaN, a bool or another type."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return rounded(value)


def _exactly(number: float) -> int | None:
    return int(number) if number == int(number) else None


def _int(literal: str) -> int | None:
    return int(literal) if len(literal) <= MAX_NUMBER_CHARS else None


def _float(literal: str) -> float | None:
    number = float(literal)
    return number if math.isfinite(number) else None


def _null(_name: str) -> None:
    return None


def _cut(document: JsonValue) -> JsonValue:
    """The document with null for values that are too deep; level by level, since Python bounds recursion."""
    level: list[_Container] = [document] if isinstance(document, list | dict) else []
    for _ in range(MAX_DEPTH - 1):
        if not level:
            break
        level = [item for each in level for item in _inside(each) if isinstance(item, _CONTAINERS)]
    for each in level:
        if isinstance(each, list):
            each[:] = map(_shallow, each)
        else:
            each.update({name: _shallow(value) for name, value in each.items()})
    return document


def _shallow(value: JsonValue) -> JsonValue:
    return None if isinstance(value, list | dict) else value


def _inside(value: _Container) -> Iterable[JsonValue]:
    return value.values() if isinstance(value, dict) else value
