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
MAX_BILLED_SECONDS = 10_000_000
"""A hundred files of 24 h; a larger bill is an error that would use up a day's spending limit."""
MAX_EPOCH_MS = 4_102_444_800_000
"""The year 2100."""

_Container = list[JsonValue] | dict[str, JsonValue]
_CONTAINERS = (list, dict)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


def parse_json(text: str | bytes) -> JsonValue:
    """The document; numbers that are not finite or have too many digits become null.

    So do arrays and objects more than `MAX_DEPTH` deep. Raises ValueError for invalid JSON, or nesting that
    Python's own parser cannot read.
    """
    try:
        document: JsonValue = json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_null)
    except RecursionError:
        raise ValueError("its arrays and objects are nested too deep") from None
    _cut(document)
    return document


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


def _cut(document: JsonValue) -> None:
    """Replace values that are too deep by null.

    Level by level: recursion would meet Python's own limit.
    """
    level: list[_Container] = [document] if isinstance(document, list | dict) else []
    for _ in range(MAX_DEPTH - 1):
        level = [item for each in level for item in _inside(each) if isinstance(item, _CONTAINERS)]
    for each in level:
        if isinstance(each, list):
            each[:] = map(_shallow, each)
        else:
            each.update({name: _shallow(value) for name, value in each.items()})


def _shallow(value: JsonValue) -> JsonValue:
    return None if isinstance(value, list | dict) else value


def _inside(value: _Container) -> Iterable[JsonValue]:
    return value.values() if isinstance(value, dict) else value
