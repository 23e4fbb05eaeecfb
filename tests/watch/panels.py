"""In which phase of the storm each panel must show something, and the check that it does."""

import math
from collections.abc import Mapping

from tests.integration.prometheus import Prometheus
from tests.watch.storm import Played
from tools.monitoring.dashboards import selected
from tools.monitoring.panels import BOARDS, Panel

VARIABLES = {"$namespace": ".*", "$job": "scribe", "$model": ".*", "$__rate_interval": "30s"}
HEALTH = "health"
SHOWN_IN: Mapping[str, str | tuple[str, ...]] = {
    "Partitions not served": "Kafka frozen",
    "Alerts that fire": "hold",
    "Holds": "hold",
    "Models out of reach": "outage",
    "Requests wait for": "full",
    "Waiting jobs by reason": "hold",
    "Burn of the error budgets, 1 h": ("full", "files fail"),
    "Open jobs by state": (HEALTH, "full"),
    "Failures by code": "files fail",
    "Calls that failed": "throttling",
    "Slots not used": "Kafka frozen",
    "Holds by code": "hold",
    "Outages by cause": "outage",
    "Uncertain submits": "lost answers",
    "Request lag by partition": "full",
    "Kafka is away": "Kafka frozen",
    "Bytes not yet durable": "Kafka frozen",
    "Clock against trusted time": "clock",
    "Sweep over the task list": HEALTH,
}
"""The phase of each panel, or of each of its queries; those that are not named answer in health."""


def concrete(expression: str) -> str:
    """A query as Grafana sends it."""
    query = selected(expression)
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def phases_of(panel: Panel) -> tuple[str, ...]:
    """The phase in which each query of the panel must show something."""
    named = SHOWN_IN.get(panel.title, HEALTH)
    return named if isinstance(named, tuple) else (named,) * len(panel.queries)


async def blind_panels(server: Prometheus, played: Mapping[str, Played]) -> list[str]:
    """The panels of which a query shows nothing, or 0 alone, in its phase; of phases that were played."""
    return [
        f"{panel.title}: {query.legend or query.expression} in {phase!r}"
        for board in BOARDS
        for panel in board.panels
        for query, phase in zip(panel.queries, phases_of(panel), strict=True)
        if phase in played and not await _shows(server, query.expression, played[phase])
    ]


async def _shows(server: Prometheus, expression: str, played: Played) -> bool:
    span = {"start": str(played.begin), "end": str(played.end), "step": "1"}
    found = (await server.ask("query_range", query=concrete(expression), **span))["result"]
    values = (float(value) for row in found for _, value in row["values"])
    return any(value and not math.isnan(value) for value in values)
