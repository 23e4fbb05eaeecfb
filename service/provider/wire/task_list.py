"""The wire shape of the account's list of tasks (docs/provider.md, section 3.1), as pure functions.

No filter for times or models is sent: the times have no zone, and a model has both an alias and a dated name.
Without one, the vendor shows the last 24 hours.
"""

from pydantic import JsonValue

from service.contract import untrusted_json
from service.core.provider.answers import ListedTask, ProviderError, TaskPage, TaskStatus, UnreadableRow
from service.core.provider.own_codes import OwnCode
from service.provider.wire.answer_fields import (
    HttpAnswer,
    document_of,
    error_in,
    text,
)

PAGE_SIZES = (100, 10)
"""The maximum is not documented. A smaller page that the vendor chooses instead does no harm; if it refuses
the first size, the vendor's default is asked for."""
_STATUSES = {status.value: status for status in TaskStatus}
_UNREADABLE = ProviderError(OwnCode.UNEXPECTED_ANSWER, "the answer to the list is not a page of tasks")


def list_path(page_no: int, status: TaskStatus | None = None, page_size: int = PAGE_SIZES[0]) -> str:
    """The path and query of a page.

    The vendor's page ends the path in a slash; its clients send none.
    """
    path = f"/tasks?page_no={page_no}&page_size={page_size}"
    return path if status is None else f"{path}&status={status.value}"


def read_page(answer: HttpAnswer, host: str) -> TaskPage | ProviderError:
    """A page; an unreadable row is kept as such, since its task may be the one that is searched for."""
    document = document_of(answer, host)
    if isinstance(document, ProviderError):
        return document
    # The vendor's page says `data`, its SDK reads `tasks`.
    rows = document.get("data", document.get("tasks"))
    if not isinstance(rows, list):
        return error_in(document) or _UNREADABLE
    tasks: list[ListedTask] = []
    unreadable: list[UnreadableRow] = []
    for row in rows:
        task = _read_row(row, len(tasks))
        if isinstance(task, UnreadableRow):
            unreadable.append(task)
        else:
            tasks.append(task)
    return TaskPage(tuple(tasks), untrusted_json.row_count(document.get("total")), tuple(unreadable))


def _read_row(row: JsonValue, place: int) -> ListedTask | UnreadableRow:
    """A row as a task.

    An unknown status counts as RUNNING: the task may still end in any way.
    """
    if not isinstance(row, dict):
        return UnreadableRow(place)
    task_id, created_ms = text(row, "task_id"), untrusted_json.epoch_ms(row.get("gmt_create"))
    if task_id is None or created_ms is None:
        return UnreadableRow(place, task_id, created_ms)
    status = _STATUSES.get(text(row, "status") or "", TaskStatus.RUNNING)
    return ListedTask(task_id, status, created_ms)
