"""What `parameters` and `input.context` of a file task may hold. Names that nobody knows pass, as they
seem to at the vendor; the wording of the type errors is ours, as none is documented.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from sandbox.simulator.wire import JsonObject, invalid

SUPER_WEIGHT: Final = 50
"""Of a hotword that must be heard, beside 1 to 5."""

_ROLES: Final = {"user": "input_text", "assistant": "text"}
"""Who may speak in a context, and the type of what they say."""


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_channels(value: object) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(_is_whole(item) and 0 <= item < 32 for item in value)
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(item) for item in value)


def _is_json_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def is_weight(value: object) -> bool:
    """Whether a hotword may have this weight."""
    return _is_whole(value) and value in (1, 2, 3, 4, 5, SUPER_WEIGHT)


def _is_weighted(value: object) -> bool:
    return isinstance(value, dict) and all(word and is_weight(weight) for word, weight in value.items())


_TYPES: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "channel_id": (_is_channels, "an array of integers"),
    "language_hints": (_is_texts, "an array of strings"),
    "vocabulary_id": (_is_text, "a string"),
    "vocabulary": (_is_weighted, "an object of words and their weights, 1 to 5 or 50"),
    "special_word_filter": (_is_json_text, "a string that holds a JSON object"),
    "diarization_enabled": (_is_flag, "a boolean"),
    "speaker_count": (_is_whole, "an integer"),
    "disfluency_removal_enabled": (_is_flag, "a boolean"),
    "timestamp_alignment_enabled": (_is_flag, "a boolean"),
    "language": (_is_text, "a string"),
    "enable_itn": (_is_flag, "a boolean"),
    "enable_words": (_is_flag, "a boolean"),
    "keep_dialect": (_is_flag, "a boolean"),
    "speaker_diarization_enabled": (_is_flag, "a boolean"),
}


def read_parameters(parameters: object, heeded: frozenset[str]) -> JsonObject | None:
    """All of `parameters` as sent, None where there is none; ApiError when a heeded one makes no sense."""
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise invalid("parameters must be an object")
    for name, (is_valid, expected) in _TYPES.items():
        if name in heeded and name in parameters and not is_valid(parameters[name]):
            raise invalid(f"parameters.{name} must be {expected}")
    return parameters


def check_context(context: object, where: str = "input.context") -> None:
    """Messages of user and assistant, or ApiError; what is too much of them is cut without a word."""
    if not isinstance(context, list) or not all(_is_message(message) for message in context):
        raise invalid(f"{where} must be an array of messages")


def _is_message(message: object) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return False
    kind = _ROLES.get(str(message.get("role")))
    return kind is not None and all(_is_part(part, kind) for part in message["content"])


def _is_part(part: object, kind: str) -> bool:
    return isinstance(part, dict) and part.get("type") == kind and isinstance(part.get("text"), str)
