"""The graph knows every way to import a module of the package, and nothing outside it."""

import pytest

from tools.imports import find_cycle, folder_of, folders_used, import_graph, longest_chain, package_of


@pytest.mark.parametrize(
    "statement",
    [
        "import p.b",
        "import os, p.b as b",
        "from p import b",
        "from p.b import name",
        "def f():\n    from p import b",
        "if TYPE_CHECKING:\n    import p.b",
    ],
)
def test_an_import_is_seen_wherever_and_however_it_is_written(statement: str) -> None:
    assert import_graph({"p": "", "p.a": statement, "p.b": ""})["p.a"] == {"p.b"}


def test_what_is_not_of_the_package_is_no_part_of_the_graph() -> None:
    assert import_graph({"p.a": "import os\nfrom json import loads\nfrom q import p\n"}) == {"p.a": set()}


def test_a_name_of_the_package_itself_is_an_import_of_the_package() -> None:
    assert import_graph({"p": "version = 1", "p.a": "from p import version"})["p.a"] == {"p"}


def test_no_cycle_is_found_where_there_is_none() -> None:
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_longest_chain_wins_over_the_shortest_way() -> None:
    assert longest_chain({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("service", "service"),
        ("service.app", "service"),
        ("service.core.job", "service.core"),
        ("sandbox.demo.deep.run", "sandbox.demo"),
    ],
)
def test_a_module_is_of_its_package(module: str, package: str) -> None:
    assert package_of(module) == package


def test_a_folder_uses_others_near_it_and_others_at_the_top() -> None:
    graph: dict[str, set[str]] = {
        "p.a.x.m": {"p.a.x.n", "p.a.y.m", "p.a.root", "p.b.x.m", "p.b.y.m", "p.clock"},
        "p.a.x.n": set(),
        "p.a.y.m": set(),
        "p.a.root": {"p.a.x.n", "p.b.x.m"},
        "p.b.x.m": set(),
        "p.b.y.m": {"p.b.x.m"},
        "p.clock": set(),
    }
    used = folders_used(graph)
    assert used["p.a.x"] == {"p.a", "p.a.y", "p.b", "p.clock"}
    assert used["p.a"] == {"p.b"}
    assert used["p.b.y"] == {"p.b.x"}


def test_a_module_lies_in_its_folder() -> None:
    assert folder_of("service.core.job.events") == "service.core.job"
    assert folder_of("service") == "service"
