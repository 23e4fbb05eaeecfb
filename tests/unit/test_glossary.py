"""The glossary and the names in the code agree: its places exist, and its forbidden words name nothing."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

SERVICE = Path("service")
PAGE = Path("docs/glossary.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| word |", "| --- |"))
]
QUOTED = re.compile(r"`([^`]+)`")
WORD = re.compile("[A-Za-z]+")
TEST_NAME = re.compile(r"def (test_\w+)")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
FORBIDDEN = frozenset(word for row in ROWS for word in QUOTED.findall(row[3])) - {
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
NOT_IN_TEST_NAMES = frozenset({"anybodys", "heed", "mend", "nobodys", "scrub", "stranger", "telling", "told"})
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
def inflected(words: frozenset[str]) -> re.Pattern[str]:
    """The words in every form: `scrub` also as `scrubs`, `scrubbed`, `scrubber` and `scrubbing`."""
    forms = []
    for word in sorted(words):
        stem = re.sub(r"(?<=\w\w\w)(?:e|ed|ing|(?<!s)s)$", "", word)
        forms.append(rf"{word}|{stem}(?:{stem[-1]}?(?:e|es|ed|ers?|ings?)|s)?")
    return re.compile("|".join(forms))


@cache
def is_matched(word: str, forbidden: frozenset[str]) -> bool:
    return word not in ORDINARY_FORMS and inflected(forbidden).fullmatch(word) is not None


def matched(words: Iterable[str], forbidden: frozenset[str]) -> set[str]:
    return {word for word in words if is_matched(word, forbidden)}


def forbidden_in(name: str, forbidden: frozenset[str] = FORBIDDEN) -> set[str]:
    return matched({part.lower() for part in PART.findall(name)}, forbidden)


def forbidden_in_text(text: str) -> set[str]:
    text = QUOTED.sub("", text)
    return matched({word.lower() for word in WORD.findall(text)}, IN_SENTENCES) | set(A_LOOK.findall(text))


def docstrings_in(source: str) -> Iterator[str]:
    """The docstrings of modules, classes, functions, and those below constants and fields."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def holds(path: Path, forbidden: frozenset[str]) -> bool:
    """Whether one of the words is anywhere in the file: a search is far faster than to parse it."""
    text = path.read_text()
    return bool(matched({word.lower() for word in (*PART.findall(text), *WORD.findall(text))}, forbidden))


def found_by(search: Callable[[Path], object], paths: Iterable[Path]) -> dict[str, object]:
    """What was found in each file."""
    return {str(path): found for path in paths if (found := search(path))}


def faults_in(text: str) -> set[str]:
    return set(A_FAULT.findall(QUOTED.sub("", text)))


def test_a_word_of_the_glossary_is_where_it_says() -> None:
    places = {row[0]: QUOTED.findall(row[2]) for row in ROWS}
    assert all(places.values())
    assert [place for each in places.values() for place in each if not (SERVICE / place).is_file()] == []


def test_a_word_stands_in_the_glossary_once() -> None:
    words = [row[0] for row in ROWS]
    assert len(words) == len(set(words))


def test_no_name_holds_a_word_that_the_glossary_forbids() -> None:
    def search(path: Path) -> dict[str, set[str]]:
        forbidden = FORBIDDEN if path.is_relative_to(SERVICE) else FORBIDDEN - ORDINARY - A_DEVICE
        names = {*path.with_suffix("").parts}
        names |= set(names_in(path.read_text())) if holds(path, forbidden) else set()
        return {name: found for name in names if (found := forbidden_in(name, forbidden))}

    assert found_by(search, CODE) == {}


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


def test_no_docstring_holds_a_word_that_the_glossary_forbids() -> None:
    def search(path: Path) -> set[str]:
        forbidden = FORBIDDEN - ORDINARY - (set() if path.is_relative_to(SERVICE) else A_DEVICE)
        found = docstrings_in(path.read_text()) if holds(path, forbidden) else ()
        texts = (QUOTED.sub("", text) for text in found)
        return matched({word.lower() for text in texts for word in WORD.findall(text)}, forbidden)

    assert found_by(search, CODE) == {}


def test_no_test_is_named_by_a_word_that_has_to_be_read_twice() -> None:
    def search(path: Path) -> dict[str, set[str]]:
        names = set(TEST_NAME.findall(path.read_text()))
        return {name: found for name in names if (found := forbidden_in(name, NOT_IN_TEST_NAMES))}

    assert found_by(search, (path for path in CODE if path.is_relative_to("tests"))) == {}


def test_no_mutant_is_named_by_a_word_that_the_glossary_forbids() -> None:
    assert {name: found for name in MUTANTS if (found := forbidden_in_text(name) | faults_in(name))} == {}


def test_no_page_holds_a_word_that_the_glossary_forbids() -> None:
    assert found_by(lambda path: forbidden_in_text(path.read_text()), PAGES) == {}


def test_no_decision_names_a_fault_by_its_number() -> None:
    assert found_by(lambda path: faults_in(path.read_text()), Path("docs/decisions").glob("*.md")) == {}


def test_a_forbidden_word_is_found_in_a_sentence() -> None:
    text = "A survey near the edge (E5): the first look finds its twin, `brake` and smaller sentences."
    assert forbidden_in_text(text) == {"survey", "edge", "first look", "twin"}
    assert faults_in(text) == {"E5"}
