"""Reads JSON that can be written again unchanged: refuses what a parser would silently change.

Never repairs a document and never quotes its values in an error.
"""

import json
import math
import re
from collections import Counter

from pydantic import JsonValue

from service.contract.redaction import shown
from service.errors import FailureCode, InvalidRecord

MAX_DEPTH = 64
"""Nested arrays and objects; checked before parsing, because the parser recurses."""

MAX_NUMBER_CHARS = 64
"""Longer literals lose digits in most consumers; Python refuses integers over 4,300 digits."""

_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: str) -> JsonValue:
    """The document in `text`, with every string encodable as UTF-8 and every number finite.

    Raises InvalidRecord(INVALID_JSON) otherwise, also for a key that appears twice in one object,
    nesting over `MAX_DEPTH` and numbers over `MAX_NUMBER_CHARS`.
    """
    if _is_too_deep(text):
        raise _refused(f"arrays and objects are nested more than {MAX_DEPTH} deep")
    try:
        document: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _refused(f"{error.msg.rstrip(': ')} (line {error.lineno}, column {error.colno})") from error
    if _has_lone_surrogate(text, document):
        raise _refused("a string holds half of a surrogate pair, which UTF-8 cannot carry")
    return document


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _has_lone_surrogate(text: str, document: JsonValue) -> bool:
    # Two sources: a code point of the text itself, or an escape that the parser resolved.
    checked = text
    if _SURROGATE_ESCAPE.search(text):
        checked += json.dumps(document, ensure_ascii=False)
    try:
        checked.encode()
    except UnicodeEncodeError:
        return True
    return False


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _refused(f"the key `{shown(twice)}` appears twice in one object")
    return result


def _integer(literal: str) -> int:
    _check_length(literal)
    return int(literal)


def _float(literal: str) -> float:
    _check_length(literal)
    number = float(literal)
    if math.isinf(number):
        raise _refused("a number is out of range")
    return number


def _constant(name: str) -> float:
    raise _refused(f"{name} is not a JSON number")


def _check_length(literal: str) -> None:
    if len(literal.lstrip("-")) > MAX_NUMBER_CHARS:
        raise _refused(f"a number has more than {MAX_NUMBER_CHARS} digits")


def _refused(reason: str) -> InvalidRecord:
    return InvalidRecord(FailureCode.INVALID_JSON, f"the value is not JSON that we accept: {reason}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
