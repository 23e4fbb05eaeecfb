"""A run time is told by two times of the vendor's, or not at all."""

import pytest

from service.core.polling.run_times import run_ms
from service.core.provider.answers import TaskStatus, TaskView

BEGUN = "2026-03-02 10:15:01.113"


@pytest.mark.parametrize(
    ("submitted", "ended", "took_ms"),
    [
        (BEGUN, "2026-03-02 10:15:08.902", 7_789),
        (BEGUN, BEGUN, 0),
        (BEGUN, "2026-03-04 10:15:01.112", 172_799_999),
        (BEGUN, "2026-03-04 10:15:01.114", None),
        (BEGUN, "2026-03-02 10:15:01.112", None),
        (BEGUN, "2026-03-02T10:15:02Z", None),
        (BEGUN, "", None),
        (BEGUN, "soon", None),
        (BEGUN, None, None),
        (None, BEGUN, None),
        ("0001-01-01 00:00:00", "9999-12-31 23:59:59", None),
    ],
)
def test_a_run_time_is_told_or_is_unknown(
    submitted: str | None, ended: str | None, took_ms: int | None
) -> None:
    task = TaskView("t", TaskStatus.SUCCEEDED, submit_time=submitted, end_time=ended)
    assert run_ms(task) == took_ms
