"""How long a finished task took at the provider, by the vendor's own times."""

from datetime import datetime

from service.core.provider.answers import TaskView

LONGEST_MS = 2 * 24 * 3_600_000
"""Longer than any task is kept: a longer time is an error of the answer."""


def run_ms(task: TaskView) -> int | None:
    """Milliseconds from the submit to the end, waiting included; None if the answer does not say.

    The vendor's times have no zone, and both are in the same one (provider API, query a task).
    """
    if task.submit_time is None or task.end_time is None:
        return None
    try:
        took = datetime.fromisoformat(task.end_time) - datetime.fromisoformat(task.submit_time)
    except (ValueError, TypeError):
        return None
    took_ms = round(1000 * took.total_seconds())
    return took_ms if 0 <= took_ms <= LONGEST_MS else None
