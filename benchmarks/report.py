"""One table for people, the same rows as JSON, and what a process has used so far (Linux)."""

import json
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str | float]
"""Names with their units, each with what was measured; all rows of a table have the same names."""


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, ended ones too."""
    return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid(3) names


def resident_bytes(pid: int) -> int:
    """The resident set of a process."""
    return _memory(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The largest resident set that a process has had."""
    return _memory(pid, "VmHWM")


def _memory(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None, f"process {pid} has no memory any more"
    return 1024 * int(found[1])


def show(tables: Mapping[str, Sequence[Row]], path: Path | None) -> None:
    """Print tables by their titles and, where a file is named, write them as JSON with the machine's load."""
    machine = {"cores": os.cpu_count(), "load": os.getloadavg(), "python": platform.python_version()}
    for title, rows in tables.items():
        print(f"{title}:")
        _print(rows)
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"(load averages of the {os.cpu_count()} cores at the end: {loads})")
    if path is not None:
        path.write_text(json.dumps({"machine": machine, "tables": tables}, indent=2) + "\n")


def _print(rows: Sequence[Row]) -> None:
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *rest in cells:
        print("  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]))


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
