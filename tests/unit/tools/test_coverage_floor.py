"""The floor is kept only by what was measured: a module that no test imported counts."""

import pytest

from tools.coverage_floor import Counts, below_floor, percent


def counts(lines: int, of: int, branches: int = 0, of_branches: int = 0) -> Counts:
    return {
        "covered_lines": lines,
        "num_statements": of,
        "covered_branches": branches,
        "num_branches": of_branches,
    }


def test_lines_and_branches_count_together() -> None:
    assert percent([counts(8, 10, 1, 5), counts(1, 5)]) == 50.0


def test_what_keeps_both_floors_says_nothing() -> None:
    files = {"service/core/job.py": counts(10, 10, 4, 4), "service/app.py": counts(8, 10)}
    assert below_floor(files, list(files)) == []


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"service/core/job.py": counts(100, 100, 99, 100)},
            "service/core/: 99.50 % covered, the floor is 100 %",
        ),
        (
            {"service/core/job.py": counts(10, 10), "service/app.py": counts(79, 90)},
            "service/: 89.00 % covered, the floor is 90 %",
        ),
    ],
    ids=["a branch of the core", "the rest"],
)
def test_coverage_below_a_floor_is_reported(files: dict[str, Counts], sentence: str) -> None:
    assert below_floor(files, list(files)) == [sentence]


def test_a_module_that_was_not_measured_is_reported() -> None:
    measured = {"service/app.py": counts(10, 10)}
    modules = ["service/app.py", "service/core/job.py"]
    (core, whole) = below_floor(measured, modules)
    assert core == "service/core/: not measured at all: service/core/job.py"
    assert whole == "service/: not measured at all: service/core/job.py"


def test_a_package_without_modules_keeps_its_floor() -> None:
    assert below_floor({}, []) == []
