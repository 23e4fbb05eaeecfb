"""A shared page is read back as it was written; anything else is refused, whatever bytes it is."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.polling.shared_page import (
    LATEST_MS,
    MAX_RECORD_BYTES,
    MAX_ROWS,
    SharedPage,
    decode_page,
    encode_page,
)
from service.core.provider.answers import ListedTask, TaskPage, TaskStatus, UnreadableRow

ROW = ListedTask("f86ec806-4d73-485f-a24f-7c01f9a1d2aa", TaskStatus.RUNNING, 1_760_000_000_000)
PAGE = SharedPage(
    "a", TaskStatus.RUNNING, 2, 100, TaskPage((ROW,), 101), 1_760_000_001_000, 1_760_000_001_050, 60
)
REFUSED = "_Form|too large|before it was asked"
times = st.integers(0, LATEST_MS)
errors_ms = st.integers(0, 2_000)
rows = st.builds(ListedTask, st.text("abc-0", min_size=1, max_size=40), st.sampled_from(TaskStatus), times)


@given(
    st.lists(rows, max_size=20), st.integers(0, 3), st.integers(0, 2**31 - 1), times, st.integers(0, 2_000)
)
def test_what_was_written_is_read(
    tasks: list[ListedTask], unreadable: int, total: int, asked_ms: int, error_ms: int
) -> None:
    page = TaskPage(tuple(tasks), total, (UnreadableRow(0),) * unreadable)
    shared = replace(PAGE, page=page, asked_ms=asked_ms, answered_ms=LATEST_MS, error_ms=error_ms)
    assert decode_page(encode_page(shared)) == shared


def test_it_holds_ids_statuses_and_times_alone() -> None:
    assert set(json.loads(encode_page(PAGE))) == {
        *("format", "sender", "status", "page_no", "size", "total", "unreadable"),
        *("asked_ms", "answered_ms", "error_ms", "tasks"),
    }


@pytest.mark.parametrize(
    "page",
    [
        TaskPage((ROW,), None),
        TaskPage((ROW,) * (MAX_ROWS + 1), 2_000),
        TaskPage((replace(ROW, task_id="x" * 129),), 1),
        TaskPage((replace(ROW, created_ms=-1),), 1),
        TaskPage((replace(ROW, task_id="x" * 128),) * MAX_ROWS, 1_000),
    ],
)
def test_a_page_out_of_bounds_is_not_written(page: TaskPage) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        encode_page(replace(PAGE, page=page))


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(encode_page(PAGE)), **fields}).encode()


HOSTILE = [
    None,
    b"",
    b"{}",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"format":1e999}',
    b"null",
    encode_page(PAGE)[:-1],
    encode_page(PAGE) + b" " * MAX_RECORD_BYTES,
    changed(format=2),
    changed(sender=""),
    changed(sender="x" * 65),
    changed(status="SUCCEEDED"),
    changed(status=None),
    changed(page_no=0),
    changed(page_no=20_001),
    changed(page_no=True),
    changed(page_no="1"),
    changed(size=1_001),
    changed(total=2**31),
    changed(total=None),
    changed(unreadable=10**9),
    changed(asked_ms=-1),
    changed(asked_ms=1.5),
    changed(answered_ms=10**18),
    changed(answered_ms=1),
    changed(error_ms=2_001),
    changed(tasks={}),
    changed(tasks=[["t", "RUNNING"]]),
    changed(tasks=[["t", "ASLEEP", 1]]),
    changed(tasks=[["", "RUNNING", 1]]),
    changed(tasks=[["t", "RUNNING", 10**30]]),
    changed(tasks=[["t", "RUNNING", 1]] * 1_001),
    changed(url="https://h.example/a.wav"),
]


@pytest.mark.parametrize("value", HOSTILE)
def test_what_this_version_did_not_write_is_refused(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        decode_page(value)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        decode_page(value)
