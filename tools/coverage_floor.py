"""Holds the coverage that the last run measured to its floors, branches included; it runs no test itself."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

FLOORS = {"service/core/": 100.0, "service/": 90.0}
"""The least percentage of lines and branches, taken together, that the tests must reach in each folder."""


class Counts(TypedDict):
    covered_lines: int
    num_statements: int
    covered_branches: int
    num_branches: int


@dataclass(frozen=True)
class Gap:
    """What was not reached in one file, in the words of coverage: lines, and branches as `from->to`."""

    path: str
    text: str


def percent(files: Iterable[Counts]) -> float:
    """Covered share of all lines and branches in percent; 100 when there are none."""
    covered = total = 0
    for counts in files:
        covered += counts["covered_lines"] + counts["covered_branches"]
        total += counts["num_statements"] + counts["num_branches"]
    return 100.0 * covered / total if total else 100.0


def below_floor(files: Mapping[str, Counts], modules: Iterable[str]) -> list[str]:
    """One sentence per floor that is not kept; `modules` are the paths that must have been measured."""
    sentences = []
    expected = list(modules)
    for folder, floor in FLOORS.items():
        unmeasured = [path for path in expected if path.startswith(folder) and path not in files]
        reached = percent(counts for path, counts in files.items() if path.startswith(folder))
        if unmeasured:
            sentences.append(f"{folder}: not measured at all: {', '.join(sorted(unmeasured))}")
        if reached < floor:
            sentences.append(f"{folder}: {reached:.2f} % covered, the floor is {floor:g} %")
    return sentences


def main() -> int:
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", "-"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    measured: dict[str, dict[str, object]] = report["files"]
    files: dict[str, Counts] = {path: entry["summary"] for path, entry in report["files"].items()}
    modules = [path.as_posix() for path in Path("service").rglob("*.py") if path.stat().st_size]
    for folder, floor in FLOORS.items():
        counts = [files[path] for path in files if path.startswith(folder)]
        print(f"coverage of {folder} {percent(counts):.2f} % (floor {floor:g} %)")
    sentences = below_floor(files, modules)
    if any(sentence.startswith("service/core/") for sentence in sentences):
        sentences += [gap for path in sorted(files) if (gap := _gap(path, measured[path]))]
    print(*sentences, sep="\n", end="\n" if sentences else "", file=sys.stderr)
    return 1 if sentences else 0


def _gap(path: str, entry: Mapping[str, object]) -> str:
    if not path.startswith("service/core/"):
        return ""
    lines, branches = entry["missing_lines"], entry.get("missing_branches", [])
    return f"  {path}: lines {lines}, branches {branches}" if lines or branches else ""


if __name__ == "__main__":
    sys.exit(main())
