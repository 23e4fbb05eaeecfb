"""The graph of a package's imports of itself, with its cycles and its longest chains; it imports nothing."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

Graph = Mapping[str, set[str]]
"""From a module's dotted name to those of the modules that it imports."""


def import_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Which modules each module imports, wherever in it; `sources` maps dotted names to their text.

    A package's name stands for its `__init__`: an import of a module in it is none of the package.
    """
    return {name: _imported(text, sources) - {name} for name, text in sources.items()}


def find_cycle(graph: Graph) -> list[str]:
    """One cycle as the modules in its order, the first again at the end; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle[::-1]
    return []


def longest_chain(graph: Graph) -> list[str]:
    """Modules of the longest chain, the importing one first. The graph must have no cycle."""
    chains: dict[str, list[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        chains[name] = [name, *max((chains[other] for other in graph[name]), key=len, default=[])]
    return max(chains.values(), key=len, default=[])


def longest_visit(graph: Graph) -> list[str]:
    """Packages that a chain passes through, of the chain that passes through most; no cycle allowed.

    One that it leaves and enters again counts again.
    """
    visits: dict[str, list[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        seen = (_entered(package_of(name), visits[other]) for other in graph[name])
        visits[name] = max(seen, key=len, default=[package_of(name)])
    return max(visits.values(), key=len, default=[])


def by_folder(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """Each folder with the part of the graph that lies in it alone."""
    for folder in sorted({folder_of(name) for name in graph}):
        members = {name for name in graph if folder_of(name) == folder}
        yield folder, {name: graph[name] & members for name in members}


def folders_used(graph: Graph) -> dict[str, set[str]]:
    """The folders that each folder uses, without those inside it.

    Of another folder at the top of the package everything counts as one.
    """
    used: dict[str, set[str]] = {folder_of(name): set() for name in graph}
    for name, imported in graph.items():
        folder = folder_of(name)
        others = {_seen_from(folder, other) for other in imported}
        used[folder] |= {other for other in others if not f"{other}.".startswith(f"{folder}.")}
    return used


def _seen_from(folder: str, module: str) -> str:
    """The folder of the module; that at the top of the package where it is another's."""
    top = ".".join(folder.split(".")[:2])
    is_near = f"{module}.".startswith(f"{top}.")
    return folder_of(module) if is_near else ".".join(module.split(".")[:2])


def folder_of(module: str) -> str:
    """The folder that a module lies in, or the first part of its name where it lies in none."""
    return module.rpartition(".")[0] or module


def package_of(module: str) -> str:
    """The first two parts of a module's name, or the first where it lies in no package of the first."""
    return ".".join(module.split(".")[:-1][:2]) or module


def _entered(package: str, visited: list[str]) -> list[str]:
    return visited if visited[0] == package else [package, *visited]


def _imported(text: str, known: Mapping[str, str]) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= members & known.keys() or {node.module}
    return names & known.keys()
