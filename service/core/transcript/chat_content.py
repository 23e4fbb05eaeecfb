"""Extract the text from a chat message's content, whole or part of a stream, in any form it may have."""

from collections.abc import Mapping

from pydantic import JsonValue

_TEXT_FIELDS = ("text", "content", "value")
_MAX_LEVELS = 4
"""Maximum depth that is read; a list of objects with an object of text has three levels."""


def text_and_rest(content: JsonValue) -> tuple[str, list[JsonValue]]:
    """The text in a content, and its parts that have no place for text and are not null."""
    parts = content if isinstance(content, list) else [content]
    texts = [_text(part, _MAX_LEVELS) for part in parts]
    rest: list[JsonValue] = [
        part for part, text in zip(parts, texts, strict=True) if text is None and part is not None
    ]
    return "".join(text for text in texts if text), rest


def _text(part: JsonValue, levels: int) -> str | None:
    """The text of one part; None if it has no place for text."""
    if isinstance(part, str):
        return part
    if not levels:
        return None
    if isinstance(part, list):
        texts = [_text(each, levels - 1) for each in part]
        return None if None in texts else "".join(text for text in texts if text)
    return _text_field(part, levels) if isinstance(part, dict) else None


def _text_field(part: Mapping[str, JsonValue], levels: int) -> str | None:
    named = (_text(part[name], levels - 1) for name in _TEXT_FIELDS if part.get(name) is not None)
    return next((text for text in named if text is not None), None)
