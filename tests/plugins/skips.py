"""Skips a test whose tool is missing, and tells at the very end what was skipped and how to get it.

With `--no-skips` a skip, or a test that is expected to fail, makes the run fail.
"""

import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.msk import folder

_OLDEST_NODE = 18
_MARKERS = {
    "needs_minutes": "more time than `make test` has for one test",
    "needs_java": "real Apache Kafka: Java 17, and the server's jars",
    "needs_msk": "Amazon's signer, which requirements/msk.txt names",
    "needs_cluster": "a Kubernetes control plane: Linux, root, and `python -m sandbox cluster --fetch`",
    "needs_node": "Node.js 18 or later with npm",
    "needs_go": "the programs that check the chart: most are built with Go",
    "needs_faketime": "libfaketime, which sets the clock of one process (Linux)",
    "needs_debian(*programs)": "programs that Debian packages",
}
_MORE_THAN_PYTHON = "tests that need more than Python or take long: `make test-all` installs and runs it all."
_SKIPPED = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="A skip makes the run fail.")
    parser.addoption("--python-only", action="store_true", help="Skip what needs more than Python.")
    parser.addoption("--skips-to", metavar="FILE", help="Write what was skipped here instead of showing it.")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SKIPPED] = Counter()
    for marker, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: needs {meaning}; skipped where that is missing")
    config.pluginmanager.register(_Count(config.stash[_SKIPPED]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    python_only = item.config.getoption("--python-only")
    for marker in item.iter_markers():
        if not marker.name.startswith("needs_"):
            continue
        missing = _MORE_THAN_PYTHON if python_only else _missing(marker)
        if missing:
            pytest.skip(missing)


def _missing(marker: pytest.Mark) -> str | None:
    """What the marked test needs and is not here, with how to get it."""
    match marker.name:
        case "needs_minutes":
            return None
        case "needs_java":
            return _java_missing()
        case "needs_msk":
            return None if folder().is_dir() else "Amazon's signer is missing: `make tools` gets it."
        case "needs_cluster":
            return _cluster_missing()
        case "needs_go":
            return _chart_programs_missing()
        case "needs_node":
            return _node_missing()
        case "needs_faketime":
            return None if find_spec("libfaketime") else "libfaketime: `pip install libfaketime` (Linux)"
        case _:
            return _programs_missing(marker.args)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    skipped = session.config.stash[_SKIPPED]
    if skipped and session.config.getoption("--no-skips") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # of xdist: the run itself hears of each skip and tells them all
        return
    lines = [f"Skipped {count}: {reason}" for reason, count in config.stash[_SKIPPED].items()]
    if lines and config.getoption("--no-skips"):
        lines.append("Nothing may be skipped in this run, so it failed.")
    text = "".join(f"{line}\n" for line in lines)
    target = config.getoption("--skips-to")
    if target:
        Path(target).write_text(text)
    else:
        print(text, end="")


class _Count:
    """Counts skips by reason, as the reports of tests and of collected modules tell them."""

    def __init__(self, skipped: Counter[str]) -> None:
        self._skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._skipped[_reason(report)] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped[_reason(report)] += 1


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected or report.nodeid}"
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")


@cache
def _java_missing() -> str | None:
    from tests.brokers import real_kafka_missing  # noqa: PLC0415 - a run without such tests need not load it

    missing = real_kafka_missing()
    return f"{missing} `make tools` gets both." if missing else None


@cache
def _cluster_missing() -> str | None:
    from sandbox import cluster  # noqa: PLC0415 - a run without such tests need not load it

    return cluster.missing()


@cache
def _chart_programs_missing() -> str | None:
    from tools.chart.programs import missing  # noqa: PLC0415 - a run without such tests need not load it

    return missing()


@cache
def _node_missing() -> str | None:
    wanted = f"Node.js {_OLDEST_NODE} or later with npm is missing (Debian: apt-get install npm)."
    if not (shutil.which("node") and shutil.which("npm")):
        return wanted
    shown = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30, check=False)
    version = re.match(r"v(\d+)", shown.stdout)
    return None if version and int(version[1]) >= _OLDEST_NODE else wanted


def _programs_missing(programs: tuple[str, ...]) -> str | None:
    missing = [program for program in programs if not shutil.which(program)]
    return f"missing here, and packaged by Debian: {', '.join(missing)}." if missing else None
