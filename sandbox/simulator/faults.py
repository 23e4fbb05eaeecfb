"""Fault switches: rules that say which call goes wrong and how. It only picks; the call does the damage."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

KINDS: Final = (
    "status",
    "drop_before",
    "drop_after",
    "slow",
    "garbage",
    "business_code",
    "unknown",
    "truncate",
    "huge",
    "hang",
    "redirect",
    "lag",
    "shuffle",
    "misdate",
    "rename",
    "break_stream",
    "end_stream",
    "stream_error",
)
CALLS: Final = ("submit", "query", "list", "cancel", "result", "hotwords", "policy", "upload", "transcribe")
LIST_KINDS: Final = ("lag", "shuffle", "misdate", "rename")
"""What the list says that is not so."""
ANSWER_KINDS: Final = ("status", "business_code", "garbage", "redirect", "unknown")
"""What is answered in place of the truth, whether the work was done or not."""
STREAM_KINDS: Final = ("break_stream", "end_stream", "stream_error")
"""What goes wrong in the middle of a stream; to an answer in one piece they do the same to the whole."""
_WORKS_FIRST: Final = ("drop_after", "slow", "truncate", *LIST_KINDS, *STREAM_KINDS)
MIB = 1024 * 1024


class FaultError(ValueError):
    """A rule that cannot be read; the message says which field."""


@dataclass(kw_only=True)
class Fault:
    """One rule. `times` calls are hit (None: all) whose model, task id, URL or body contains `match`.

    `accept` says whether the call does its work before it goes wrong (a submit is then billed); by
    default it does for drop_after, slow, truncate and for what breaks a stream, behind `chunks` events of
    it. `status` is 500 for kind status and 200 for the others unless given. Times are real seconds, but
    `seconds` of lag and misdate are the simulator's own.
    """

    on: str
    kind: str
    status: int | None = None
    code: str = "InternalError"
    message: str = "An internal error has occured, please try again later or contact service support."
    retry_after: str | int | float | None = None
    seconds: float | None = None
    times: int | None = 1
    match: str = ""
    accept: bool | None = None
    size_bytes: int = 64 * MIB
    gzip: bool = False
    location: str = "https://redirect.example/elsewhere"
    chunks: int = 1
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.on not in CALLS:
            raise FaultError(f"on must be one of {', '.join(CALLS)}")
        if self.kind not in KINDS:
            raise FaultError(f"kind must be one of {', '.join(KINDS)}")
        if self.kind == "unknown" and self.on != "query":
            raise FaultError("kind unknown is for queries")
        if self.kind in LIST_KINDS and self.on != "list":
            raise FaultError(f"kind {self.kind} is for lists")
        if self.kind in STREAM_KINDS and self.on != "transcribe":
            raise FaultError(f"kind {self.kind} is for transcribe calls")

    @property
    def works_first(self) -> bool:
        return self.kind in _WORKS_FIRST if self.accept is None else self.accept

    @property
    def is_spent(self) -> bool:
        return self.times is not None and self.hits >= self.times

    def http_status(self) -> int:
        """The status to answer with."""
        return self.status or {"status": 500, "redirect": 302}.get(self.kind, 200)

    def headers(self) -> dict[str, str]:
        """`Retry-After`, where the rule has one."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class FaultBoard:
    """The rules in force, oldest first; the first that fits takes the call."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._rules.append(fault)

    def clear(self) -> None:
        self._rules.clear()

    def rules(self) -> tuple[Fault, ...]:
        return tuple(self._rules)

    def take(self, on: str, subject: str) -> Fault | None:
        """The rule that hits this call, counted; None when the call goes well."""
        for rule in self._rules:
            if rule.on == on and not rule.is_spent and rule.match in subject:
                rule.hits += 1
                return rule
        return None


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "on": (str,),
    "kind": (str,),
    "status": (int,),
    "code": (str,),
    "message": (str,),
    "retry_after": (str, int, float),
    "seconds": (int, float),
    "times": (int,),
    "match": (str,),
    "accept": (bool,),
    "size_bytes": (int,),
    "gzip": (bool,),
    "location": (str,),
    "chunks": (int,),
}
_MAY_BE_NULL: Final = ("status", "retry_after", "seconds", "times", "accept")


def read_faults(payload: object) -> list[Fault]:
    """Read a rule or a list of rules from JSON; FaultError names what is wrong, and then none is made."""
    rules = payload if isinstance(payload, list) else [payload]
    return [_read_fault(rule) for rule in rules]


def _read_fault(rule: object) -> Fault:
    if not isinstance(rule, dict):
        raise FaultError("a rule is a JSON object")
    for name, value in rule.items():
        if name not in _TYPES:
            raise FaultError(f"unknown field {str(name)[:40]!r}")
        if not (isinstance(value, _TYPES[name]) or (value is None and name in _MAY_BE_NULL)):
            raise FaultError(f"{name} has the wrong type")
    if not {"on", "kind"} <= rule.keys():
        raise FaultError("a rule needs on and kind")
    return Fault(**rule)


def describe(fault: Fault) -> dict[str, object]:
    """A rule as JSON, with the number of calls that it hit."""
    return {item.name: getattr(fault, item.name) for item in fields(fault)}
