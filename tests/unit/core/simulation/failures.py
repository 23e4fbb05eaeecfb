"""Whether a failure is true: each code is told by the plan or by the provider's ledger."""

from collections.abc import Callable

from tests.unit.core.simulation.files import nature_of
from tests.unit.core.simulation.ledger import DAY_MS, MOST_CALLS, Ledger, Task
from tests.unit.core.simulation.plan import Asked
from tests.unit.core.simulation.port import Delivery, check

Holds = Callable[[Task, str, int], bool]


def judge_failure(asked: Asked, ledger: Ledger, intents: int, failure: Delivery) -> None:
    """Something that was asked for, or that a task of the file has met, is the reason.

    `intents` is how often the job was about to be submitted: each may have been a call.
    """
    name = asked.name(failure.id)
    if ledger.is_call(asked.model) and failure.code in ("submit_uncertain", "result_expired"):
        is_true = intents >= MOST_CALLS
    else:
        is_true = _is_true(asked, ledger, failure, name)
    check(is_true, f"N1: {name} fails as {failure.kind}, which is not true")


def _is_true(asked: Asked, ledger: Ledger, failure: Delivery, name: str) -> bool:
    code, at_ms = failure.kind, failure.at_ms
    url = asked.urls[failure.id]
    tasks = ledger.tasks_for(name, url) if code in OWN else ledger.by_url.get(url, [])
    if code in OF_TASKS and any(OF_TASKS[code](task, url, at_ms) for task in tasks):
        return True
    match code:
        case "deadline_exceeded":
            return at_ms >= asked.ends_ms
        case "cancelled":
            # Its own task is not cancelled for others that share it.
            return bool(asked.cancels) or any(task.cancelled and name not in task.files for task in tasks)
        case "submit_rejected":
            return name in ledger.rejected
        case "submit_uncertain":
            return at_ms - asked.record.at_ms >= NEAR_DAY_MS
        case "vocabulary_quota":
            return "full" in asked.words
        case "vocabulary_unusable":
            return "never" in asked.words
    return False


NEAR_DAY_MS = DAY_MS - 60_000
OWN = ("provider_error", "task_lost")
"""Codes that only a task of the job itself, or of an equal POST, explains."""
OF_TASKS: dict[str, Holds] = {
    "audio_forbidden": lambda task, url, at_ms: nature_of(url) == "forbidden",
    "audio_unreachable": lambda task, url, at_ms: nature_of(url).startswith("flaky"),
    "result_unreadable": lambda task, url, at_ms: nature_of(url) == "garbage",
    "result_expired": lambda task, url, at_ms: task.is_lost or task.is_expired(at_ms),
    "task_lost": lambda task, url, at_ms: task.is_lost or task.is_expired(at_ms),
    "provider_error": lambda task, url, at_ms: (
        task.is_over(at_ms) and (task.provider_error is not None or nature_of(url) == "missing")
    ),
}
