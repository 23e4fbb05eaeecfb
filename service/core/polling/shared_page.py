"""The record by which one replica tells the others what a page of the account's list showed.

Rules this module guarantees:

1. A record holds task ids, statuses and times; no URL, and nothing of the result.
2. A record that this version did not write, or whose fields are out of bounds, raises `ValueError`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.core.polling.page_turns import MAX_PAGES
from service.core.provider.answers import ListedTask, TaskPage, TaskStatus, UnreadableRow
from service.frozen import dataclass

FORMAT = 1
"""Pages of another format are skipped."""
MAX_ROWS = 1_000
"""Ten times what is asked for."""
MAX_RECORD_BYTES = 128 * 1024
"""A page of 1,000 tasks; what is larger is neither written nor read."""
LATEST_MS = 4_102_444_800_000
"""The year 2100."""

_Time = Annotated[int, Field(ge=0, le=LATEST_MS)]
_Row = tuple[Annotated[str, Field(min_length=1, max_length=128)], TaskStatus, _Time]


@dataclass(frozen=True, slots=True)
class SharedPage:
    """A page of the list, the status that was asked for, and when it was asked for and answered.

    Times are by the vendor's clock, whose error the sender knew to be at most `error_ms`. `size` is the
    number of rows of the sender's first page.
    """

    sender: str
    status: TaskStatus
    page_no: int
    size: int
    page: TaskPage
    asked_ms: int
    answered_ms: int
    error_ms: int


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    format: Literal[1]
    sender: Annotated[str, Field(min_length=1, max_length=64)]
    status: Literal[TaskStatus.RUNNING, TaskStatus.PENDING]
    page_no: Annotated[int, Field(ge=1, le=MAX_PAGES)]
    size: Annotated[int, Field(ge=0, le=MAX_ROWS)]
    total: Annotated[int, Field(ge=0, lt=2**31)]
    unreadable: Annotated[int, Field(ge=0, le=MAX_ROWS)] = 0
    asked_ms: _Time
    answered_ms: _Time
    error_ms: Annotated[int, Field(ge=0, le=2_000)]
    tasks: Annotated[tuple[_Row, ...], Field(max_length=MAX_ROWS)]


def encode_page(shared: SharedPage) -> bytes:
    """The record; raises `ValueError` for a page that is out of bounds, or states no total."""
    page = shared.page
    form = _Form.model_validate(
        {
            "format": FORMAT,
            "sender": shared.sender,
            "status": shared.status,
            "page_no": shared.page_no,
            "size": shared.size,
            "total": page.total,
            "unreadable": len(page.unreadable),
            "asked_ms": shared.asked_ms,
            "answered_ms": shared.answered_ms,
            "error_ms": shared.error_ms,
            "tasks": [(row.task_id, row.status, row.created_ms) for row in page.tasks],
        }
    )
    value = form.model_dump_json().encode()
    if len(value) > MAX_RECORD_BYTES:
        raise ValueError("the page is too large to be shared")
    return value


def decode_page(value: bytes | None) -> SharedPage:
    """The page of a record; raises `ValueError`."""
    if value is None or len(value) > MAX_RECORD_BYTES:
        raise ValueError("the record is empty or too large")
    form = _Form.model_validate_json(value, strict=True)
    if form.answered_ms < form.asked_ms:
        raise ValueError("the page was answered before it was asked for")
    tasks = tuple(ListedTask(*row) for row in form.tasks)
    page = TaskPage(tasks, form.total, (UnreadableRow(0),) * form.unreadable)
    return SharedPage(
        form.sender,
        form.status,
        form.page_no,
        form.size,
        page,
        form.asked_ms,
        form.answered_ms,
        form.error_ms,
    )
