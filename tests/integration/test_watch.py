"""A real Prometheus beside real services: every panel answers, and alerts fire in their phase alone."""

import asyncio
import time
from pathlib import Path

import pytest

from sandbox.simulator import Fault
from tests.integration.prometheus import WAIT_SECONDS, Prometheus, prometheus
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, request
from tools.monitoring.dashboards import ANNOTATIONS, selected
from tools.monitoring.panels import BOARDS

pytestmark = [pytest.mark.needs_debian("prometheus"), pytest.mark.computes, pytest.mark.timeout(500)]

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
    "ScribeReplicaMissing",
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


async def until_all_answer(server: Prometheus, since: float) -> None:
    """Wait until each panel has shown something at some second: a rate needs two scrapes."""
    empty: set[str] = set()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while empty := await empty_panels(server, since) - EMPTY_IN_HEALTH:
                await asyncio.sleep(1)
    except TimeoutError:
        raise AssertionError(f"these panels show nothing: {empty}") from None


SETTINGS = {
    "SCRIBE_SPEND__SECONDS_PER_DAY": "100000",
    "SCRIBE_SPEND__PRICES": "fun-asr=0.01",
    "SCRIBE_SUBMIT__SETTLE_SECONDS": "2",
    "SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": "3",
}


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_every_panel_answers_and_alerts_fire_in_their_phase(stack: Stack, tmp_path: Path) -> None:
    scribes = [await stack.start(**SETTINGS) for _ in range(2)]
    since = time.time()
    async with prometheus(tmp_path, [scribe.port for scribe in scribes]) as server:
        await in_health(stack, server, since)
        fired: set[str] = set()
        for phase in PHASES:
            fired.add(await phase(stack, server))
            assert await server.fired() - BY_TIME == fired
        for _, expression, _ in ANNOTATIONS:
            await server.rows(concrete(expression))


async def in_health(stack: Stack, server: Prometheus, since: float) -> None:
    """Results, and a failure that the requester has to mend."""
    await stack.publish_all([(request(f"good-{n}", f"{HELLO}&n={n}"), None, ()) for n in range(30)])
    await stack.publish(request("missing", f"{HELLO}&fail=FILE_404_NOT_FOUND"))
    await stack.outcomes(31)
    await server.until('sum(scribe_jobs_finished_total{fault="none"}) == 30')
    await server.until("scribe:shards_ready:sum == on () group_left () max(scribe_request_partitions)")
    await until_all_answer(server, since)
    assert await server.fired() <= BY_TIME


async def a_hold(stack: Stack, server: Prometheus) -> str:
    """The account is in arrears."""
    stack.sim.state.add_fault(Fault(on="submit", kind="status", status=403, code="Arrearage", times=None))
    await stack.publish(request("held", f"{HELLO}&held=1"))
    await server.until_fires("ScribeHold")
    [held] = await server.until("scribe:waiting_jobs:sum{reason='hold'} > 0")
    assert held["model"] == "fun-asr"
    stack.sim.state.faults.clear()
    await stack.outcomes(32)
    await server.until("max(scribe_hold) == 0")
    return "ScribeHold"


async def an_outage(stack: Stack, server: Prometheus) -> str:
    """The provider fails each submit."""
    stack.sim.state.add_fault(Fault(on="submit", kind="status", status=500, times=None))
    await stack.publish_all([(request(f"outage-{n}", f"{HELLO}&outage={n}"), None, ()) for n in range(4)])
    await server.until_fires("ScribeOutage")
    stack.sim.state.faults.clear()
    await stack.outcomes(36)
    await server.until("max(scribe_provider_outage) == 0")
    return "ScribeOutage"


async def a_garbled_result(stack: Stack, server: Prometheus) -> str:
    """A finished task's result is no transcript, as often as it is fetched."""
    stack.sim.state.add_fault(Fault(on="result", kind="garbage", times=None))
    await stack.publish(request("garbled", f"{HELLO}&garbled=1"))
    await stack.outcomes(37)
    stack.sim.state.faults.clear()
    await server.until_fires("ScribePaidWithoutTranscript")
    return "ScribePaidWithoutTranscript"


async def a_lost_submit(stack: Stack, server: Prometheus) -> str:
    """A submit gets no answer, and there is no task of it."""
    stack.sim.state.add_fault(Fault(on="submit", kind="drop_before"))
    await stack.publish(request("lost", f"{HELLO}&lost=1"))
    await server.until_fires("ScribeMayHaveBilledTwice")
    await stack.outcomes(38)
    return "ScribeMayHaveBilledTwice"


PHASES = (a_hold, an_outage, a_garbled_result, a_lost_submit)
"""In this order; each returns the alert that it makes fire."""
