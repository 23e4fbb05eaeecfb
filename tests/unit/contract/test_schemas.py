"""The published schemas: in step with the models, additive, and agreeing with the reader on every example."""

import ast
import copy
import hashlib
import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from service.contract.outcome import Failure, Result
from service.contract.request_decoder import RequestLimits, read_request
from service.contract.schemas import main, rendered, schemas
from service.errors import InvalidRecord

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "schemas" / "v1"
BASELINE = ROOT / "tests" / "unit" / "baseline"
VALID = sorted((FOLDER / "valid").glob("*.json"))
INVALID = sorted((FOLDER / "invalid").glob("*.json"))
NAMES = ["request", "result", "failure"]

BEYOND_JSON_SCHEMA = {
    "invalid_request.metadata-over-8-kib",
    "invalid_request.file-index-out-of-range",
    "invalid_option.word-filter-not-json",
    "invalid_option.extra-parameter-with-an-own-option",
    "unknown_model.no-such-family",
    "unknown_model.impossible-date",
}
"""Invalid examples that a schema cannot refuse, or must not: later versions add model families."""


@cache
def validator(name: str) -> jsonschema.protocols.Validator:
    schema = schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


# In step


@pytest.mark.parametrize("name", NAMES)
def test_a_published_schema_is_what_the_models_say(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text("utf-8") == rendered(schemas()[name])


def test_the_command_writes_what_its_check_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--check"]) == 1
    assert "request.json is not what the models say" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "result.json").write_text("{}")
    assert main(["--check", str(tmp_path)]) == 1


def test_a_request_is_closed_and_outcomes_are_open() -> None:
    assert schemas()["request"]["additionalProperties"] is False
    outcomes = json.dumps([schemas()["result"], schemas()["failure"]])
    assert '"additionalProperties": false' not in outcomes
    assert '"enum"' not in outcomes


# Additive


def is_additive(old: Any, new: Any, *, is_input: bool = False) -> bool:
    """Whether whoever relies on the schema `old` can go on doing so with `new`.

    A consumer of outcomes relies on every field that was promised and its type; a producer of requests on
    everything that was accepted. New fields may come; a request may not need them.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_key_is_additive(key, old, new, is_input) for key in {*old, *new} - NOTES)
    return bool(old == new)


NOTES = {"description", "title", "default", "examples", "$comment"}


def _key_is_additive(key: str, old: dict[str, Any], new: dict[str, Any], is_input: bool) -> bool:
    if key in {"properties", "$defs"}:
        was, now = old.get(key, {}), new.get(key, {})
        return all(name in now and is_additive(was[name], now[name], is_input=is_input) for name in was)
    if key == "required":
        was, now = set(old.get(key, [])), set(new.get(key, []))
        return now <= was if is_input else was <= now
    if key == "enum" and is_input and key in old:
        return set(old[key]) <= set(new.get(key, old[key]))
    if key == "anyOf" and is_input and key in old and key in new:
        # In whatever order: what was accepted still is.
        return all(any(is_additive(a, b, is_input=True) for b in new[key]) for a in old[key])
    if key in {"anyOf", "allOf"} and key in old and key in new:
        # More alternatives accept more; the conditions of a further model family concern only its models.
        may_grow = is_input
        pairs = zip(old[key], new[key], strict=False)
        grown = len(new[key]) - len(old[key])
        return (grown == 0 or (may_grow and grown > 0)) and all(
            is_additive(a, b, is_input=is_input) for a, b in pairs
        )
    return key in old and key in new and is_additive(old[key], new[key], is_input=is_input)


def baseline(name: str) -> Any:
    """The schema that v1 is held to; `python -m service.contract.schemas tests/unit/baseline` resets it."""
    return json.loads((BASELINE / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_the_models_only_add_to_the_committed_baseline(name: str) -> None:
    assert is_additive(baseline(name), schemas()[name], is_input=name == "request")


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_goes_or_changes_its_type_is_noticed(name: str) -> None:
    schema: Any = schemas()[name]
    for field in schema["properties"]:
        gone, changed = copy.deepcopy(schema), copy.deepcopy(schema)
        del gone["properties"][field]
        changed["properties"][field] = {"type": "boolean", "const": True}
        assert not is_additive(baseline(name), gone, is_input=name == "request")
        assert not is_additive(baseline(name), changed, is_input=name == "request")


def test_the_baseline_is_not_reset_without_a_line_in_the_changelog() -> None:
    digest = hashlib.sha256(b"".join((BASELINE / f"{name}.json").read_bytes() for name in NAMES)).hexdigest()
    line = f"contract baseline {digest[:12]}"
    assert line in (ROOT / "CHANGELOG.md").read_text("utf-8"), f"say what changed, and name the {line}"


SMALL: dict[str, Any] = {
    "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/B"}},
    "required": ["a"],
    "$defs": {"B": {"enum": ["x"], "anyOf": [{"type": "string"}, {"type": "null"}]}},
}


Change = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "for_consumers", "for_producers"),
    [
        (lambda s, p, b: None, True, True),
        (lambda s, p, b: p.update(c={"type": "string"}), True, True),
        (lambda s, p, b: p["a"].update(description="new", default=3), True, True),
        (lambda s, p, b: s["$defs"].update(C={}), True, True),
        (lambda s, p, b: p.pop("a"), False, False),
        (lambda s, p, b: p.update(c=p.pop("a")), False, False),
        (lambda s, p, b: s["$defs"].clear(), False, False),
        (lambda s, p, b: s.pop("properties"), False, False),
        (lambda s, p, b: p["a"].update(type="number"), False, False),
        (lambda s, p, b: p["a"].update(maximum=3), False, False),
        (lambda s, p, b: p["a"].clear(), False, False),
        (lambda s, p, b: s["required"].append("b"), True, False),
        (lambda s, p, b: s["required"].clear(), False, True),
        (lambda s, p, b: s.pop("required"), False, True),
        (lambda s, p, b: b["enum"].append("y"), False, True),
        (lambda s, p, b: b["enum"].clear(), False, False),
        (lambda s, p, b: b["anyOf"].append({"type": "integer"}), False, True),
        (lambda s, p, b: b["anyOf"].pop(), False, False),
        (lambda s, p, b: b["anyOf"].reverse(), False, True),
        (lambda s, p, b: s.update(additionalProperties=False), False, False),
    ],
)
def test_a_change_is_additive_for_consumers_and_for_producers(
    change: Change, for_consumers: bool, for_producers: bool
) -> None:
    schema = copy.deepcopy(SMALL)
    change(schema, schema["properties"], schema["$defs"]["B"])
    assert is_additive(SMALL, schema) is for_consumers
    assert is_additive(SMALL, schema, is_input=True) is for_producers


# Examples


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_satisfies_schema_and_models(path: Path) -> None:
    name = path.stem.partition("-")[0]
    document = json.loads(path.read_bytes())
    validator(name).validate(document)
    if name == "request":
        read_request(path.read_bytes(), (), RequestLimits())
    else:
        models: dict[str, type[Result | Failure]] = {"result": Result, "failure": Failure}
        model = models[name]
        assert json.loads(model.model_validate_json(path.read_bytes()).to_bytes()) == document


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_is_refused_with_the_code_in_its_name(path: Path) -> None:
    with pytest.raises(InvalidRecord) as caught:
        read_request(path.read_bytes(), (), RequestLimits())
    assert caught.value.code == path.stem.partition(".")[0]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_is_refused_by_the_schema_where_a_schema_can_say_it(path: Path) -> None:
    is_valid = validator("request").is_valid(json.loads(path.read_bytes()))
    assert is_valid is (path.stem in BEYOND_JSON_SCHEMA)


def test_there_are_examples_of_every_record() -> None:
    assert {path.stem.partition("-")[0] for path in VALID} == set(NAMES)
    assert {path.stem.partition(".")[0] for path in INVALID} == {
        "invalid_request",
        "invalid_option",
        "unknown_model",
    }
    assert {path.stem for path in INVALID} >= BEYOND_JSON_SCHEMA


# The table of failure codes in docs/contract.md


def failure_codes() -> list[str]:
    """The rows of the table, from the strings under the members of FailureCode."""
    tree = ast.parse((ROOT / "service" / "errors.py").read_text("utf-8"))
    body = next(
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "FailureCode"
    )
    rows = []
    for member, note in pairwise(body):
        if isinstance(member, ast.Assign):
            assert isinstance(note, ast.Expr), f"{ast.unparse(member)} has no sentence under it"
            rows.append(f"| `{ast.literal_eval(member.value)}` | {ast.literal_eval(note.value)} |")
    return rows


def test_the_contract_page_lists_every_failure_code_with_its_sentence() -> None:
    page = (ROOT / "docs" / "contract.md").read_text("utf-8").splitlines()
    start = page.index("| code | what to do |") + 2
    assert page[start : start + len(failure_codes()) + 1] == [*failure_codes(), ""]
