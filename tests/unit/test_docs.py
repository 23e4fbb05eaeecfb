"""The hand-written pages: what they point to exists, and every invariant names its proof."""

import logging
import re
from pathlib import Path

import pytest

from service.cli.exit_codes import ExitCode
from service.contract.options import NoticeCode
from service.observability import log

PAGES = sorted([Path("README.md"), Path("sandbox/README.md"), *Path("docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
HEADING_LINK = re.compile(r"\]\((?!https?:)([^)#]*)#([^)]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
OPERATIONS = Path("docs/operations.md")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
INVARIANT = re.compile(r"^\| (N\d+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for path, name in TEST.findall(page.read_text()):
        assert re.search(rf"def {name}\(", Path(path).read_text()), f"{path} has no {name}"


def test_every_invariant_names_a_proof_or_says_that_it_has_none() -> None:
    rows = dict(INVARIANT.findall(Path("docs/architecture.md").read_text()))
    assert list(rows) == sorted(rows, key=lambda name: int(name[1:]))
    assert {f"N{number}" for number in range(1, 11)} <= set(rows)
    assert all(TEST.search(proof) or "not built yet" in proof for proof in rows.values())


def test_the_contract_page_lists_every_warning() -> None:
    page = Path("docs/contract.md").read_text()
    assert [code.value for code in NoticeCode if f"`{code.value}`" not in page] == []


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = (title.lower().replace(" ", "-") for title in HEADING.findall(page.read_text()))
    return {re.sub(r"[^\w-]", "", title) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_to_a_heading_finds_it(page: Path) -> None:
    links = HEADING_LINK.findall(page.read_text())
    missing = [
        (path, anchor)
        for path, anchor in links
        if anchor not in anchors_of((page.parent / path) if path else page)
    ]
    assert missing == []


def test_the_operations_page_has_a_row_for_every_line_that_asks_for_something() -> None:
    rows = [line for line in OPERATIONS.read_text().splitlines() if line.startswith("| `")]
    events = [each for each in vars(log).values() if isinstance(each, log.Event)]
    asking = [(f"| `{each.name}`", "") for each in events if each.level >= logging.WARNING]
    asking += [(f"| `{each.name}`", f"`{change}`") for each in events for change in each.levels]
    assert len(asking) > 20
    assert [
        (name, change)
        for name, change in asking
        if not any(row.startswith(name) and change in row for row in rows)
    ] == []


def test_the_operations_page_names_only_metrics_and_settings_that_exist() -> None:
    page = OPERATIONS.read_text()
    metrics = set(re.findall(r"\bscribe_[a-z_]*[a-z]", page))
    assert metrics - set(re.findall(r"scribe_[a-z_]*[a-z]", Path("docs/metrics.md").read_text())) == set()
    settings = set(re.findall(r"SCRIBE_[A-Z_]*[A-Z]", page))
    known = set(re.findall(r"SCRIBE_[A-Z_]*[A-Z]", Path("docs/configuration.md").read_text()))
    assert settings - known == set()


def test_the_operations_page_lists_every_exit_code_of_the_commands() -> None:
    section = OPERATIONS.read_text().partition("### Exit codes of the commands")[2].partition("\n## ")[0]
    listed = [int(code) for code in re.findall(r"^\| ([0-9]+) \|", section, re.MULTILINE)]
    assert listed == sorted(code.value for code in ExitCode)


def test_the_operations_page_has_a_section_for_each_command_of_operators() -> None:
    assert [
        name
        for name in ("doctor", "status", "submit", "watch", "cancel", "jobs", "replay", "bundle")
        if f"### scribe {name}" not in OPERATIONS.read_text()
    ] == []
