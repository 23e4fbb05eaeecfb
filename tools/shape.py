"""Measures sizes, complexity, imports, broad handlers and types of the code; it knows no exemption.

`python -m tools.shape` prints a line for each limit that is broken, then the numbers, and exits 1 if any is.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tools.imports import by_folder, find_cycle, folders_used, import_graph, longest_chain, longest_visit
from tools.source import Module, parse


@dataclass(frozen=True)
class Limits:
    """What a package may have. `None` in place of a limit over all its places: none is set."""

    module_lines: int
    module_lines_median: int | None = None
    function_lines_p90: int | None = None
    complexity_p95: int | None = None
    arguments_p95: int | None = None
    broad_handlers: int | None = None
    anys_per_1000: float | None = None
    silenced_per_1000: float | None = None
    module_chain: int | None = None
    package_chain: int | None = None
    folders_used: int | None = None


FUNCTION_LINES, COMPLEXITY, NESTING, ARGUMENTS = 50, 10, 3, 8
PACKAGES = {
    "service": Limits(
        module_lines=400,  # split where the subject splits, never for a number
        module_lines_median=150,
        function_lines_p90=30,
        complexity_p95=6,
        arguments_p95=5,
        broad_handlers=4,  # three borders of calls, and what only watches
        anys_per_1000=2.0,
        silenced_per_1000=1.0,
        module_chain=7,
        package_chain=8,
        folders_used=5,
    ),
    "sandbox": Limits(module_lines=400),
}
BASE = frozenset({"service", "service.clock", "service.contract", "service.errors", "service.frozen"})
"""What every folder may use: the lowest layers."""
WIRING = "service.app"
"""It connects all parts, which is its only purpose."""
NEVER_SILENCED = ("service/core/", "service/pipeline/")


@dataclass
class Report:
    """Broken limits, each a line to print, and the rows (what, measured, limit) of the summary."""

    broken: list[str] = field(default_factory=list)
    rows: list[tuple[str, float, float | None]] = field(default_factory=list)

    def place(self, where: str, what: str, measured: float, limit: float) -> None:
        """Take one place's number."""
        if measured > limit:
            self.broken.append(f"{where} {what} {measured:g}, at most {limit:g}")

    def total(self, package: str, what: str, measured: float, limit: float | None) -> None:
        """Take a number of the whole package, and show it in the summary."""
        self.rows.append((f"{package}: {what}", measured, limit))
        if limit is not None:
            self.place(f"{package}:", what, measured, limit)


def percentile(numbers: Iterable[int], share: float) -> int:
    """The least number that at least `share` of them do not exceed; 0 for none."""
    ordered = sorted(numbers)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0


def examine(package: str, limits: Limits, sources: Mapping[str, str], report: Report) -> None:
    """Measure one package; `sources` maps the paths of its modules to their text."""
    modules = [parse(path, text) for path, text in sorted(sources.items())]
    _examine_sizes(package, limits, modules, report)
    _examine_functions(package, limits, modules, report)
    _examine_escapes(package, limits, modules, report)
    _examine_imports(package, limits, sources, report)


def _examine_sizes(package: str, limits: Limits, modules: Sequence[Module], report: Report) -> None:
    sizes = [module.lines for module in modules]
    for module in modules:
        report.place(f"{module.path}:1", "module lines", module.lines, limits.module_lines)
    report.total(package, "module lines, median", median(sizes or [0]), limits.module_lines_median)
    report.total(package, "module lines, most", max(sizes, default=0), None)


def _examine_functions(package: str, limits: Limits, modules: Sequence[Module], report: Report) -> None:
    functions = [function for module in modules for function in module.functions]
    for module in modules:
        for function in module.functions:
            where = f"{module.path}:{function.line} {function.name}:"
            report.place(where, "function lines", function.lines, FUNCTION_LINES)
            report.place(where, "complexity", function.complexity, COMPLEXITY)
            report.place(where, "nesting", function.nesting, NESTING)
            report.place(where, "arguments", function.arguments, ARGUMENTS)
    rows: list[tuple[str, list[int], float, int | None]] = [
        ("function lines, p90", [function.lines for function in functions], 0.9, limits.function_lines_p90),
        ("complexity, p95", [function.complexity for function in functions], 0.95, limits.complexity_p95),
        ("nesting, most", [function.nesting for function in functions], 1.0, None),
        ("arguments, p95", [function.arguments for function in functions], 0.95, limits.arguments_p95),
    ]
    for what, numbers, share, limit in rows:
        report.total(package, what, percentile(numbers, share), limit)
        if share < 1:
            report.total(package, f"{what.partition(',')[0]}, most", max(numbers, default=0), None)


def _examine_escapes(package: str, limits: Limits, modules: Sequence[Module], report: Report) -> None:
    """What lets errors or types through: broad handlers, `Any`, comments that silence a check."""
    thousands = sum(module.lines for module in modules) / 1000 or 1.0
    broad = [f"{module.path}:{line}" for module in modules for line in module.broad_handlers]
    anys = [f"{module.path}:{line}" for module in modules for line in module.anys]
    silenced = [f"{module.path}:{line}" for module in modules for line in module.silenced]
    escapes: list[tuple[str, list[str], float, float | None]] = [
        ("handlers of any exception", broad, 1.0, limits.broad_handlers),
        ("Any per 1,000 lines", anys, thousands, limits.anys_per_1000),
        ("silenced checks per 1,000 lines", silenced, thousands, limits.silenced_per_1000),
    ]
    for what, places, unit, limit in escapes:
        measured = round(len(places) / unit, 2)
        report.total(package, what, measured, limit)
        if limit is not None and measured > limit:
            report.broken += [f"{place} {what.partition(' per ')[0]}" for place in places]
    for place in silenced:
        report.place(place, "silenced checks", place.startswith(NEVER_SILENCED), 0)


def _examine_imports(package: str, limits: Limits, sources: Mapping[str, str], report: Report) -> None:
    """Chains within each folder and over packages, and what each folder uses (docs/decisions/0004)."""
    graph = import_graph({_dotted(path): text for path, text in sources.items()})
    cycle = find_cycle(graph)
    if cycle:
        report.broken.append(f"{package}: import cycle {' -> '.join(cycle)}, none is allowed")
        return
    chains = [longest_chain(part) for _name, part in by_folder(graph)]
    for chain in chains:
        where = f"{package}: the import chain {' -> '.join(chain)}:"
        report.place(where, "modules", len(chain), limits.module_chain or math.inf)
    fan_outs = {folder: used - BASE for folder, used in folders_used(graph).items() if folder != WIRING}
    for folder, used in fan_outs.items():
        where = f"{package}: {folder} uses {', '.join(sorted(used))}:"
        report.place(where, "other folders", len(used), limits.folders_used or math.inf)
    visited = longest_visit(graph)
    report.total(package, "modules in a chain within a folder, most", max(map(len, chains), default=0), None)
    most = max(map(len, fan_outs.values()), default=0)
    report.total(package, "other folders that a folder uses, most", most, limits.folders_used)
    report.total(package, "packages in a chain, most", len(visited), limits.package_chain)
    report.total(package, "modules in a chain over all, most", len(longest_chain(graph)), None)


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def main() -> int:
    report = Report()
    for package, limits in PACKAGES.items():
        sources = {path.as_posix(): path.read_text("utf-8") for path in Path(package).rglob("*.py")}
        examine(package, limits, sources, report)
    print(*report.broken, sep="\n", end="\n\n" if report.broken else "")
    for what, measured, limit in report.rows:
        print(f"{what:50}{measured:>8g}{'' if limit is None else f'   at most {limit:g}'}")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
