"""Plays the phases of `tests/integration/test_watch.py` and draws what the dashboards showed.

    python -m benchmarks.plots.storm [--out docs/operations]

A real Prometheus scrapes two services on the embedded broker once a second. Grafana does not run here: each
picture is drawn from the answers to the queries of a dashboard's panels. Needs matplotlib
(`requirements/bench.txt`).
"""

import argparse
import asyncio
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.stack import own_broker, own_stack
from sandbox.simulator import SimulatorConfig, serve
from tests.integration.prometheus import Prometheus, prometheus
from tests.integration.test_watch import PHASES, SETTINGS, concrete, in_health
from tools.monitoring.panels import BOARDS, Board, Panel

mpl.use("agg")
from matplotlib import pyplot as plt

COLUMNS = 4


async def play(bootstrap: str, folder: Path, out: Path) -> None:
    """Play all phases, and draw each dashboard."""
    async with (
        serve(SimulatorConfig(speed=10)) as sim,
        own_stack(bootstrap, sim, folder, transactions=False) as stack,
    ):
        scribes = [await stack.start(**SETTINGS) for _ in range(2)]
        since = time.time()
        async with prometheus(folder, [scribe.port for scribe in scribes]) as server:
            await in_health(stack, server, since)
            marks: dict[str, float] = {}
            for phase in PHASES:
                begin = time.time() - since
                marks[await phase(stack, server)] = begin
            for board in BOARDS:
                await draw(server, board, since, marks, out / f"{board.uid}.png")


async def draw(
    server: Prometheus, board: Board, since: float, marks: Mapping[str, float], path: Path
) -> None:
    """One picture of a dashboard; dotted lines stand where a phase began."""
    lines = [panel for panel in board.panels if panel.is_line]
    figure, axes = plt.subplots(
        math.ceil(len(lines) / COLUMNS), COLUMNS, figsize=(20, 3 * len(lines) / COLUMNS)
    )
    for panel, axis in zip(lines, axes.flat, strict=False):
        for begin in marks.values():
            axis.axvline(begin, color="grey", linestyle=":", linewidth=0.7)
        await draw_panel(server, panel, since, axis)
    figure.suptitle(board.title + "; phases: " + ", ".join(marks))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    plt.close(figure)


async def draw_panel(server: Prometheus, panel: Panel, since: float, axis: Any) -> None:
    """The lines of a panel, over the seconds since the beginning."""
    span = {"start": str(since), "end": str(time.time()), "step": "1"}
    for query in panel.queries:
        answer = await server.ask("query_range", query=concrete(query.expression), **span)
        for row in answer["result"][:8]:
            label = query.legend
            for name, value in row["metric"].items():
                label = label.replace(f"{{{{{name}}}}}", value)
            times = [float(at) - since for at, _ in row["values"]]
            axis.plot(times, [float(value) for _, value in row["values"]], label=label, linewidth=1)
    axis.set_title(f"{panel.title} ({panel.unit})", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.set_ylim(bottom=0)
    if axis.lines:
        axis.legend(fontsize=6, loc="upper left")


def main() -> None:
    """Play and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/operations"), help="folder of the pictures")
    options = parser.parse_args()
    with own_broker(is_real=False) as (bootstrap, folder):
        asyncio.run(play(bootstrap, folder, options.out))


if __name__ == "__main__":
    main()
