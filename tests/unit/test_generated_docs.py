"""The pages of docs/ that are written from the code, and the command that writes them."""

from pathlib import Path

import pytest

from service.core.provider.error_table import TABLE
from service.core.provider.own_codes import OWN_CODES
from service.errors import FailureCode
from tools import generate_docs


@pytest.mark.parametrize("page", sorted(generate_docs.PAGES))
def test_a_page_says_what_the_code_says(page: str) -> None:
    assert generate_docs.stale_pages([page]) == [], f"run: python -m tools.generate_docs {page}"


def test_a_changed_page_is_found(tmp_path: Path) -> None:
    (tmp_path / "errors.md").write_text("something else")
    assert generate_docs.stale_pages(["errors"], tmp_path) == ["errors"]


def test_the_page_of_errors_names_every_code_of_ours_and_the_vendors() -> None:
    page = generate_docs.PAGES["errors"]()
    missing = [code for code in (*FailureCode, *TABLE) if code not in OWN_CODES and f"`{code}`" not in page]
    assert missing == []


def test_check_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_docs, "PAGES", {"page": lambda: "as it should be\n"})
    monkeypatch.setattr(generate_docs, "DOCS", tmp_path)
    monkeypatch.setattr(generate_docs, "stale_pages", lambda names: names)
    assert generate_docs.main(["--check"]) == 1
    assert "python -m tools.generate_docs page" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert generate_docs.main([]) == 0
    assert (tmp_path / "page.md").read_text() == "as it should be\n"


def test_a_page_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        generate_docs.main(["nonsense"])
    assert refused.value.code == 2
    assert "nonsense" in capsys.readouterr().err
