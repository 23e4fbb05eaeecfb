"""The W3C `traceparent` header: the trace that a request belongs to."""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

TRACEPARENT = "traceparent"
_FORM = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_SAMPLED = 1


class TraceParent(NamedTuple):
    """A span of another service that ours are children of; ids in lower-case hex digits."""

    trace_id: str
    span_id: str
    is_sampled: bool

    def child_id(self, name: str) -> str:
        """The id of the span below it that has this name: the same whoever computes it, however often."""
        return sha256(f"{self.trace_id}{self.span_id}{name}".encode()).hexdigest()[:16]

    def header(self, span_id: str) -> str:
        """The header of a record whose parent is this span of the trace."""
        return f"00-{self.trace_id}-{span_id}-{int(self.is_sampled):02x}"


def trace_parent(headers: Iterable[tuple[str, str]]) -> TraceParent | None:
    """The trace that these headers name; None without a valid `traceparent`. The last one counts."""
    for name, value in reversed(tuple(headers)):
        if name == TRACEPARENT:
            return _parsed(value)
    return None


def _parsed(value: str) -> TraceParent | None:
    found = _FORM.fullmatch(value)
    # Later versions may append fields, version 0 has none.
    if found is None or (found["version"] == "00" and found["rest"]):
        return None
    return TraceParent(found["trace"], found["span"], bool(int(found["flags"], 16) & _SAMPLED))
