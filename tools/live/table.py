"""The table of answers, as Markdown without anything that must not be shown."""

import re
from collections import Counter
from collections.abc import Sequence

from service.contract.redaction import redact
from tools.live.inquiries import Row
from tools.live.questions import ErrorPolicy

NOT_ASKED = (
    "Not answered by calls like these: what a 429 carries (none is provoked), how many tasks may run at once,"
    " how long hotword lists may be, what expires after a day and how, how silence comes back"
    " from a file task, uploads, events, other regions, and whether a dated model has a quota of its own."
)


def markdown(rows: Sequence[Row], host: str, day: str) -> str:
    """The whole page."""
    lines = [
        f"# What {host} answered on {day}",
        "",
        "| # | question | answer | Scribe takes for granted | |",
        "| --- | --- | --- | --- | --- |",
        *(_line(row) for row in rows),
        "",
        summary(rows),
        "",
        NOT_ASKED,
    ]
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[Row]) -> str:
    """How many rows came to what."""
    counted = Counter(row.policy for row in rows)
    told = ", ".join(f"{counted[policy]} {policy.value}" for policy in ErrorPolicy if counted[policy])
    return f"{len(rows)} questions: {told}."


def _line(row: Row) -> str:
    cells = (row.question.source, row.question.text, str(row.seen), row.question.assumed, row.policy.value)
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return re.sub(r"([|<>`\\])", r"\\\1", redact(text))
