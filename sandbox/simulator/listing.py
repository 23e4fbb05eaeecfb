"""The list endpoint's filters and its flat page, with epoch milliseconds and `status`. It reads tasks
and changes nothing.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sandbox.simulator.clock import read_list_stamp, vendor_time
from sandbox.simulator.config import DAY_SECONDS, SimulatorConfig
from sandbox.simulator.faults import Fault
from sandbox.simulator.tasks import Task
from sandbox.simulator.wire import invalid

STATUSES = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED")


@dataclass(frozen=True)
class ListFilter:
    """What was asked for; times are epoch seconds of the tasks' creation, both ends included."""

    start: float
    end: float
    model: str | None
    status: str | None
    page_no: int
    page_size: int


@dataclass(frozen=True)
class RowView:
    """What the rows are shown by; `fault` says what they say that is not so."""

    config: SimulatorConfig
    status_of: Callable[[Task], str]
    now: float
    fault: Fault | None = None

    def shift(self, kind: str) -> float | None:
        """The seconds of a fault of this kind, None where there is none."""
        return (self.fault.seconds or 0.0) if self.fault is not None and self.fault.kind == kind else None


def read_filter(query: Mapping[str, str], now: float, config: SimulatorConfig) -> ListFilter:
    """Read the query parameters, the last 24 hours by default; ApiError when one makes no sense.

    A larger page than the limit is cut to it, or refused: the maximum and its answer are not documented.
    """
    end = _stamp(query, "end_time", now, config)
    start = _stamp(query, "start_time", end - DAY_SECONDS, config)
    if start > end or end - start > DAY_SECONDS:
        raise invalid("The time range must not exceed 24 hours.")
    status = query.get("status") or None
    if status is not None and status not in STATUSES:
        raise invalid("status is invalid")
    asked_size = _count(query, "page_size", 10)
    if config.refuses_large_pages and asked_size > config.list_page_limit:
        raise invalid("page_size is too large")
    page_size = min(asked_size, config.list_page_limit)
    return ListFilter(
        start, end, query.get("model_name") or None, status, _count(query, "page_no", 1), page_size
    )


def page(tasks: Sequence[Task], asked: ListFilter, view: RowView) -> dict[str, object]:
    """One page; past the last one it is empty."""
    found = [task for task in tasks if _fits(task, asked, view.status_of)]
    lag = view.shift("lag")
    if lag is not None:
        found = [task for task in found if task.submitted_at <= view.now - lag]
    if view.shift("shuffle") is not None:
        random.Random(asked.page_no).shuffle(found)
    begin = (asked.page_no - 1) * asked.page_size
    return {
        "total": len(found),
        "total_page": -(-len(found) // asked.page_size),
        "page_no": asked.page_no,
        "page_size": asked.page_size,
        view.config.list_key: [_row(task, view) for task in found[begin : begin + asked.page_size]],
    }


def _fits(task: Task, asked: ListFilter, status_of: Callable[[Task], str]) -> bool:
    # A stamp has whole seconds, so a task created within the last one belongs to it.
    if not asked.start <= task.submitted_at < asked.end + 1:
        return False
    if asked.model is not None and task.submission.model != asked.model:
        return False
    return asked.status is None or status_of(task) == asked.status


def _row(task: Task, view: RowView) -> dict[str, object]:
    config, status = view.config, view.status_of(task)
    parent = str(10**15 + 1 + config.accounts().index(task.account))
    model = task.submission.model
    row: dict[str, object] = {
        "task_id": task.task_id,
        "status": status,
        "model_name": model if view.shift("rename") is None else _other_name(model),
        "gmt_create": _millis(task.submitted_at + (view.shift("misdate") or 0.0)),
    }
    if task.scheduled_at is not None and status != "PENDING":
        row["start_time"] = _millis(task.scheduled_at)
    ended = task.cancelled_at if status == "CANCELED" else task.ended_at
    if ended is not None and status in ("SUCCEEDED", "FAILED", "CANCELED"):
        # Its newest client reads `tasks`, and this as text: it cannot read the page's milliseconds at all.
        as_text = config.list_key == "tasks"
        row["end_time"] = vendor_time(ended, config.zone_hours) if as_text else _millis(ended)
    return {
        **row,
        "request_id": task.request_id,
        "region": config.region,
        "api_key_id": task.api_key_id,
        "caller_parent_id": parent,
        "caller_uid": parent,
        "user_api_unique_key": f"apikey:v1:audio:asr:transcription:{task.submission.model}",
    }


def _other_name(model: str) -> str:
    """The alias of a snapshot, or the snapshot of an alias."""
    alias = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model)
    return alias if alias != model else f"{model}-2025-11-07"


def _millis(epoch_seconds: float) -> int:
    return round(epoch_seconds * 1000)


def _stamp(query: Mapping[str, str], name: str, default: float, config: SimulatorConfig) -> float:
    if not query.get(name):
        return default
    try:
        return read_list_stamp(query[name], config.zone_hours)
    except ValueError as error:
        raise invalid(f"{name} must be YYYYMMDDhhmmss") from error


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise invalid(f"{name} must be a positive integer")
    return int(text)
