"""The permissions that docs/security.md lists, for tests to grant: the page is the only list."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.secured import Grant

PAGE = Path(__file__).parents[1] / "docs/security.md"
ROW = re.compile(
    r"^\| (?P<when>\w+) \| `--operation (?P<operation>\w+) --(?P<resource>[\w-]+) (?P<name>[\w.-]+)"
    r"(?P<prefixed> --resource-pattern-type prefixed)?` \|",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Permission:
    """A row of the table: what is granted, and when it is needed."""

    when: str
    grant: Grant


def listed() -> list[Permission]:
    """The rows of the page, in their order."""
    return [
        Permission(
            row["when"], Grant(row["operation"], row["resource"], row["name"], row["prefixed"] is not None)
        )
        for row in ROW.finditer(PAGE.read_text())
    ]


def needed(when: set[str], topics: Mapping[str, str]) -> list[Grant]:
    """What is needed in these cases, for topics (and a group) of other names."""
    prefix = topics["requests"].rpartition(".")[0]
    return [_renamed(row.grant, prefix, topics["requests"]) for row in listed() if row.when in when]


def _renamed(grant: Grant, prefix: str, group: str) -> Grant:
    name = group if grant.resource == "group" else grant.name.replace("transcription", prefix, 1)
    return Grant(grant.operation, grant.resource, name, grant.is_prefix)
