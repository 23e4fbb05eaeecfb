"""Writes the contract's JSON Schemas: `python -m service.contract.schemas [--check] [FOLDER]`.

`schemas/v1/` is for users; this module never reads it to decide what is valid.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, JsonValue

from service.contract.family_options import OPTIONS
from service.contract.models import model_pattern
from service.contract.outcome import Failure, Result
from service.contract.request import Request

JsonObject = dict[str, JsonValue]

DEFAULT_FOLDER = Path("schemas/v1")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, JsonObject]:
    """The schema of each record by its name: request, result, failure.

    The request's schema is closed, since the service refuses unknown fields; those of outcomes are open,
    since consumers must ignore fields of later versions.
    """
    return {"request": _request(), "result": _outcome(Result), "failure": _outcome(Failure)}


def rendered(schema: JsonObject) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check name those that differ; returns the exit code."""
    folder = Path(next((argument for argument in arguments if not argument.startswith("-")), DEFAULT_FOLDER))
    files = {folder / f"{name}.json": rendered(schema) for name, schema in schemas().items()}
    if "--check" not in arguments:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path} is not what the models say: run python -m service.contract.schemas", file=sys.stderr)
    return 1 if stale else 0


def _request() -> JsonObject:
    schema = _titled(Request, Request.model_json_schema(), closed=True)
    definitions, rules = _object(schema, "$defs"), [_complete(), _one_deadline()]
    for family, options in OPTIONS.items():
        of_family = _cleaned(options.model_json_schema(ref_template="#/$defs/{model}"), closed=True)
        definitions.update(_object(of_family, "$defs"))
        del of_family["$defs"]
        definitions[options.__name__] = of_family
        rules.append(_options_of(model_pattern(family), options.__name__))
    properties = _object(schema, "properties")
    schema["properties"] = {name: _nullable(name, _object(properties, name)) for name in properties}
    schema["allOf"] = list(rules)
    return schema


def _outcome(model: type[BaseModel]) -> JsonObject:
    schema = _titled(model, model.model_json_schema(mode="serialization"), closed=False)
    for part in (schema, *_object(schema, "$defs").values()):
        if isinstance(part, dict) and "properties" in part:
            # Nulls are written too, so every field is present except the one that is left out if empty.
            part["required"] = [name for name in _object(part, "properties") if name != "provider_extra"]
    return schema


def _titled(model: type[BaseModel], schema: Mapping[str, JsonValue], closed: bool) -> JsonObject:
    name = str(model.model_config["title"])
    identity: JsonObject = {"$schema": _DIALECT, "$id": f"urn:{name.replace('.', ':')}", "title": name}
    return identity | _cleaned(schema, closed)


def _complete() -> JsonObject:
    cancel: JsonObject = {"properties": {"action": {"const": "cancel"}}, "required": ["action"]}
    whole: JsonObject = {"properties": {"file_indexes": {"type": "null"}}}
    given: JsonObject = {
        "file_urls": {"type": "array", "minItems": 1},
        "model": {"type": "string", "minLength": 1},
    }
    return {"if": cancel, "then": whole, "else": {"properties": given, "required": list(given)}}


def _one_deadline() -> JsonObject:
    both: JsonObject = {"deadline": {"type": "string"}, "ttl_seconds": {"type": "integer"}}
    return {"not": {"properties": both, "required": list(both)}}


def _options_of(pattern: str, name: str) -> JsonObject:
    transcribes: JsonObject = {
        "model": {"type": "string", "pattern": pattern},
        "action": {"not": {"const": "cancel"}},
    }
    options: JsonObject = {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}
    return {
        "if": {"properties": transcribes, "required": ["model"]},
        "then": {"properties": {"options": options}},
    }


def _nullable(name: str, schema: JsonObject) -> JsonObject:
    """Allow null, which counts as absent, for every field except `request_id`."""
    if name == "request_id" or "anyOf" in schema:
        return schema
    notes: JsonObject = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    if not notes.get("default"):
        notes.pop("default", None)
    return {"anyOf": [schema, {"type": "null"}], **notes}


def _cleaned(schema: Mapping[str, JsonValue], closed: bool) -> JsonObject:
    """The schema without pydantic's generated titles.

    An open one allows additions of later versions.
    """

    def cleaned(value: JsonValue, in_names: bool = False) -> JsonValue:
        if isinstance(value, list):
            return [cleaned(item) for item in value]
        if not isinstance(value, dict):
            return value
        if in_names:
            return {name: cleaned(item) for name, item in value.items()}
        kept = {key: item for key, item in value.items() if key != "title"}
        if not closed:
            kept = _opened(kept)
        return {key: cleaned(item, key in {"properties", "$defs"}) for key, item in kept.items()}

    result = cleaned(dict(schema))
    assert isinstance(result, dict)
    return result


def _opened(schema: JsonObject) -> JsonObject:
    schema.pop("default", None)
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
    if "enum" in schema:
        schema["examples"] = schema.pop("enum")
        schema["description"] = "Later versions may add values."
    return schema


def _object(schema: JsonObject, key: str) -> JsonObject:
    value = schema[key]
    assert isinstance(value, dict)
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
