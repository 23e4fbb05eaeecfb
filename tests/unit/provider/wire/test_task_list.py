"""The wire shape of the account's list: what cannot be read of a page is counted."""

import json

import pytest

from service.core.provider.answers import ListedTask, ProviderError, TaskPage, TaskStatus, UnreadableRow
from service.provider.wire.answer_fields import HttpAnswer
from service.provider.wire.task_list import list_path, read_page

HOST = "dashscope-intl.aliyuncs.com"
CREATED_MS = 1_772_417_701_113
ROW: dict[str, object] = {"task_id": "t1", "status": "SUCCEEDED", "gmt_create": CREATED_MS}


def page(document: object, status: int = 200) -> TaskPage | ProviderError:
    return read_page(HttpAnswer(status, {}, json.dumps(document).encode()), HOST)


@pytest.mark.parametrize("key", ["data", "tasks"])
def test_a_page_is_read_by_either_of_its_names(key: str) -> None:
    read = page({"total": 7, "total_page": 1, "page_no": 1, key: [ROW]})
    assert read == TaskPage((ListedTask("t1", TaskStatus.SUCCEEDED, CREATED_MS),), 7)


@pytest.mark.parametrize("total", [None, "7", -1, True, 7.5])
def test_a_total_that_is_none_is_left_out(total: object) -> None:
    assert page({"total": total, "data": []}) == TaskPage((), None)


@pytest.mark.parametrize("status", ["SUSPENDED", "NEW", "", None, 3])
def test_a_task_of_an_unknown_status_may_still_end_in_any_way(status: object) -> None:
    read = page({"data": [{**ROW, "status": status}]})
    assert isinstance(read, TaskPage)
    assert read.tasks[0].status is TaskStatus.RUNNING


READ = ListedTask("t1", TaskStatus.SUCCEEDED, CREATED_MS)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (None, UnreadableRow(1)),
        ([], UnreadableRow(1)),
        ("t1", UnreadableRow(1)),
        ({**ROW, "task_id": ""}, UnreadableRow(1, None, CREATED_MS)),
        ({**ROW, "gmt_create": "2026-03-02"}, UnreadableRow(1, "t1")),
        ({**ROW, "gmt_create": None}, UnreadableRow(1, "t1")),
        ({**ROW, "gmt_create": -1}, UnreadableRow(1, "t1")),
        ({**ROW, "gmt_create": 1.5}, UnreadableRow(1, "t1")),
        ({**ROW, "gmt_create": 10**40}, UnreadableRow(1, "t1")),
    ],
)
def test_a_row_that_cannot_be_read_does_not_void_its_page_and_says_what_it_can(
    row: object, told: UnreadableRow
) -> None:
    assert page({"data": [ROW, row, ROW]}) == TaskPage((READ, READ), None, (told,))


def test_a_page_without_one_row_that_can_be_read_is_a_page() -> None:
    read = page({"data": [{"task_id": "t1"}, 7]})
    assert read == TaskPage((), None, (UnreadableRow(0, "t1"), UnreadableRow(0)))


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ({"code": "Throttling.RateQuota", "message": "slow"}, 429, "Throttling.RateQuota"),
        ({"code": "InternalError", "message": "oops"}, 200, "InternalError"),
        ({"output": {}}, 200, "unexpected_answer"),
        ([], 200, "not_json"),
    ],
)
def test_what_is_no_page_is_an_error(document: object, status: int, code: str) -> None:
    read = page(document, status)
    assert isinstance(read, ProviderError)
    assert read.code == code


def test_the_list_is_asked_for_by_page_and_status_alone() -> None:
    assert list_path(3) == "/tasks?page_no=3&page_size=100"
    assert list_path(3, TaskStatus.RUNNING, 10) == "/tasks?page_no=3&page_size=10&status=RUNNING"
