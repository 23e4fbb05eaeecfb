"""The table that a benchmark prints, and the figures it takes of a process."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.report import Row, cpu_seconds, resident_bytes, show

ROWS: list[Row] = [
    {"contender": "ours", "cpu_ms": 4.5678, "jobs": 12_345.6},
    {"contender": "a bare loop", "cpu_ms": 0.0, "jobs": 7.0},
]


def test_a_table_has_a_line_for_its_names_and_one_for_each_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    show({"first": ROWS, "second": ROWS[:1]}, tmp_path / "all.json")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "first:",
        "contender    cpu_ms    jobs",
        "ours           4.57  12,346",
        "a bare loop       0       7",
    ]
    assert lines[4] == "second:"
    assert "load averages" in lines[-1]
    assert json.loads((tmp_path / "all.json").read_text())["tables"] == {"first": ROWS, "second": ROWS[:1]}


def test_a_process_has_used_some_time_and_some_memory() -> None:
    assert cpu_seconds(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 0
