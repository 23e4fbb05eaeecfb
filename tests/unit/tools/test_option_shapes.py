"""The words for the JSON of options."""

from typing import Any

import pytest

from service.contract.family_options import OPTIONS
from tools.pages.option_shapes import objects, shape


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "boolean"}, "true or false"),
        ({"type": "integer"}, "integer"),
        ({"type": "integer", "minimum": 2, "maximum": 1000}, "2 to 1,000"),
        ({"type": "string"}, "text"),
        ({"type": "string", "pattern": "^(a|b)$"}, r"text like `^(a\|b)$`"),
        ({"type": "string", "pattern": r"\S", "maxLength": 200}, "text of 1 to 200 characters"),
        ({"enum": ["zh", "en"]}, "`zh`, `en`"),
        ({"type": "array", "items": {"$ref": "#/$defs/Hotword"}}, "list of [Hotword](#hotword)"),
        ({"anyOf": [{"$ref": "#/$defs/Filter"}, {"type": "string"}]}, "[Filter](#filter) or text"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None}, "true or false"),
        ({"type": "object", "additionalProperties": {"$ref": "#/$defs/JsonValue"}}, "object"),
        (
            {"type": "object", "additionalProperties": {"type": "boolean"}},
            "object whose values are true or false",
        ),
    ],
)
def test_a_schema_is_said_in_words(schema: dict[str, Any], words: str) -> None:
    assert shape(schema) == words


def test_every_option_has_words_and_every_object_that_they_name_is_explained() -> None:
    schemas = [options.model_json_schema() for options in OPTIONS.values()]
    explained = dict(objects(schemas))
    parts = [*schemas, *explained.values()]
    said = [shape(each) for part in parts for each in part["properties"].values()]
    assert all(said)
    named = {text.split("[")[1].split("]")[0] for text in said if "[" in text and "](#" in text}
    assert named == set(explained)
