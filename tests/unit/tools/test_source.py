"""What is counted in a source: functions as ruff's C901 counts them, arguments without `self`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.source import Function, parse

DECISIONS = '''
async def f(a, b):
    """One of each, and what is none: and, or, a comprehension, a conditional expression."""
    if a and b or not a:
        pass
    elif b:
        pass
    else:
        pass
    for x in [y for y in a if y]:
        pass
    async for x in b:
        break
    else:
        pass
    while a:
        pass
    with a:
        pass
    try:
        pass
    except OSError:
        pass
    except ValueError:
        pass
    finally:
        pass
    match a:
        case 1:
            pass
        case 2 | 3:
            pass

    def inner():
        return 1 if a else 2

    return inner
'''


def functions(source: str) -> dict[str, Function]:
    return {function.name: function for function in parse("a.py", source).functions}


def complexity_by_ruff(source: str, folder: Path) -> dict[str, int]:
    path = folder / "a.py"
    path.write_text(source)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "C901"]
    command += ["--config", "lint.mccabe.max-complexity=0", "--output-format", "json", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    messages = [finding["message"] for finding in json.loads(shown.stdout)]
    return {text.split("`")[1]: int(text.split("(")[1].split(" ")[0]) for text in messages}


def test_complexity_is_that_of_ruff(tmp_path: Path) -> None:
    counted = {name: function.complexity for name, function in functions(DECISIONS).items()}
    assert counted == complexity_by_ruff(DECISIONS, tmp_path)


def test_a_length_holds_the_docstring_and_not_the_decorators() -> None:
    source = '@decorated\n@twice\ndef f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    assert functions(source)["f"].lines == 6


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): ...", 0),
        ("def f(a, /, b, *, c): ...", 3),
        ("def f(*a, **b): ...", 2),
        ("class A:\n    def f(self, a): ...", 1),
        ("class A:\n    @classmethod\n    def f(cls, a): ...", 1),
        ("class A:\n    @staticmethod\n    def f(a, b): ...", 2),
        ("class A:\n    def g(self):\n        def f(a): ...", 1),
    ],
)
def test_arguments_are_counted_without_self(source: str, expected: int) -> None:
    assert functions(source)["f"].arguments == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    return 1", 0),
        ("def f(a):\n    if a:\n        pass\n    elif a:\n        pass\n    elif a:\n        pass", 1),
        ("def f(a):\n    if a:\n        pass\n    else:\n        if a:\n            pass\n        a = 1", 2),
        ("def f(a):\n    try:\n        pass\n    except OSError:\n        if a:\n            pass", 2),
        ("def f(a):\n    if a:\n        def g():\n            if a:\n                pass", 1),
        ("def f(a):\n    match a:\n        case 1:\n            if a:\n                pass", 2),
    ],
)
def test_nesting_counts_blocks_and_not_elifs_or_inner_functions(source: str, expected: int) -> None:
    assert functions(source)["f"].nesting == expected
