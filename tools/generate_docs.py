"""Writes the pages of docs/ that say what the code says: `python -m tools.generate_docs [--check] [page...]`.

A page is a function that returns its text; add it to `PAGES`. Tests keep the files in step.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.pages.alerts import alerts_page
from tools.pages.configuration import configuration_page
from tools.pages.errors import errors_page
from tools.pages.guarantees import guarantees_page
from tools.pages.metrics import metrics_page
from tools.pages.models import models_page
from tools.pages.states import states_page

DOCS = Path(__file__).resolve().parent.parent / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "alerts": alerts_page,
    "configuration": configuration_page,
    "errors": errors_page,
    "guarantees": guarantees_page,
    "metrics": metrics_page,
    "models": models_page,
    "states": states_page,
}
"""Each page's name, which is its file's name without `.md`, and what writes it."""


def stale_pages(names: list[str], docs: Path = DOCS) -> list[str]:
    """The pages whose file is not what the code says now."""
    return [name for name in names if _written(docs / f"{name}.md") != PAGES[name]()]


def _written(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """Write the named pages, or all; with --check write nothing and exit 1 when one is not in step."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate_docs", description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="page", help=f"of {', '.join(PAGES)}; all by default")
    parser.add_argument("--check", action="store_true", help="only say which pages are not in step")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.pages if name not in PAGES]:
        parser.error(f"there is no page called {unknown[0]}")
    stale = stale_pages(options.pages or list(PAGES))
    if options.check:
        for name in stale:
            print(f"docs/{name}.md is not in step: run python -m tools.generate_docs {name}", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / f"{name}.md").write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
