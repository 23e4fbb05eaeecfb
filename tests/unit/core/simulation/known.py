"""What today's engine is known to do wrong, world by world: each is asserted as it is, none is passed over.

The rows are those of the list of known holes: E1, a job takes over the task of another submit of its request;
E5, an owner that was replaced sends an outcome of another kind; E9, one UNKNOWN ends a task.
"""

import json
import re
from pathlib import Path

ROWS = {
    "E1": r"N3: \S+ is submitted again, and one of .* may still succeed"
    r"|N1: \S+ fails as provider_error, which is not true",
    "E5": r"N1: \S+ ends in one way and for a stale owner in another: .*",
    "E9": r"N1: \S+ fails as (task_lost|result_expired), which is not true",
}
WORLDS = 500
"""Of the seeds below this all that goes wrong is in the table."""
KNOWN: dict[int, list[str]] = {
    int(seed): rules for seed, rules in json.loads((Path(__file__).parent / "known.json").read_text()).items()
}


def row_of(rule: str) -> str | None:
    """The known hole that a broken rule shows, if it is any."""
    return next((row for row, pattern in ROWS.items() if re.fullmatch(pattern, rule)), None)
