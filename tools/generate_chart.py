"""Writes what in helm/ comes from elsewhere: `python -m tools.generate_chart [--check]`.

The schema of the values comes from the settings; the README from the values, by helm-docs, which `make tools`
builds. Without helm-docs the README stays as it is.
"""

import argparse
import subprocess
import sys

from tools.chart.lint import CHART
from tools.chart.programs import go_programs
from tools.chart.schema import SCHEMA, whole

HELM_DOCS = ("--sort-values-order=file", "--log-level=warning", f"--chart-search-root={CHART}")


def main(arguments: list[str] | None = None) -> int:
    """Write both; with --check write nothing and exit 1 when the schema is not in step."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate_chart")
    parser.add_argument("--check", action="store_true", help="only say whether the schema is in step")
    is_check = parser.parse_args(arguments).check
    text = SCHEMA.read_text("utf-8")
    wanted = whole(text)
    if is_check:
        if text != wanted:
            print("helm/values.schema.json is not in step: run `make docs`", file=sys.stderr)
        return 0 if text == wanted else 1
    SCHEMA.write_text(wanted, "utf-8")
    if not go_programs().is_dir():
        print("helm/README.md is as it was: run `make tools` for helm-docs", file=sys.stderr)
        return 0
    return subprocess.run([go_programs() / "helm-docs", *HELM_DOCS], timeout=60, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
