"""Our own error codes stand in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.provider.error_table import TABLE
from service.core.provider.own_codes import OWN_CODES


def codes_in(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that the node uses as a provider error's code."""
    match node:
        case ast.Call(func=ast.Name(id="ProviderError"), args=[code, *_]):
            yield code
        case ast.Compare(left=ast.Attribute(attr="code"), comparators=compared):
            yield from compared
        case ast.MatchValue(value=value):
            yield value


def literals_in(source: str) -> list[str]:
    used = (code for node in ast.walk(ast.parse(source)) for code in codes_in(node))
    constants = (each for code in used for each in ast.walk(code) if isinstance(each, ast.Constant))
    return [each.value for each in constants if each.value in OWN_CODES]


@pytest.mark.parametrize("path", sorted(Path("service").rglob("*.py")), ids=str)
def test_no_module_writes_one_of_our_codes_as_text(path: Path) -> None:
    assert literals_in(path.read_text()) == []


def test_a_code_written_as_text_is_found() -> None:
    source = """
match error.code:
    case "timeout" | "NotFound":
        ProviderError("no_slot", "")
error.code == "http_error" or error.code in ("not_json", "Other") or found(error) == "restored"
"""
    assert sorted(literals_in(source)) == ["http_error", "no_slot", "not_json", "timeout"]


def test_each_of_our_codes_has_a_policy() -> None:
    assert set(TABLE) >= OWN_CODES
