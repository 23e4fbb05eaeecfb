"""Text for a terminal: aligned columns, ages and times; and JSON for programs."""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import JsonValue

from service.contract.outcome import rfc3339, utc_time


class OutputForm(StrEnum):
    """For whom a command prints."""

    TEXT = "text"
    JSON = "json"


Output = Annotated[OutputForm, typer.Option("--output", "-o", help="Lines for people, or JSON for programs.")]


def plain(line: str) -> str:
    """The line without control characters: foreign text must not control the terminal."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") else char for char in line)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield plain("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def print_json(document: JsonValue, *, in_one_line: bool = False) -> None:
    """The document on standard output."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=None if in_one_line else 2))


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `0-3,7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def time_of(epoch_ms: int | None) -> str | None:
    """The time as the contract writes it; None for none, and for one beyond the calendar."""
    moment = utc_time(epoch_ms)
    return None if moment is None else rfc3339(moment)


def age(seconds: float) -> str:
    """A duration in its two largest units: `3 s`, `2 min 5 s`, `5 h 12 min`, `2 d 3 h`."""
    whole = max(0, int(seconds))
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {name}")
    return " ".join(each for each in parts[:2] if not each.startswith("0 ")) or "0 s"


def size_of(number: int) -> str:
    """A number of bytes in its largest decimal unit: `4.0 kB`."""
    size, unit = float(number), "B"
    for larger in ("kB", "MB", "GB"):
        if size >= 1000:
            size, unit = size / 1000, larger
    return f"{number} B" if unit == "B" else f"{size:.1f} {unit}"
