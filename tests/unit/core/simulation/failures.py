"""Whether a failure is true: each code is told by the plan or by the provider's ledger."""

from collections.abc import Callable

from tests.unit.core.simulation.journal import Delivery, check
from tests.unit.core.simulation.plan import Asked
from tests.unit.core.simulation.provider import DAY_MS, ProviderModel, Task

Holds = Callable[[Task, str, int], bool]


def judge_failure(asked: Asked, provider: ProviderModel, failure: Delivery) -> None:
    """Something that was asked for, or that a task of the file has met, is the reason."""
    code, key, at_ms = failure.kind, failure.id, failure.at_ms
    url = asked.urls[key]
    if code in OF_TASKS:
        tasks = provider.tasks_for(key, url) if code in OWN else provider.tasks_of(url)
        is_true = any(OF_TASKS[code](task, url, at_ms) for task in tasks)
    elif code == "deadline_exceeded":
        is_true = at_ms >= asked.deadline_ms
    elif code == "cancelled":
        is_true = asked.cancelled or any(task.cancelled for task in provider.tasks_of(url))
    elif code == "submit_rejected":
        is_true = key in provider.rejected
    elif code == "submit_uncertain":
        is_true = at_ms - asked.published_ms >= NEAR_DAY_MS
    else:
        is_true = False
    check(is_true, f"N1: {key} fails as {code}, which is not true")


NEAR_DAY_MS = DAY_MS - 60_000
OWN = ("provider_error", "task_lost")
"""Codes that only a task of the job itself, or of an equal POST, explains."""
OF_TASKS: dict[str, Holds] = {
    "audio_forbidden": lambda task, url, at_ms: "/forbidden/" in url,
    "audio_unreachable": lambda task, url, at_ms: "/flaky" in url,
    "result_unreadable": lambda task, url, at_ms: "/garbage/" in url,
    "result_expired": lambda task, url, at_ms: task.is_lost or task.is_expired(at_ms),
    "task_lost": lambda task, url, at_ms: task.is_lost or task.is_expired(at_ms),
    "provider_error": lambda task, url, at_ms: (
        task.is_over(at_ms) and (task.trouble is not None or "/missing/" in url)
    ),
}
