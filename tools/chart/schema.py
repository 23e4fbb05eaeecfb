"""The parts of helm/values.schema.json that come from the settings; the rest of that file is written by hand.

`settings` takes each setting by its variable's name, with its type, its choices and its bounds. Values of the
chart that stand for one setting take that setting's choices.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, JsonValue, TypeAdapter

from service.settings import Settings
from service.settings.environment import variable

SCHEMA = Path(__file__).resolve().parents[2] / "helm" / "values.schema.json"
Schema = dict[str, JsonValue]
LIKE: Mapping[str, tuple[str, str]] = {
    "leaveGroup": ("shutdown", "leave_group"),
    "kafka.sasl.mechanism": ("kafka", "sasl_mechanism"),
    "provider.region": ("provider", "region"),
}
"""Values of the chart that stand for a setting with choices."""
ALWAYS_SET = frozenset({"leaveGroup"})
"""Those that may not be empty; elsewhere empty means the setting's default."""
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "enum")
_COMMA_LIST: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_SCHEMA = TypeAdapter(dict[str, JsonValue])


def settings_schema() -> Schema:
    """The schema of the value `settings`: a map from each variable's name, and no other, to its value."""
    return {
        "type": "object",
        "description": "Settings by their names in docs/configuration.md.",
        "additionalProperties": False,
        "properties": {variable(group, name): form for group, name, form in _settings()},
    }


def whole(text: str) -> str:
    """The text of the schema's file, with the parts that come from the settings as they are now."""
    schema = _SCHEMA.validate_json(text)
    forms = {(group, name): form for group, name, form in _settings()}
    _put(schema, ("settings",), settings_schema())
    for place, setting in LIKE.items():
        form = forms[setting]
        choices = form["enum"]
        assert isinstance(choices, list)
        allowed = choices if place in ALWAYS_SET else ["", *choices]
        _put(schema, tuple(place.split(".")), {"enum": allowed, "description": form["description"]})
    return json.dumps(schema, indent=2) + "\n"


def _put(schema: Schema, place: tuple[str, ...], part: Schema) -> None:
    for name in place[:-1]:
        schema = _inner(_inner(schema, "properties"), name)
    _inner(schema, "properties")[place[-1]] = part


def _inner(schema: Schema, name: str) -> Schema:
    inner = schema[name]
    assert isinstance(inner, dict)
    return inner


def _settings() -> Iterator[tuple[str, str, Schema]]:
    for group, info in Settings.model_fields.items():
        fields = info.annotation
        assert isinstance(fields, type)
        assert issubclass(fields, BaseModel)
        for name, form in fields.model_json_schema()["properties"].items():
            yield group, name, {**_form(form), "description": form["description"]}


def _form(form: Schema) -> Schema:
    """The schema of a value in YAML: a list may be written as one text with commas, a map only so."""
    forms = form.get("anyOf", [form])
    assert isinstance(forms, list)
    (inner,) = (each for each in forms if isinstance(each, dict) and each.get("type") != "null")
    match inner.get("type"):
        case "array":
            return dict(_COMMA_LIST)
        case "object":
            return {"type": "string"}
        case kind:
            return {"type": kind, **{name: inner[name] for name in _BOUNDS if name in inner}}
