"""Turns pydantic's validation errors into sentences: which field, and why.

Never repeats a value.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from service.contract.redaction import shown

_SHOWN_ERRORS = 3
"""A record of 100 bad files must not make a message of 100 sentences."""

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is required",
        "extra_forbidden": "is not a known field",
        "string_type": "must be a string",
        "string_too_short": "must have {min_length} or more characters",
        "string_too_long": "must have at most {max_length} characters",
        "string_pattern_mismatch": "must match {pattern}",
        "int_type": "must be an integer",
        "int_from_float": "must be an integer",
        "bool_type": "must be true or false",
        "list_type": "must be an array",
        "tuple_type": "must be an array",
        "dict_type": "must be an object",
        "model_type": "must be an object",
        "too_short": "must have {min_length} or more entries",
        "too_long": "must have at most {max_length} entries",
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "enum": "must be one of {expected}",
    }
)


def refusal(reason: str) -> PydanticCustomError:
    """The error of our validators: `reason` follows the field's name.

    For a whole model it stands alone.
    """
    return PydanticCustomError("refused", "{reason}", {"reason": reason})


def explain(error: ValidationError, prefix: str = "") -> str:
    """One line that names the first few invalid fields and their reasons."""
    details = error.errors(include_url=False, include_input=False)
    sentences = [_sentence(detail, prefix) for detail in details[:_SHOWN_ERRORS]]
    if len(details) > _SHOWN_ERRORS:
        sentences.append(f"and {len(details) - _SHOWN_ERRORS} more")
    return "; ".join(sentences)


def _sentence(detail: ErrorDetails, prefix: str) -> str:
    # The reason for a whole model names the fields itself.
    reason = _reason(detail)
    return f"`{_path(detail['loc'], prefix)}` {reason}" if detail["loc"] else reason


def _reason(detail: ErrorDetails) -> str:
    if detail["type"] == "refused":
        return detail["msg"]
    return _REASONS.get(detail["type"], "is not valid").format_map(detail.get("ctx", {}))


def _path(loc: tuple[int | str, ...], prefix: str) -> str:
    path = prefix
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{shown(part)}" if path else shown(part)
    return path
