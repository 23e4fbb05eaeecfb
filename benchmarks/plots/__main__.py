"""Draw the plots of docs/performance.md from the JSON that the benchmarks write.

    python -m benchmarks.poll --in-flight 10 100 1300 5000 10000 --json poll.json
    python -m benchmarks.inflight --jobs 0 3000 10000 30000 100000 --json inflight.json
    python -m benchmarks.plots --poll poll.json --inflight inflight.json

Needs matplotlib (`requirements/bench.txt`). It writes small SVGs without a date into docs/performance/: the
same figures make the same file.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

FOLDER = Path("docs/performance")
POLICIES = {
    "lro": ("Google's schedule", "tab:gray"),
    "sdk": ("the vendor's SDK", "tab:red"),
    "no list": ("Scribe without the list", "tab:orange"),
    "pages of 10": ("Scribe, pages of 10", "tab:cyan"),
    "scribe": ("Scribe", "tab:blue"),
    "oracle": ("oracle", "tab:green"),
}
SIZE_INCHES = (7.5, 4.2)
STYLE = {
    "svg.hashsalt": "scribe",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of the first table of a benchmark's JSON."""
    tables: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())["tables"]
    return next(iter(tables.values()))


def detection(path: Path) -> Figure:
    """Delay against tasks in flight, a colour for each policy: the median, and where 95 % have been seen."""
    rows, figure = rows_of(path), Figure(SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    for policy, (label, colour) in POLICIES.items():
        line = sorted(
            (row["in flight"], row["delay p50 s"], row["p95 s"]) for row in rows if row["policy"] == policy
        )
        sizes, medians, tails = zip(*line, strict=True)
        axes.plot(sizes, medians, color=colour, marker="o", markersize=3, label=label)
        axes.plot(sizes, tails, color=colour, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="tasks in flight",
        ylabel="seconds from the end of a task until it is seen",
        title="Detection delay at 20 queries a second (median; dotted: 95 %)",
    )
    axes.legend(loc="upper left", fontsize=8)
    return figure


def memory(path: Path) -> Figure:
    """The resident set against open jobs."""
    rows, figure = rows_of(path), Figure(SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    points = sorted((int(row["open jobs"]), float(row["resident_mib"])) for row in rows)
    (_, without), (jobs, most) = points[0], points[-1]
    slope = (most - without) / jobs
    axes.plot(*zip(*points, strict=True), color="tab:blue", marker="o", markersize=4, label="resident set")
    target = [without + 1.5 * number / 1024 for number, _ in points]
    axes.plot([number for number, _ in points], target, "k:", label="1.5 KiB a job")
    axes.set(
        xlabel="open jobs in one process",
        ylabel="MiB",
        ylim=(0, None),
        title=f"Memory: {slope * 2**20:,.0f} bytes an open job",
    )
    axes.legend(loc="upper left", fontsize=8)
    return figure


def main() -> None:
    """Draw what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--poll", type=Path, help="what `benchmarks.poll --json` wrote")
    parser.add_argument("--inflight", type=Path, help="what `benchmarks.inflight --json` wrote")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, path, draw in (
            ("detection", options.poll, detection),
            ("memory", options.inflight, memory),
        ):
            if path is not None:
                draw(path).savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
