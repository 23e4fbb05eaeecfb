"""The bytes of a request record."""

import json
from collections.abc import Mapping

from pydantic import JsonValue


def encode(request: Mapping[str, JsonValue]) -> bytes:
    """The record's value."""
    return json.dumps(request, separators=(",", ":")).encode()
