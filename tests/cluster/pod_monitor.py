"""A PodMonitor as a scrape configuration of Prometheus, as the Prometheus operator writes it.

After `generatePodMonitorConfig` of prometheus-operator 0.85, without its shards. What Scribe's chart does not
use is refused, so that nothing is left out in silence.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.cluster import Document

_SPEC = {"selector", "podMetricsEndpoints"}
_ENDPOINT = {"port", "path", "interval", "scrapeTimeout", "relabelings", "metricRelabelings"}
_RELABELING = {
    "action": "action",
    "sourceLabels": "source_labels",
    "targetLabel": "target_label",
    "replacement": "replacement",
    "regex": "regex",
    "separator": "separator",
    "modulus": "modulus",
}


def scrape_configs(monitor: Document, discovery: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One configuration for each endpoint. `discovery` says how to reach the API server."""
    spec, metadata = monitor["spec"], monitor["metadata"]
    _require_known(spec, _SPEC)
    _require_known(spec["selector"], {"matchLabels"})
    return [
        {
            "job_name": f"podMonitor/{metadata['namespace']}/{metadata['name']}/{number}",
            "honor_labels": False,
            "kubernetes_sd_configs": [
                {"role": "pod", "namespaces": {"names": [metadata["namespace"]]}, **discovery}
            ],
            "scrape_interval": endpoint["interval"],
            "scrape_timeout": endpoint["scrapeTimeout"],
            "metrics_path": endpoint["path"],
            "relabel_configs": list(_relabelings(monitor, endpoint)),
            "metric_relabel_configs": [_translated(each) for each in endpoint.get("metricRelabelings", [])],
        }
        for number, endpoint in enumerate(spec["podMetricsEndpoints"])
    ]


def _relabelings(monitor: Document, endpoint: Document) -> Iterator[dict[str, Any]]:
    _require_known(endpoint, _ENDPOINT)
    metadata = monitor["metadata"]
    yield {"source_labels": ["job"], "target_label": "__tmp_prometheus_job_name"}
    yield {
        "source_labels": ["__meta_kubernetes_pod_phase"],
        "regex": "(Failed|Succeeded)",
        "action": "drop",
    }
    for name, value in sorted(monitor["spec"]["selector"]["matchLabels"].items()):
        label = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        sources = [f"__meta_kubernetes_pod_{kind}_{label}" for kind in ("label", "labelpresent")]
        yield {"action": "keep", "source_labels": sources, "regex": f"({value});true"}
    port = "__meta_kubernetes_pod_container_port_name"
    yield {"action": "keep", "source_labels": [port], "regex": endpoint["port"]}
    for source, target in (
        ("namespace", "namespace"),
        ("pod_container_name", "container"),
        ("pod_name", "pod"),
    ):
        yield {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}
    yield {"target_label": "job", "replacement": f"{metadata['namespace']}/{metadata['name']}"}
    yield {"target_label": "endpoint", "replacement": endpoint["port"]}
    for relabeling in endpoint.get("relabelings", []):
        yield _translated(relabeling)


def _translated(relabeling: Document) -> dict[str, Any]:
    return {_RELABELING[name]: value for name, value in relabeling.items()}


def _require_known(document: Document, known: set[str]) -> None:
    assert document.keys() <= known, f"not translated: {document.keys() - known}"
