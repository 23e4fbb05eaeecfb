"""Lints the chart as `helm lint --strict` does, with each file of helm/ci, and renders it without a cluster.

Exits 77 where the platform has no wheel of Helm's library, which means skipped.
"""

from importlib.util import find_spec
from pathlib import Path

import yaml

HELM = Path(__file__).resolve().parents[2] / "helm"
CHART = str(HELM)
SKIPPED = 77
_WARNING = 2


def values_files() -> list[Path]:
    """The sensible combinations of values, each as a file."""
    return sorted((HELM / "ci").glob("*.yaml"))


def complaints() -> list[str]:
    """What is wrong with the chart, its default values and those of helm/ci, in Helm's words."""
    from helm_python import Chart, HelmError, lint  # noqa: PLC0415 - not on every platform

    found = []
    with Chart.load(CHART) as chart:
        for path in (None, *values_files()):
            values = yaml.safe_load(path.read_text("utf-8")) if path else {}
            report = lint(CHART, values, strict=True)
            name = path.name if path else "values.yaml"
            found += [
                f"{name}: {each['error']}" for each in report["messages"] if each["severity"] >= _WARNING
            ]
            try:
                chart.validate_schema(values)
                chart.render(values, name="scribe")
            except HelmError as error:
                found.append(f"{name}: {error}")
    return found


def main() -> int:
    if find_spec("helm_python") is None:
        print("Helm's library has no wheel for this platform, so the chart was not checked.")
        return SKIPPED
    found = complaints()
    print(*found, sep="\n")
    return 1 if found else 0
