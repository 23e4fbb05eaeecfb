"""Lints the chart as `helm lint --strict` does, and renders it; it asks no cluster.

Exits 77 where the platform has no wheel of Helm's library, which means skipped.
"""

import sys
from importlib.util import find_spec

CHART = "helm"
SKIPPED = 77
_WARNING = 2


def complaints() -> list[str]:
    """What is wrong with the chart and its default values, in Helm's words."""
    from helm_python import Chart, HelmError, lint  # noqa: PLC0415 - not on every platform

    report = lint(CHART, strict=True)
    found = [each["error"] for each in report["messages"] if each["severity"] >= _WARNING]
    try:
        with Chart.load(CHART) as chart:
            chart.validate_schema()
            chart.render(name="scribe")
    except HelmError as error:
        found.append(str(error))
    return found


def main() -> int:
    if find_spec("helm_python") is None:
        print("Helm's library has no wheel for this platform, so the chart was not checked.")
        return SKIPPED
    found = complaints()
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
