"""The list of mutants: each still fits the code, and a stale one is told."""

from pathlib import Path

import pytest

from tools.mutants import LIST, Mutant, StaleMutantError, mutate, read

MUTANTS = read(LIST)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code_and_names_tests_that_exist(mutant: Mutant) -> None:
    source = Path(mutant.file).read_text()
    assert mutate(source, mutant) != source
    assert all(Path(test.partition("::")[0]).exists() for test in mutant.tests)
    assert mutant.tests


def test_a_mutant_whose_lines_are_gone_is_told() -> None:
    mutant = Mutant("gone", "x.py", "no such line", "", ("tests",))
    with pytest.raises(StaleMutantError, match="stand 0 times"):
        mutate("some code", mutant)
