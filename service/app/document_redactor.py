"""Makes text safe to hand to others, by the rules of the log and with all secrets of the settings.

It reads the environment and not the settings, so that it also works where these are refused.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from service.errors import ConfigError
from service.observability.log import Redactor, Secrets
from service.settings import Settings
from service.settings.environment import read_secret, variable
from service.settings.provider_groups import VENDOR_KEY

LOG_FIELDS = ("time", "level", "event")
"""Every line of our log has them."""


class DocumentRedactor:
    """Removes secrets, URL queries and control characters; knows every secret that the settings name."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._redactor = Redactor(Secrets(*_secrets(environ)))

    def document(self, document: object) -> object:
        """A JSON document, with each of its texts as one safe line."""
        return self._redactor.document(document)

    def lines(self, text: str) -> str:
        """A text, line by line."""
        return "".join(f"{self._redactor.text(line)}\n" for line in text.splitlines())

    def log_line(self, line: str) -> str | None:
        """A JSON line of our log; None for any other line, which may hold anything: a transcript, too."""
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in LOG_FIELDS):
            return None
        return json.dumps(self._redactor.line(fields), ensure_ascii=False)


def _secrets(environ: Mapping[str, str]) -> Iterator[SecretStr]:
    """The secrets in variables, and what is in each file that a variable names."""
    yield SecretStr(environ.get(VENDOR_KEY, ""))
    for name, field in _fields():
        value = environ.get(name, "")
        if SecretStr in (field.annotation, *get_args(field.annotation)):
            yield SecretStr(value)
        elif name.endswith("_FILE") and value:
            with suppress(ConfigError, ValueError):
                yield read_secret(Path(value), name) or SecretStr("")


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    """Each setting by its variable."""
    for group, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((variable(group, name), field) for name, field in kind.model_fields.items())
