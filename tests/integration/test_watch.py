"""A real Prometheus beside real services: every panel answers, and alerts fire in their phase alone."""

import time
from pathlib import Path

import pytest

from sandbox.simulator import Fault
from tests.integration.prometheus import Prometheus, prometheus
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, request
from tools.monitoring.dashboards import ANNOTATIONS, selected
from tools.monitoring.panels import BOARDS

pytestmark = [pytest.mark.needs_debian("prometheus"), pytest.mark.computes]

VARIABLES = {"$namespace": ".*", "$job": "scribe", "$model": ".*", "$__rate_interval": "30s"}
EMPTY_IN_HEALTH = {
    "Holds by code",
    "Nearest loss of a result",
    "Outages by cause",
    "Slots not used",
    "Uncertain submits",
    "Waiting jobs by reason",
    "Calls that failed",
}
"""Panels that may show nothing while nothing is wrong."""
BY_TIME = {
    "ScribeAbsent",
    "ScribeEventLoopLate",
    "ScribeGroupLost",
    "ScribeLoopStuck",
    "ScribeNoMembership",
    "ScribeNotReady",
    "ScribeRestarts",
    "ScribeShardUnserved",
    "ScribeNothingMoves",
    "ScribeUncertain",
}
"""Alerts on seconds that a busy machine may take: at sixty times their speed they may fire at any time."""


def concrete(expression: str) -> str:
    """A query as Grafana sends it."""
    query = selected(expression)
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


async def empty_panels(server: Prometheus, since: float) -> set[str]:
    """The panels of which some query gives nothing; one that Prometheus refuses fails."""
    span = {"start": str(since), "end": str(time.time()), "step": "1"}
    return {
        panel.title
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
        if not (await server.ask("query_range", query=concrete(query.expression), **span))["result"]
    }


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_every_panel_answers_and_alerts_fire_in_their_phase(stack: Stack, tmp_path: Path) -> None:
    limits = {"SCRIBE_SPEND__SECONDS_PER_DAY": "100000", "SCRIBE_SPEND__PRICES": "fun-asr=0.01"}
    scribes = [await stack.start(**limits) for _ in range(2)]
    since = time.time()
    async with prometheus(tmp_path, [scribe.port for scribe in scribes]) as server:
        await stack.publish_all([(request(f"good-{n}", f"{HELLO}&n={n}"), None, ()) for n in range(30)])
        await stack.publish(request("missing", f"{HELLO}&fail=FILE_404_NOT_FOUND"))
        await stack.outcomes(31)
        await server.until('sum(scribe_jobs_finished_total{fault="none"}) == 30')
        await server.until("scribe:shards_ready:sum == on () group_left () max(scribe_request_partitions)")
        # In health: at each second of the past, some panel may be empty; none is for all of it.
        assert await server.fired() <= BY_TIME
        assert await empty_panels(server, since) - EMPTY_IN_HEALTH == set()
        for _, expression, _ in ANNOTATIONS:
            await server.rows(concrete(expression))

        stack.sim.state.add_fault(
            Fault(on="submit", kind="status", status=403, code="Arrearage", times=None, match="held")
        )
        await stack.publish(request("held", f"{HELLO}&held=1"))
        await server.until_fires("ScribeHold")
        [held] = await server.until("scribe:waiting_jobs:sum{reason='hold'} > 0")
        assert held["model"] == "fun-asr"
        stack.sim.state.faults.clear()
        await stack.outcomes(32, seconds=120)
        await server.until("max(scribe_hold) == 0")
        assert await server.fired() <= BY_TIME | {"ScribeHold"}

        stack.sim.state.add_fault(Fault(on="submit", kind="status", status=500, times=None, match="outage"))
        for number in range(4):
            await stack.publish(request(f"outage-{number}", f"{HELLO}&outage={number}"))
        await server.until_fires("ScribeOutage")
        stack.sim.state.faults.clear()
        await stack.outcomes(36, seconds=120)
        await server.until("max(scribe_provider_outage) == 0")
        assert await server.fired() <= BY_TIME | {"ScribeHold", "ScribeOutage", "ScribeThrottled"}
