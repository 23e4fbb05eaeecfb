"""Writes helm/rules and helm/dashboards: `python -m tools.generate_monitoring [--check]`."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from tools.monitoring.dashboards import as_json
from tools.monitoring.panels import BOARDS
from tools.monitoring.rules import groups

HELM = Path(__file__).resolve().parent.parent / "helm"
HEADING = "# Written by `make docs` from tools/monitoring. What to do about an alert: docs/operations.md.\n"


def files(helm: Path = HELM) -> Mapping[Path, str]:
    """Each file, and what it should hold."""
    rules = HEADING + yaml.safe_dump(groups(), sort_keys=False, width=110)
    dashboards = {helm / "dashboards" / f"{board.uid}.json": as_json(board) for board in BOARDS}
    return {helm / "rules" / "scribe.yaml": rules, **dashboards}


def stale_files(helm: Path = HELM) -> list[Path]:
    """The files that are not what the code says now, and those that it does not write."""
    wanted = files(helm)
    extra = {path for folder in ("rules", "dashboards") for path in (helm / folder).glob("*")} - wanted.keys()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    return [*stale, *sorted(extra)]


def main(arguments: list[str] | None = None) -> int:
    """Write the files; with --check write nothing and exit 1 when one is not in step."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate_monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which files are not in step")
    if parser.parse_args(arguments).check:
        for path in (stale := stale_files()):
            print(f"{path.relative_to(HELM.parent)} is not in step: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
