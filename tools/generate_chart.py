"""Writes what in helm/ comes from the settings: `python -m tools.generate_chart [--check]`."""

import argparse
import sys

from tools.chart.schema import SCHEMA, whole


def main(arguments: list[str] | None = None) -> int:
    """Write the schema; with --check write nothing and exit 1 when it is not in step."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate_chart", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the file is in step")
    is_check = parser.parse_args(arguments).check
    text = SCHEMA.read_text("utf-8")
    wanted = whole(text)
    if is_check and text != wanted:
        print("helm/values.schema.json is not in step: run `make docs`", file=sys.stderr)
        return 1
    if not is_check:
        SCHEMA.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
