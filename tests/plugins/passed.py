"""Writes the tests that passed, and leaves those out that another run has passed before: each is run once.

Who gives `--leave-out` answers for it that nothing has changed since: tools/test.sh asks tools/tree_state.py.
"""

from pathlib import Path

import pytest

_LEFT_OUT = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--passed-to", metavar="FILE", help="Write the tests that passed here, if none failed.")
    parser.addoption("--leave-out", metavar="FILE", help="Do not run the tests that this file names.")


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--leave-out")
    config.stash[_LEFT_OUT] = set(Path(given).read_text().splitlines()) if given else set()
    target = config.getoption("--passed-to")
    if target and not hasattr(config, "workerinput"):  # a worker of xdist reports to the run
        config.pluginmanager.register(_Passed(Path(target)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if item.nodeid in config.stash[_LEFT_OUT]]
    if left_out:
        items[:] = [item for item in items if item.nodeid not in config.stash[_LEFT_OUT]]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_LEFT_OUT]:
        terminalreporter.line(f"Left out {len(config.stash[_LEFT_OUT])} tests that have just passed.")


class _Passed:
    """Collects the names of tests whose three phases all passed."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            self._passed.add(report.nodeid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> object:
        """After all others: each of them may still make the run fail, as an error in a teardown does."""
        result = yield
        if session.exitstatus == pytest.ExitCode.OK:
            self._target.write_text("".join(f"{name}\n" for name in sorted(self._passed)))
        return result
