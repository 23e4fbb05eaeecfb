"""The hand-written pages: what they point to exists, and every invariant names its proof."""

import re
from pathlib import Path

import pytest

from service.contract.options import NoticeCode

PAGES = sorted([Path("README.md"), *Path("docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
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
