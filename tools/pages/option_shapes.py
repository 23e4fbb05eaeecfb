"""The JSON shapes of options in words, from the JSON Schema of their models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]


def shape(schema: Schema) -> str:
    """What a value of this schema is, in a few words; an object with a name is linked."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        kinds = [shape({**rest, **each}) for each in schema["anyOf"] if each != {"type": "null"}]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in schema:
        return f"{schema['const']}"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    of_type = {"array": _list, "object": _object, "boolean": _boolean, "integer": _range}
    return of_type.get(schema.get("type", ""), _text)(schema)


def objects(schemas: Sequence[Schema]) -> Iterator[tuple[str, Schema]]:
    """The objects that options of these schemas consist of, each once, by name."""
    found: dict[str, Schema] = {}
    for schema in schemas:
        found |= {name: each for name, each in schema.get("$defs", {}).items() if "properties" in each}
    yield from sorted(found.items())


def _list(schema: Schema) -> str:
    return f"list of {shape(schema['items'])}"


def _boolean(_schema: Schema) -> str:
    return "true or false"


def _object(schema: Schema) -> str:
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and "$ref" not in values and values:
        return f"object whose values are {shape(values)}"
    return "object"


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    return "integer" if low is None else f"{low:,} to {high:,}"


def _text(schema: Schema) -> str:
    pattern, longest = schema.get("pattern"), schema.get("maxLength")
    if pattern and pattern != r"\S":
        escaped = pattern.replace("|", "\\|")
        return f"text like `{escaped}`"
    return f"text of 1 to {longest:,} characters" if longest else "text"
