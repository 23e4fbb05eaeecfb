"""The text of docs/configuration.md, from the settings."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, JsonValue, SecretStr

from service.settings import Settings
from service.settings.environment import variable, variables
from service.settings.provider_groups import VENDOR_KEY

INTRODUCTION = f"""\
# Configuration

`python -m tools.generate_docs configuration` generates this page from `service/settings/`; a test compares
them.

Environment variables set everything, and each has a default. The service checks all of them at its start. If
one is wrong, the service names it and the reason in one line, and exits with code 78.

- A variable that is empty counts as not set.
- Separate the entries of a list by commas: `SCRIBE_FETCH__HOSTS=aliyuncs.com,example.org`.
- The service refuses to start if a variable begins with `SCRIBE_` and is not on this page: it may be a typing
  error. It ignores the variables that Kubernetes sets for a Service called `scribe` (`SCRIBE_SERVICE_HOST`,
  `SCRIBE_PORT=tcp://...`).
- Keep secrets in files: `{variable("provider", "api_key_file")}` and
  `{variable("kafka", "sasl_password_file")}`. A file and its variable exclude each other. `{VENDOR_KEY}`,
  which the vendor's own tools read, is used when neither of the key's two is set.
- There are {len(variables(Settings))} variables, and no others.

## Quick start

| variable | when |
| --- | --- |
"""

QUICK_START: Mapping[tuple[str, str], str] = {
    ("provider", "api_key_file"): "always, or one of the two other ways to give the key",
    ("provider", "base_url"): "the key belongs to another region than Singapore",
    ("kafka", "bootstrap_servers"): "always",
    ("kafka", "security_protocol"): "Kafka requires encryption or a login",
    ("kafka", "sasl_username"): "Kafka requires a login",
    ("kafka", "sasl_password_file"): "Kafka requires a login",
    ("kafka", "group_instance_id"): "the replicas have stable names, as in a StatefulSet",
    ("topics", "replication"): "the cluster has fewer than three brokers",
    ("topics", "partitions"): "before the first start: it bounds the number of replicas that work",
    ("quota", "part"): "others use the same account",
    ("requests", "allowed_hosts"): "anybody can publish requests",
    ("outcomes", "original_request"): "the audio URLs are signed and the failures topic is read by many",
}

HEAD = "| variable | default | allowed | what |\n| --- | --- | --- | --- |\n"


def configuration_page() -> str:
    """The whole page."""
    quick = "".join(f"| `{variable(*path)}` | {when} |\n" for path, when in QUICK_START.items())
    return INTRODUCTION + quick + "".join(f"\n{section}" for section in _sections())


def _sections() -> Iterator[str]:
    for name, info in Settings.model_fields.items():
        group = info.annotation
        assert isinstance(group, type)
        assert issubclass(group, BaseModel)
        rows = "\n".join(_rows(name, group))
        yield f"## {name}\n\n{group.__doc__}\n\n{HEAD}{rows}\n"


def _rows(group: str, fields: type[BaseModel]) -> Iterator[str]:
    schemas = fields.model_json_schema()["properties"]
    for name, info in fields.model_fields.items():
        cells = (
            f"`{variable(group, name)}`",
            _default(info.default),
            _allowed(schemas[name]),
            info.description,
        )
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _default(value: object) -> str:
    match value:
        case None | () | SecretStr():
            return "none"
        case dict():
            return "none"
        case bool():
            return f"`{value}`".lower()
        case tuple():
            return f"`{','.join(map(str, value))}`"
        case float():
            return f"`{value:g}`"
        case _:
            return f"`{value}`"


def _allowed(schema: Mapping[str, JsonValue]) -> str:
    forms = schema.get("anyOf", [schema])
    assert isinstance(forms, list)
    said = (_form(form) for form in forms if isinstance(form, dict) and form.get("type") != "null")
    return ", ".join(said)


def _form(form: Mapping[str, JsonValue]) -> str:
    choices = form.get("enum")
    if isinstance(choices, list):
        return ", ".join(f"`{choice}`" for choice in choices)
    match form.get("type"):
        case "integer" | "number":
            return _range(form)
        case "boolean":
            return "`true`, `false`"
        case "array":
            return "names with commas"
        case "object" if form.get("additionalProperties") == {"type": "string"}:
            return "`name=value`, with commas"
        case "object":
            return "`model=second` or `model=input/output token`, with commas"
        case _:
            return _text(form)


def _range(form: Mapping[str, JsonValue]) -> str:
    low = _number(form, ("minimum", ""), ("exclusiveMinimum", "over "))
    high = _number(form, ("maximum", ""), ("exclusiveMaximum", "below "))
    return f"{low} to {high}"


def _number(form: Mapping[str, JsonValue], *names: tuple[str, str]) -> str:
    for name, word in names:
        value = form.get(name)
        if isinstance(value, int | float):
            return f"{word}{value:,g}" if value < 1_000_000 else f"{word}{value:,.0f}"
    return "any"


def _text(form: Mapping[str, JsonValue]) -> str:
    match form.get("format"):
        case "password":
            return "a secret"
        case "path":
            return "a file"
        case _:
            return "letters, digits, `.`, `_`, `-`" if "pattern" in form else "text"
