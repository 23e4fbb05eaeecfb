"""The provider's answers in the engine's words."""

from typing import cast

from pydantic import JsonValue

from service.core.provider.answers import (
    Accepted,
    Answered,
    Bill,
    FileView,
    ListedTask,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskPage,
    TaskStatus,
    TaskView,
)
from tests.unit.core.simulation import port


def error_of(error: port.Error) -> ProviderError:
    """Why there is no answer."""
    return ProviderError(error.code, error.message, error.http_status, error.retry_after_seconds)


def answer_of(posted: port.Posted) -> SubmitAnswer:
    """What came of a POST."""
    match posted:
        case port.Made(task_id):
            return Accepted(task_id)
        case port.Heard(document, seconds):
            return Answered(cast(JsonValue, document), Bill(seconds))
        case port.Refused(error):
            return Refused(error_of(error))
        case port.Lost(error):
            return Lost(error_of(error))
        case port.NotSent(error):
            return NotSent(error_of(error))


def view_of(view: port.View | port.Error) -> TaskView | ProviderError:
    """One look."""
    if isinstance(view, port.Error):
        return error_of(view)
    files = tuple(
        FileView(each.url, each.result_url, error_of(each.error) if each.error else None)
        for each in view.files
    )
    provider_error = error_of(view.error) if view.error else None
    status = TaskStatus(view.status)
    end_time = "then" if view.billed_seconds is not None and not view.error else None
    return TaskView(view.task_id, status, files, provider_error, view.billed_seconds, end_time=end_time)


def page_of(page: port.Page | port.Error) -> TaskPage | ProviderError:
    """A page of the list."""
    if isinstance(page, port.Error):
        return error_of(page)
    rows = (ListedTask(row.task_id, TaskStatus(row.status), row.created_ms) for row in page.rows)
    return TaskPage(tuple(rows), page.total)
