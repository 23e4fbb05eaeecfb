"""What a check of `scribe doctor` found, and the lines and the document that show it."""

from collections.abc import Callable, Sequence
from enum import StrEnum

from pydantic import JsonValue

from service.cli.tables import plain
from service.frozen import dataclass


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """The service works, and something should be changed."""
    FAILED = "failed"
    """The service does not start, or does no work."""
    SKIPPED = "skipped"
    """An earlier check failed, or the settings do not need it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check; `detail` says what is there, or what to do."""

    check: str
    result: Result
    detail: str

    def __str__(self) -> str:
        return plain(f"{self.result:9}{self.check:14}{self.detail}")


Report = Callable[[Finding], None]
"""Told of each finding as soon as it is made."""


def document_of(findings: Sequence[Finding]) -> dict[str, JsonValue]:
    """The findings for a program."""
    checks: list[JsonValue] = [
        {"check": each.check, "result": each.result.value, "detail": each.detail} for each in findings
    ]
    return {"ok": not has_failed(findings), "checks": checks}


def has_failed(findings: Sequence[Finding]) -> bool:
    """Whether one of the checks failed."""
    return any(each.result is Result.FAILED for each in findings)
