"""Counts of what stops the work of the process: rebalances, take-overs, holds, outages, a loop that lags."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
)

from service.observability import process_definitions as definitions
from service.observability.instruments import counter, counters, gauge, histogram, histograms
from service.observability.label_values import among, model_label
from service.observability.metric_definitions import HOLD_CODES, OTHER, Definition
from service.observability.never_raises import watches
from service.pipeline.shard.observer import ShardChange

TAKEOVERS = {ShardChange.TAKEN: "restored", ShardChange.RESUMED: "resumed"}
"""The changes that end with a shard being served."""


@watches
class ProcessMetrics:
    """The metrics of the process as a whole."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._rebalances = counter(registry, definitions.REBALANCES)
        self._takeovers = histograms(registry, definitions.TAKEOVER_SECONDS)
        self._holds = counters(registry, definitions.HOLDS)
        self._outages = counters(registry, definitions.OUTAGES)
        self._group_losses = counter(registry, definitions.GROUP_LOSSES)
        self._lag = histogram(registry, definitions.LOOP_LAG_SECONDS)
        self._takeovers.begin(*((kind,) for kind in TAKEOVERS.values()))
        self._holds.begin(*((code,) for code in (*HOLD_CODES, OTHER)))

    def describe(self, version: str, settings: str, limits: Mapping[Definition, float | None]) -> None:
        """Add the service's version, a hash of its settings, its limits, and the metrics of Python."""
        build, hashed = definitions.BUILD, definitions.SETTINGS
        Info(build.name, build.text, registry=self._registry).info({"version": version})
        Info(hashed.name, hashed.text, registry=self._registry).info({"hash": settings})
        for limit, value in limits.items():
            if value is not None:
                gauge(self._registry, limit).set(value)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def rebalanced(self) -> None:
        """The group has made an assignment."""
        self._rebalances.inc()

    def served(self, change: ShardChange, seconds: float) -> None:
        """A shard is served, `seconds` after its take-over or its resumption began."""
        self._takeovers[(TAKEOVERS[change],)].observe(seconds)

    def hold_began(self, code: str) -> None:
        """Submits are held for this code."""
        self._holds[(among(code, HOLD_CODES),)].inc()

    def begin_model(self, model: str) -> None:
        """The model is in use: show its outages, so that a rate sees the first."""
        self._outages.begin((model_label(model),))

    def outage_began(self, model: str) -> None:
        """Submits of the model wait for a probe."""
        self._outages[(model_label(model),)].inc()

    def group_lost(self) -> None:
        """The process has no client in the group, for another cause than before."""
        self._group_losses.inc()

    def loop_lagged(self, seconds: float) -> None:
        """The event loop woke a task so much later than asked."""
        self._lag.observe(seconds)
