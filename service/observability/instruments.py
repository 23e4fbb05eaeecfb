"""Counters, gauges and histograms made from their definitions, with the children of label sets at hand."""

from collections.abc import Callable
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.observability.metric_definitions import Definition

M = TypeVar("M")


class Children(dict[tuple[str, ...], M], Generic[M]):
    """The children of a metric by their label values: the library's `labels()` takes a microsecond."""

    def __init__(self, labelled: Callable[..., M]) -> None:
        super().__init__()
        self._labelled = labelled

    def __missing__(self, key: tuple[str, ...]) -> M:
        self[key] = made = self._labelled(*key)
        return made

    def begin(self, *keys: tuple[str, ...]) -> None:
        """Create these series now, so that a rate sees their first event."""
        for key in keys:
            self[key]


def counter(registry: CollectorRegistry, metric: Definition) -> Counter:
    """A counter."""
    return Counter(metric.name, metric.text, metric.labels, registry=registry)


def counters(registry: CollectorRegistry, metric: Definition) -> Children[Counter]:
    """A counter for each label set."""
    return Children(counter(registry, metric).labels)


def gauge(registry: CollectorRegistry, metric: Definition) -> Gauge:
    """A gauge."""
    return Gauge(metric.name, metric.text, metric.labels, registry=registry)


def histogram(registry: CollectorRegistry, metric: Definition) -> Histogram:
    """A histogram."""
    return Histogram(metric.name, metric.text, metric.labels, buckets=metric.buckets, registry=registry)


def histograms(registry: CollectorRegistry, metric: Definition) -> Children[Histogram]:
    """A histogram for each label set."""
    return Children(histogram(registry, metric).labels)
