"""Fails a run that leaves a process, a listening port or a temporary file behind.

The run gets a temporary folder of its own, so that what others do at the same time is not held against it.
Orphans of its processes become its children (Linux), so that no daemon escapes. With xdist each worker looks
after itself, and the run hears of what it found.
"""

import ctypes
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_PR_SET_CHILD_SUBREAPER = 36
_TCP_LISTEN = "0A"
_ENDING_SECONDS = 20.0
_PREFIX = "scribe-tests-"
_REPORT = "left_behind"
_OF_PYTHON = "multiprocessing.resource_tracker"  # ends with the process that it serves


@dataclass
class Watch:
    """What the run had at its start, and what it left."""

    folder: Path
    outer: str
    ports: set[int]
    found: list[str] = field(default_factory=list)


_WATCH = pytest.StashKey[Watch]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    outer = tempfile.gettempdir()
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", outer)  # pytest keeps its folders of the last runs there
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _use_folder(str(folder))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    config.stash[_WATCH] = Watch(folder, outer, set(_listening_ports()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    watch = session.config.stash[_WATCH]
    _wait_for_children()
    watch.found += [f"process {pid}: {command}" for pid, command in _children()]
    watch.found += [f"listening port {port}" for port in set(_listening_ports()) - watch.ports]
    watch.found += [f"in the temporary folder: {name}" for name in _names_in(watch.folder)]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_REPORT] = watch.found
    if watch.found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of xdist has ended; one that crashed tells nothing."""
    node.config.stash[_WATCH].found += getattr(node, "workeroutput", {}).get(_REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[_WATCH].found
    if found:
        terminalreporter.section("left behind by this run, which therefore failed", red=True)
        for line in found:
            terminalreporter.line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    watch = config.stash.get(_WATCH, None)
    if watch:
        _use_folder(watch.outer)
        shutil.rmtree(watch.folder, ignore_errors=True)


def _names_in(folder: Path) -> list[str]:
    """What lies in the folder; those of workers that are just ending are theirs to remove."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(_PREFIX))


def _use_folder(folder: str) -> None:
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # looked up again when next asked for


def _wait_for_children() -> None:
    """A process that was told to end may need a moment."""
    end = time.monotonic() + _ENDING_SECONDS
    while any(True for _child in _children()) and time.monotonic() < end:
        time.sleep(0.05)


def _children() -> Iterator[tuple[int, str]]:
    """Living children of this process, as (pid, command line)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it ended while we looked
            continue
        if int(parent) == os.getpid() and state != "Z" and _OF_PYTHON not in command:
            yield int(stat.parent.name), command


def _listening_ports() -> Iterator[int]:
    """TCP ports at which this process itself listens; those of children are told by the children."""
    inodes = set()
    for descriptor in Path("/proc/self/fd").glob("*"):
        try:
            inodes.add(str(descriptor.readlink()))
        except OSError:  # the one that lists this folder
            continue
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            yield from _listed_ports(Path(table), inodes)


def _listed_ports(table: Path, inodes: set[str]) -> Iterator[int]:
    for row in table.read_text().splitlines()[1:]:
        columns = row.split()
        if columns[3] == _TCP_LISTEN and f"socket:[{columns[9]}]" in inodes:
            yield int(columns[1].rpartition(":")[2], 16)
