"""The ownership table of docs/architecture.md is complete: each class with changing state has a row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path("service")
PAGE = Path("docs/architecture.md").read_text("utf-8")
TABLE = PAGE.partition("**Who changes what.**")[2].partition("\n\n**")[0]
QUOTED = re.compile(r"`([^`]+)`")
ROWS = QUOTED.findall(TABLE)
NAMED = {name for quoted in ROWS for name in quoted.split(".")}
PLACES = {quoted for quoted in ROWS if quoted.endswith((".py", "/"))}
MUTATORS = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "move_to_end", "pop", "popitem",
    "popleft", "push", "remove", "setdefault", "update",
}  # fmt: skip
WITHIN = {"core", "contract"}
"""What these hold changes through its one holder, which has the row: a `Shard`, a `SlotShare`, a guard."""
OF_ONE_CALL = {"Departure", "Stream", "_Inflater", "_Once", "Progress", "_Seen"}
"""Made for one call to the provider, or for one command at a terminal, and never shared."""
UNCHANGED = {"InstrumentedHotwordLists"}
"""Calls a method `update` of another object."""


def is_of_self(node: ast.expr) -> bool:
    """Whether the expression is `self.x`, or something within it."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            return True
        node = node.value
    return False


def targets(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign():
            found = node.targets
        case ast.AugAssign() | ast.AnnAssign():
            found = [node.target]
        case ast.Delete():
            found = node.targets
        case ast.Call(func=ast.Attribute(attr=name, value=value)) if name in MUTATORS:
            found = [value]
        case _:
            found = []
    return [part for each in found for part in (each.elts if isinstance(each, ast.Tuple) else [each])]


def changing_classes(source: str) -> Iterator[str]:
    """Classes whose methods change the object after it was made."""
    for each in ast.walk(ast.parse(source)):
        if not isinstance(each, ast.ClassDef):
            continue
        methods = [
            part
            for part in each.body
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            and part.name not in ("__init__", "__post_init__")
        ]
        if any(is_of_self(target) for part in methods for node in ast.walk(part) for target in targets(node)):
            yield each.name


def classes(source: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)}


SOURCES = {path.relative_to(SERVICE): path.read_text("utf-8") for path in sorted(SERVICE.rglob("*.py"))}
CHANGING = [
    (path, name)
    for path, source in SOURCES.items()
    if path.parts[0] not in WITHIN
    for name in changing_classes(source)
]


def has_row(path: Path, name: str) -> bool:
    """Whether a row names the class, its module or its folder; a private class is part of its module's."""
    names = classes(SOURCES[path]) if name.startswith("_") else {name}
    is_placed = any(path.is_relative_to(place) for place in PLACES)
    return is_placed or not names.isdisjoint(NAMED)


@pytest.mark.parametrize(("path", "name"), CHANGING, ids=str)
def test_each_class_whose_state_changes_has_a_row(path: Path, name: str) -> None:
    assert name in OF_ONE_CALL | UNCHANGED or has_row(path, name)


def test_each_class_of_a_row_exists() -> None:
    known = {name for source in SOURCES.values() for name in classes(source)}
    assert {name for name in NAMED if name[:1].isupper()} - known == set()


def test_each_module_of_a_row_exists() -> None:
    assert [place for place in PLACES if "/" in place and not (SERVICE / place).exists()] == []


def test_no_two_rows_begin_alike() -> None:
    rows = [line.partition(" | ")[0] for line in TABLE.splitlines() if line.startswith("| ")]
    assert len(rows) == len(set(rows))


def test_only_classes_that_change_after_they_were_made_are_found() -> None:
    source = """
class Fixed:
    def __init__(self): self.a = []
    def read(self): return self.a[0]
class Assigned:
    def set(self, a): self.a, b = a, 1
class Filled:
    async def add(self, a): self.a.b[0].append(a)
class Emptied:
    def drop(self): del self.a[0]
class Counted:
    def count(self): self.a += 1
class Other:
    def change(self, other): other.a = 1
"""
    assert list(changing_classes(source)) == ["Assigned", "Filled", "Emptied", "Counted"]
