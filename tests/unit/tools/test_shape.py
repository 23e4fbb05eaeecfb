"""Each number of the checklist is broken by a tiny source and named; a good source breaks none."""

from collections.abc import Mapping

import pytest

from tools.shape import PACKAGES, Report, examine, percentile


def broken(sources: Mapping[str, str], package: str = "service") -> list[str]:
    report = Report()
    examine(package, PACKAGES[package], sources, report)
    return report.broken


def body(statement: str, times: int) -> str:
    return "".join(f"    {statement}\n" for _time in range(times))


def branches(count: int) -> str:
    return "".join(f"    if n == {number}:\n        n += 1\n" for number in range(count))


GOOD = '''
class Counter:
    """Counts."""

    def add(self, n: int) -> int:
        if n:
            for each in range(n):
                with open(str(each)) as file:
                    print(file)
        elif n is None:
            return 0
        return n
'''


def test_a_good_source_breaks_no_limit() -> None:
    assert broken({"service/a.py": GOOD}) == []


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("x = 1\n" * 401, "service/a.py:1 module lines 401, at most 400"),
        (f"def f():\n{body('x = 1', 50)}", "service/a.py:1 f: function lines 51, at most 50"),
        (f"def f(n):\n{branches(10)}", "service/a.py:1 f: complexity 11, at most 10"),
        (
            "def f(n):\n    for a in n:\n        while a:\n            with a:\n                if a:\n"
            "                    pass\n",
            "service/a.py:1 f: nesting 4, at most 3",
        ),
        ("def f(a, b, c, d, e, /, f, g, *h, **i): ...\n", "service/a.py:1 f: arguments 9, at most 8"),
    ],
    ids=["module", "function", "complexity", "nesting", "arguments"],
)
def test_one_place_over_a_limit_is_named(source: str, sentence: str) -> None:
    assert sentence in broken({"service/a.py": source})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (f"def f():\n{body('x = 1', 30)}", "service: function lines, p90 31, at most 30"),
        (f"def f(n):\n{branches(6)}", "service: complexity, p95 7, at most 6"),
        ("def f(a, b, c, d, e, f): ...\n", "service: arguments, p95 6, at most 5"),
        ("x = 1\n" * 151, "service: module lines, median 151, at most 150"),
    ],
    ids=["function", "complexity", "arguments", "module"],
)
def test_a_tail_over_its_limit_is_named(source: str, sentence: str) -> None:
    assert broken({"service/a.py": source}) == [sentence]


def test_the_sandbox_is_held_to_the_limits_of_a_place_and_not_to_those_of_a_tail() -> None:
    long = "x = 1\n" * 351
    tail = f"def f(a, b, c, d, e, g):\n{branches(7)}{body('x = 1', 20)}"
    assert broken({"sandbox/a.py": long + tail}, "sandbox") == []
    assert broken({"sandbox/a.py": "x = 1\n" * 401}, "sandbox") == [
        "sandbox/a.py:1 module lines 401, at most 400"
    ]
    assert "sandbox/a.py:1 f: arguments 9, at most 8" in broken(
        {"sandbox/a.py": "def f(a, b, c, d, e, f, g, h, i): ...\n"}, "sandbox"
    )


@pytest.mark.parametrize(
    "handler",
    [
        "try:\n    pass\nexcept:\n    pass\n",
        "try:\n    pass\nexcept Exception:\n    pass\n",
        "try:\n    pass\nexcept (OSError, BaseException):\n    pass\n",
        "import contextlib\nwith contextlib.suppress(Exception):\n    pass\n",
    ],
    ids=["bare", "Exception", "in a tuple", "suppress"],
)
def test_a_fifth_handler_of_any_exception_is_one_too_many(handler: str) -> None:
    narrow = "try:\n    pass\nexcept OSError:\n    pass\n"
    again = "try:\n    pass\nexcept BaseException:\n    raise\n"
    assert broken({"service/a.py": handler * 4 + narrow + again}) == []
    assert "service: handlers of any exception 5, at most 4" in broken({"service/a.py": handler * 5})


def padded(source: str, lines: int) -> dict[str, str]:
    """The source in a package of so many lines, in modules of a good size."""
    sources = {f"service/pad{number}.py": "x = 1\n" * 100 for number in range(lines // 100 - 1)}
    rest = 100 - len(source.splitlines())
    return {**sources, "service/a.py": source + "x = 1\n" * rest}


@pytest.mark.parametrize("use", ["x: Any = 1\n", "x: typing.Any = 1\n", "x: list[Any] = []\n"])
def test_more_than_two_any_in_a_thousand_lines_are_too_many(use: str) -> None:
    imports = "import typing\nfrom typing import Any\n"
    assert broken(padded(imports + use * 2, 1000)) == []
    assert "service: Any per 1,000 lines 3, at most 2" in broken(padded(imports + use * 3, 1000))


@pytest.mark.parametrize(
    "comment",
    ["# type: ignore[misc]", "# noqa: S101", "# ruff: noqa", "# mypy: ignore-errors", "# pragma: no cover"],
)
def test_more_than_one_silenced_check_in_a_thousand_lines_is_too_many(comment: str) -> None:
    line = f"x = 1  {comment}\n"
    assert broken(padded(line, 1000)) == []
    assert broken(padded(line * 2, 1000)) == [
        "service: silenced checks per 1,000 lines 2, at most 1",
        "service/a.py:1 silenced checks",
        "service/a.py:2 silenced checks",
    ]


@pytest.mark.parametrize("package", ["core", "pipeline"])
def test_no_check_is_silenced_where_it_is_decided_and_done(package: str) -> None:
    sources = {**padded("", 2000), f"service/{package}/a.py": "x = 1  # noqa: S101\n"}
    assert broken(sources) == [f"service/{package}/a.py:1 silenced checks 1, at most 0"]


def test_a_word_in_a_text_silences_nothing() -> None:
    assert broken({"service/a.py": 'x = "# noqa"\n'}) == []


def chained(folder: str, count: int) -> dict[str, str]:
    """Modules m0, m1, ... of which each imports the next."""
    package = folder.replace("/", ".")
    return {
        f"{folder}/m{number}.py": f"from {package} import m{number + 1}\n" if number + 1 < count else ""
        for number in range(count)
    }


def test_a_chain_of_eight_modules_in_a_folder_is_too_long() -> None:
    assert broken(chained("service/core/job", 7)) == []
    (sentence,) = broken(chained("service/core/job", 8))
    assert "service.core.job.m0 -> service.core.job.m1" in sentence
    assert sentence.endswith("modules 8, at most 7")


def test_a_chain_through_nine_packages_is_too_long() -> None:
    packages = ["a", "b", "a", "b", "a", "b", "a", "b", "a"]
    sources = {
        f"service/{package}/m{number}.py": f"import service.{packages[number + 1]}.m{number + 1}\n"
        if number + 1 < len(packages)
        else ""
        for number, package in enumerate(packages)
    }
    assert broken(sources) == ["service: packages in a chain, most 9, at most 8"]


def test_a_folder_that_uses_six_others_is_named() -> None:
    def sources(count: int) -> dict[str, str]:
        others = [f"service/p{number}/m.py" for number in range(count)]
        imports = "".join(f"import service.p{number}.m\n" for number in range(count))
        base = "import service.clock\nimport service.contract.m\n"
        return {
            **dict.fromkeys([*others, "service/clock.py", "service/contract/m.py"], ""),
            "service/a/m.py": base + imports,
        }

    assert broken(sources(5)) == []
    sentence, total = broken(sources(6))
    assert sentence.startswith("service: service.a uses service.p0, service.p1")
    assert total == "service: other folders that a folder uses, most 6, at most 5"


def test_a_cycle_is_named_also_where_one_import_is_inside_a_function() -> None:
    sources = {
        "service/a.py": "import service.b\n",
        "service/b.py": "def f():\n    from service.a import g\n    return g\n",
    }
    (sentence,) = broken(sources)
    assert sentence.startswith("service: import cycle service.")
    assert sentence.count("->") == 2


@pytest.mark.parametrize(("share", "expected"), [(0.9, 9), (0.95, 10), (1.0, 10), (0.05, 1)])
def test_a_percentile_is_the_least_number_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    assert percentile(range(1, 11), share) == expected


def test_the_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.95) == 0
