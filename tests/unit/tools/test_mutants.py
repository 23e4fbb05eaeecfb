"""The list of mutants: each still fits the code, and a stale one is told."""

import sys
from pathlib import Path

import pytest

from tools.mutants import LIST, Mutant, StaleMutantError, main, mutate, read


def test_each_mutant_fits_the_code_and_names_tests_that_exist() -> None:
    for mutant in read(LIST):
        source = Path(mutant.file).read_text()
        assert mutate(source, mutant) != source, mutant.name
        assert mutant.tests, mutant.name
        assert all(Path(test.partition("::")[0]).exists() for test in mutant.tests), mutant.name


def test_a_mutant_whose_lines_are_gone_is_reported() -> None:
    mutant = Mutant("gone", "x.py", "no such line", "", ("tests",))
    with pytest.raises(StaleMutantError, match="stand 0 times"):
        mutate("some code", mutant)


def test_a_filter_that_matches_no_mutant_is_reported_and_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a test to run, pytest would run all."""
    monkeypatch.setattr(sys, "argv", ["mutants", "no such name"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "no name in tests/mutants.toml holds 'no such name'" in capsys.readouterr().err
