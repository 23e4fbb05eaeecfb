"""Charts and code of earlier commits, for upgrades from them."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import yaml

CHART = "helm"
FIRST = "d4efbe3"
"""The last commit with the first chart, whose selectors cannot be upgraded."""


def last_with_another_chart() -> str:
    """The newest commit that changed the chart, to something else than it is in this checkout."""
    if _git("status", "--porcelain", "--", CHART):
        return "HEAD"
    now = _git("rev-parse", f"HEAD:{CHART}")
    for commit in _git("rev-list", "HEAD", "--", CHART).splitlines():
        if _git("rev-parse", f"{commit}:{CHART}") != now:
            return commit
    raise AssertionError("no commit has another chart: the upgrade needs the history of the repository")


def exported(commit: str, folder: Path) -> Path:
    """The chart and the service of a commit, below the folder."""
    archive = subprocess.run(
        ["git", "archive", commit, CHART, "service"], check=True, capture_output=True, timeout=60
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def has_structured_values(folder: Path) -> bool:
    """Whether it is a chart of today's kind, with which an upgrade is possible."""
    return "kafka" in yaml.safe_load((folder / CHART / "values.yaml").read_text())


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, timeout=60)
    return run.stdout
