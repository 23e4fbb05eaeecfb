"""The glossary and the names in the code agree: its places exist, and its forbidden words name nothing."""

import ast
import re
import tomllib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import cache
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
WORD = re.compile("[A-Za-z]+")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
FORBIDDEN = {word for row in ROWS for word in QUOTED.findall(row[3])} - {
    "leave",
    "moment",
    "group.instance.id",
}
"""A member leaves its group, and a moment is a time: as such they are names."""

ORDINARY_FORMS = {"address", "addresses", "tell", "tells"}
"""Of a word that is forbidden in another form."""
ORDINARY = {"addressed", "fold", "observing", "outgoing", "smaller", "snapshot", "telling"}
"""Words with another meaning in a sentence."""
IN_SENTENCES = (FORBIDDEN - ORDINARY) | {"edge", "edges"}
A_LOOK = re.compile(r"\b(?:a|the|first|another|same) look\b|\blooks (?:at|with)\b", re.IGNORECASE)
A_FAULT = re.compile(r"\bE[0-9]\b")
"""The faults of the first engine had such names, which only docs/guarantees.md explains."""
A_DEVICE = {"gate"}
"""A gate of a fake holds a call until a test opens it."""
NOT_IN_TEST_NAMES = {"anybodys", "heed", "mend", "nobodys", "scrub", "stranger", "telling", "told"}
"""Words of the first tests that a reader had to read twice: say what is done, and to what."""
CODE = [
    path
    for root in ("service", "tests", "sandbox", "tools", "benchmarks")
    for path in Path(root).rglob("*.py")
]
PAGES = sorted({*Path().glob("*.md"), *Path("docs").rglob("*.md")} - {PAGE})
MUTANTS = [each["name"] for each in tomllib.loads(Path("tests/mutants.toml").read_text())["mutant"]]


def names_in(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield from name.split(".")


@cache
def inflected(word: str) -> re.Pattern[str]:
    """The word in every form: `scrub` also as `scrubs`, `scrubbed`, `scrubber` and `scrubbing`."""
    stem = re.sub(r"(?<=\w\w\w)(?:e|ed|ing|(?<!s)s)$", "", word)
    double = re.escape(stem[-1])
    return re.compile(rf"(?:{word}|{stem}(?:{double}?(?:e|es|ed|ers?|ings?)|s)?)")


def matched(words: AbstractSet[str], forbidden: AbstractSet[str]) -> set[str]:
    return {
        word for word in words if any(inflected(each).fullmatch(word) for each in forbidden)
    } - ORDINARY_FORMS


def forbidden_in(name: str, forbidden: AbstractSet[str] = FORBIDDEN) -> set[str]:
    return matched({part.lower() for part in PART.findall(name)}, forbidden)


def forbidden_in_text(text: str) -> set[str]:
    text = QUOTED.sub("", text)
    return matched({word.lower() for word in WORD.findall(text)}, IN_SENTENCES) | set(A_LOOK.findall(text))


def docstrings_in(source: str) -> Iterator[str]:
    """The docstrings of modules, classes, functions, and those below constants and fields."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def faults_in(text: str) -> set[str]:
    return set(A_FAULT.findall(QUOTED.sub("", text)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_word_of_the_glossary_is_where_it_says(row: list[str]) -> None:
    places = QUOTED.findall(row[2])
    assert places
    assert [place for place in places if not (SERVICE / place).is_file()] == []


def test_a_word_stands_in_the_glossary_once() -> None:
    words = [row[0] for row in ROWS]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("path", sorted(CODE), ids=str)
def test_no_name_holds_a_word_that_the_glossary_forbids(path: Path) -> None:
    names = {*names_in(path.read_text()), *path.with_suffix("").parts}
    forbidden = FORBIDDEN if path.is_relative_to(SERVICE) else FORBIDDEN - ORDINARY - A_DEVICE
    assert {name: found for name in names if (found := forbidden_in(name, forbidden))} == {}


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


def test_a_forbidden_word_is_found_in_every_form() -> None:
    names = (
        "scrubs",
        "scrubbed",
        "is_scrubbing",
        "Borrower",
        "twins",
        "gated",
        "tallies_surveyed",
        "verdicts",
    )
    assert [name for name in names if not forbidden_in(name)] == []


def test_a_word_inside_another_is_not_found() -> None:
    names = ("aggregate", "mother", "gateway", "plane", "address_of", "tells", "desktop")
    assert [name for name in names if forbidden_in(name)] == []


@pytest.mark.parametrize("path", sorted(CODE), ids=str)
def test_no_docstring_holds_a_word_that_the_glossary_forbids(path: Path) -> None:
    forbidden = FORBIDDEN - ORDINARY - (set() if path.is_relative_to(SERVICE) else A_DEVICE)
    words = {
        word.lower()
        for text in docstrings_in(path.read_text())
        for word in WORD.findall(QUOTED.sub("", text))
    }
    assert matched(words, forbidden) == set()


@pytest.mark.parametrize("path", [each for each in sorted(CODE) if each.is_relative_to("tests")], ids=str)
def test_no_test_is_named_by_a_word_that_has_to_be_read_twice(path: Path) -> None:
    names = {name for name in names_in(path.read_text()) if name.startswith("test_")}
    assert {name: found for name in names if (found := forbidden_in(name, NOT_IN_TEST_NAMES))} == {}


def test_no_mutant_is_named_by_a_word_that_the_glossary_forbids() -> None:
    assert {name: found for name in MUTANTS if (found := forbidden_in_text(name) | faults_in(name))} == {}


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_no_page_holds_a_word_that_the_glossary_forbids(path: Path) -> None:
    assert forbidden_in_text(path.read_text()) == set()


@pytest.mark.parametrize("path", sorted(Path("docs/decisions").glob("*.md")), ids=lambda path: path.stem)
def test_no_decision_names_a_fault_by_its_number(path: Path) -> None:
    assert faults_in(path.read_text()) == set()


def test_a_forbidden_word_is_found_in_a_sentence() -> None:
    text = "A survey near the edge (E5): the first look finds its twin, `brake` and smaller sentences."
    assert forbidden_in_text(text) == {"survey", "edge", "first look", "twin"}
    assert faults_in(text) == {"E5"}
