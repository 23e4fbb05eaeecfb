"""Renders the chart as Helm does, in this process; no cluster is asked."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.chart.lint import CHART, values_files

helm = pytest.importorskip("helm_python", reason="Helm's library has no wheel for this platform.")

Manifest = dict[str, Any]
CI = {path.stem: path for path in values_files()}


def values_of(name: str) -> Manifest:
    """The values of a file in helm/ci."""
    values: Manifest = yaml.safe_load(CI[name].read_text("utf-8"))
    return values


def manifests(
    values: Manifest | None = None, *, name: str = "speech", namespace: str = "voice"
) -> list[Manifest]:
    """All objects of an installation, those of `helm test` too."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        texts: Mapping[str, str] = chart.render(values, name=name, namespace=namespace)
    return [
        document
        for path, text in texts.items()
        if Path(path).suffix == ".yaml"
        for document in yaml.safe_load_all(text)
        if document
    ]


def by_kind(values: Manifest | None = None, **where: str) -> dict[str, Manifest]:
    """The objects by their kind; of several the last."""
    return {each["kind"]: each for each in manifests(values, **where)}


def worker(values: Manifest | None = None, **where: str) -> Manifest:
    """The specification of a worker's pod."""
    spec: Manifest = by_kind(values, **where)["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def container(values: Manifest | None = None) -> Manifest:
    """The worker's container."""
    found: Manifest = worker(values)["containers"][0]
    return found


def environment(values: Manifest | None = None) -> dict[str, str]:
    """The container's variables that have a value."""
    return {each["name"]: each["value"] for each in container(values)["env"] if "value" in each}


def refusal(values: Manifest) -> str:
    """Why Helm refuses the values, in one line; fails where it does not."""
    with pytest.raises(helm.HelmError) as caught:
        manifests(values)
    return re.sub(r"\s+", " ", str(caught.value))


def pod_templates(objects: list[Manifest]) -> Iterator[Manifest]:
    """The specification of every pod among the objects."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each["spec"]
        elif each["kind"] == "StatefulSet":
            yield each["spec"]["template"]["spec"]
