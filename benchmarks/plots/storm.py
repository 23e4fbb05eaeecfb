"""Draws what the dashboards showed of a storm: `python -m tests.watch --out docs/operations`.

Grafana does not run here: each picture is drawn from the answers to the queries of a dashboard's panels.
Needs matplotlib (`requirements/bench.txt`).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from tests.integration.prometheus import Prometheus
from tests.watch.panels import concrete
from tests.watch.storm import Played
from tools.monitoring.panels import BOARDS, Board, Panel

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter

COLUMNS = 4
POINTS = 500
"""Of each line: what a picture of this size can show."""
LINES = 7
"""Of each panel: those with the highest values."""
SHADES = ("#f4f4f4", "#ffffff")


async def draw_all(server: Prometheus, played: Sequence[Played], out: Path) -> None:
    """A picture of each dashboard in a folder that exists."""
    for board in BOARDS:
        await _draw(server, board, played, out / f"{board.uid}.png")


async def _draw(server: Prometheus, board: Board, played: Sequence[Played], path: Path) -> None:
    """Phases are shaded in turn and numbered; their names stand below."""
    lines = [panel for panel in board.panels if panel.is_line]
    rows = math.ceil(len(lines) / COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(22, 3.1 * rows + 1))
    for panel, axis in zip(lines, axes.flat, strict=False):
        await _draw_panel(server, panel, played, axis)
    for axis in axes.flat[len(lines) :]:
        axis.set_visible(False)
    names = [f"{number} {each.name}" for number, each in enumerate(played, 1)]
    half = (len(names) + 1) // 2
    legend = "\n".join("   ".join(part) for part in (names[:half], names[half:]))
    figure.suptitle(f"{board.title}: minutes of the storm, drawn from the panels' queries (not by Grafana)")
    figure.text(0.5, 0.005, legend, ha="center", fontsize=10)
    figure.tight_layout(rect=(0, 0.5 / (3.1 * rows + 1), 1, 1))
    figure.savefig(path, dpi=62, pil_kwargs={"optimize": True})
    plt.close(figure)


async def _draw_panel(server: Prometheus, panel: Panel, played: Sequence[Played], axis: Any) -> None:
    since, until = played[0].begin, played[-1].end
    for number, phase in enumerate(played):
        begin, end = ((at - since) / 60 for at in (phase.begin, phase.end))
        axis.axvspan(begin, end, color=SHADES[number % 2], linewidth=0)
        axis.text(
            (begin + end) / 2,
            1.0,
            str(number + 1),
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=6,
            color="grey",
        )
    step = max(1.0, (until - since) / POINTS)
    span = {"start": str(since), "end": str(until), "step": str(step)}
    found: list[tuple[float, str, list[float], list[float]]] = []
    for query in panel.queries:
        for row in (await server.ask("query_range", query=concrete(query.expression), **span))["result"]:
            label = query.legend
            for name, value in row["metric"].items():
                label = label.replace(f"{{{{{name}}}}}", value)
            times, values = _with_gaps(row["values"], step)
            highest = max((value for value in values if not math.isnan(value)), default=0.0)
            found.append((highest, label, [(at - since) / 60 for at in times], values))
    for _, label, times, values in sorted(found, key=lambda line: -line[0])[:LINES]:
        axis.plot(times, values, label=label, linewidth=1)
    axis.set_title(f"{panel.title} ({panel.unit})", fontsize=10)
    axis.tick_params(labelsize=7)
    axis.yaxis.set_major_formatter(EngFormatter(sep=""))
    axis.set_xlim(0, (until - since) / 60)
    axis.set_ylim(bottom=0)
    if axis.lines:
        axis.legend(fontsize=6, loc="upper left", framealpha=0.6)


def _with_gaps(points: Sequence[Sequence[Any]], step: float) -> tuple[list[float], list[float]]:
    """Times and values, with a gap where the answer has one."""
    times: list[float] = []
    values: list[float] = []
    for at, text in points:
        if times and at - times[-1] > 1.5 * step:
            times.append(at)
            values.append(math.nan)
        times.append(float(at))
        values.append(float(text))
    return times, values
