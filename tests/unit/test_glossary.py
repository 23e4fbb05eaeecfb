"""The glossary and the names in the code agree: its places exist, and its forbidden words name nothing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path("service")
PAGE = Path("docs/glossary.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| word |", "| --- |"))
]
QUOTED = re.compile(r"`([^`]+)`")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
FORBIDDEN = {word for row in ROWS for word in QUOTED.findall(row[3])} - {
    "leave",
    "moment",
    "group.instance.id",
}
"""A member leaves its group, and a moment is a time: as such they are names."""


def names_in(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield from name.split(".")


def forbidden_in(name: str) -> set[str]:
    return {part.lower() for part in PART.findall(name)} & FORBIDDEN


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_word_of_the_glossary_is_where_it_says(row: list[str]) -> None:
    places = QUOTED.findall(row[2])
    assert places
    assert [place for place in places if not (SERVICE / place).is_file()] == []


def test_a_word_stands_in_the_glossary_once() -> None:
    words = [row[0] for row in ROWS]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("path", sorted(SERVICE.rglob("*.py")), ids=str)
def test_no_name_in_the_service_holds_a_word_that_the_glossary_forbids(path: Path) -> None:
    names = {*names_in(path.read_text()), *path.with_suffix("").parts}
    assert {name: forbidden_in(name) for name in names if forbidden_in(name)} == {}


def test_a_forbidden_word_is_found_in_every_kind_of_name() -> None:
    source = """
import a.gate as b
class TroubleKind:
    lane_of: int
    def brake(self, twin):
        self.verdict = old_gate
"""
    found = {word for name in names_in(source) for word in forbidden_in(name)}
    assert found == {"gate", "trouble", "lane", "brake", "twin", "verdict"}


def test_a_word_inside_another_is_not_found() -> None:
    assert [name for name in ("aggregate", "mother", "gateway", "plane") if forbidden_in(name)] == []
