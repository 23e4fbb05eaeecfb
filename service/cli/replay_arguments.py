"""The arguments of `scribe replay`: which failures, and what becomes of them."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.cli.replay_plan import FailedFile, Rules
from service.cli.selection import Ids, is_named, time_ms
from service.contract.request import MAX_TTL_SECONDS
from service.errors import FailureCode
from service.frozen import dataclass

Codes = Annotated[
    list[str] | None,
    typer.Option("--code", metavar="CODE", help="These failures; if none, all retryable. Repeatable."),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME", help="Only this model. Repeatable.")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME|SECONDS", help="Only failures since this time, or so many seconds ago."),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME|SECONDS", help="Only failures until this time, or so many seconds ago."),
]
Edit = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--replace-url",
        metavar="PATTERN TEXT|@FILE",
        help="Replace a regular expression in each URL; a signature is best in a file: TEXT is in `ps`.",
    ),
]
MaxReplays = Annotated[
    int, typer.Option(min=1, metavar="NUMBER", help="Leave out what was replayed so often already.")
]
Ttl = Annotated[
    int | None,
    typer.Option("--ttl-seconds", min=1, max=MAX_TTL_SECONDS, metavar="SECONDS", help="Their deadline."),
]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which failures to consider."""

    ids: Sequence[str] = ()
    models: Sequence[str] = ()
    since_ms: float = 0.0
    until_ms: float = float("inf")

    def takes(self, failed: FailedFile) -> bool:
        """Whether the failure matches one of each kind that is given."""
        return (
            self.since_ms <= failed.time_ms <= self.until_ms
            and is_named(failed.request_id, self.ids)
            and (not self.models or failed.model in self.models)
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator asks for."""

    filter: Filter
    rules: Rules
    edits_urls: bool


def asked(
    code: Codes = None,
    ids: Ids = None,
    model: Models = None,
    since: Since = None,
    until: Until = None,
    replace_url: Edit = None,
    ttl_seconds: Ttl = None,
    max_replays: MaxReplays = 3,
) -> Asked:
    """The failures and the rules that the options name."""
    unknown = set(code or ()) - {each.value for each in FailureCode}
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}", param_hint="--code")
    first_ms = 0.0 if since is None else time_ms(since, "--since")
    last_ms = float("inf") if until is None else time_ms(until, "--until")
    wanted = Filter(tuple(ids or ()), tuple(model or ()), first_ms, last_ms)
    rules = Rules(frozenset(code or ()), max_replays, ttl_seconds, _edit(replace_url))
    return Asked(wanted, rules, replace_url is not None)


def _edit(replace_url: tuple[str, str] | None) -> Callable[[str], str]:
    if replace_url is None:
        return str
    pattern, text = replace_url
    try:
        compiled, replacement = re.compile(pattern), _replacement(text)
        compiled.sub(replacement, "")
    except (re.error, IndexError) as error:
        raise typer.BadParameter(f"no regular expression: {error}", param_hint="--replace-url") from None
    return lambda url: compiled.sub(replacement, url, count=1)


def _replacement(text: str) -> str:
    """The text, or what is in the file that it names."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"{text[1:]} cannot be read", param_hint="--replace-url") from None
