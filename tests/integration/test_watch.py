"""A real Prometheus beside real services: alerts fire in their phase alone, and panels answer in theirs.

`make watch` plays all phases of the storm on real Kafka; here are those that two services and the embedded
broker can play in some minutes, most of which they wait.
"""

from pathlib import Path

import pytest

from tests.integration.prometheus import prometheus
from tests.integration.stack import Stack
from tests.watch.panels import SHOWN_IN, blind_panels, concrete
from tests.watch.phases import PHASES, SETTINGS, SYNTHETIC
from tests.watch.storm import NAMES, Played, Storm, followed, play
from tools.monitoring.alerts import ALERTS
from tools.monitoring.dashboards import ANNOTATIONS
from tools.monitoring.panels import BOARDS

PLAYED_HERE = (
    "health",
    "hold",
    "lost answers",
    "outage",
    "garbled results",
    "files fail",
    "internal error",
    "stuck loop",
)


@pytest.mark.needs_debian("prometheus")
@pytest.mark.lasts
@pytest.mark.timeout(600)
@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_alerts_fire_in_their_phase_alone_and_panels_answer_in_theirs(
    stack: Stack, tmp_path: Path
) -> None:
    stack.module = "tests.watch.worker"
    async with prometheus(tmp_path) as server:
        storm = Storm(stack, server, tmp_path, NAMES[:2], settings=SETTINGS)
        await storm.start(storm.names[0])
        played: dict[str, Played] = {}
        async with followed(storm):
            for phase in PHASES:
                if phase.name in PLAYED_HERE:
                    played[phase.name] = await play(storm, phase)
        assert await blind_panels(server, played) == []
        for _, expression, _ in ANNOTATIONS:
            await server.rows(concrete(expression))


def test_every_alert_has_a_phase_or_a_reason_why_not() -> None:
    played = {alert for phase in PHASES for alert in phase.fires}
    assert played.isdisjoint(SYNTHETIC)
    assert played | set(SYNTHETIC) == {alert.name for alert in ALERTS}


def test_the_page_for_operators_names_the_alerts_that_are_not_played() -> None:
    page = Path("docs/operations.md").read_text("utf-8")
    assert [alert for alert in SYNTHETIC if f"`{alert}`" not in page] == []


def test_the_phases_of_panels_exist_and_so_do_the_panels() -> None:
    titles = {panel.title for board in BOARDS for panel in board.panels}
    phases = {name for shown in SHOWN_IN.values() for name in ([shown] if isinstance(shown, str) else shown)}
    assert set(SHOWN_IN) <= titles
    assert phases | set(PLAYED_HERE) <= {phase.name for phase in PHASES}
