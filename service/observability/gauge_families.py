"""Gauges as the client library shows them, from a definition and its values."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily

from service.observability.metric_definitions import Definition


def number(metric: Definition, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return gauge(metric, [((), value)])


def gauge(metric: Definition, values: Iterable[tuple[Sequence[str], float]]) -> GaugeMetricFamily:
    """A gauge with a series for each of these labels."""
    family = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labelled, value in values:
        family.add_metric(labelled, value)
    return family
