"""Arguments that select records: by the id of their request, and by a time."""

import re
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from service.clock import SYSTEM_CLOCK

Ids = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="Only this request; may end in *. Repeatable.")
]


def is_named(request_id: str | None, ids: Sequence[str] | None) -> bool:
    """Whether one of the ids names the request; without any id each request is named."""
    return not ids or any(fnmatchcase(request_id or "", each) for each in ids)


def time_ms(text: str, option: str) -> int:
    """A time, or seconds before now, in milliseconds since the epoch."""
    if re.fullmatch("[0-9]{1,12}", text):
        return SYSTEM_CLOCK.wall_ms() - 1000 * int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        words = f"{text} is no time with a zone, such as 2026-03-02T10:15:00Z, nor seconds"
        raise typer.BadParameter(words, param_hint=option)
    return round(1000 * moment.timestamp())
