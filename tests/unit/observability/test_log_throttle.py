"""What a library says over and over is written now and then, and the service's own lines always."""

import logging

import pytest

from service.observability import log_throttle as repeats
from service.observability.log_throttle import EVERY_SECONDS, LogThrottle


def a_line(
    seconds: float, *arguments: object, name: str = "aiokafka", msg: str = "node %s is away"
) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.ERROR, "conn.py", 1, msg, arguments, None)
    record.created = seconds
    return record


def passed(repeats: LogThrottle, *lines: logging.LogRecord) -> list[str]:
    return [line.getMessage() for line in lines if repeats.filter(line)]


def test_one_line_of_a_kind_passes_and_the_next_tells_how_many_did_not() -> None:
    lines = [a_line(second, second) for second in (0, 1, 2, EVERY_SECONDS, EVERY_SECONDS + 1)]
    assert passed(LogThrottle("service"), *lines) == [
        "node 0 is away",
        "node 10.0 is away (and 2 more like it)",
    ]


def test_lines_of_other_kinds_and_of_our_own_all_pass() -> None:
    lines = [
        a_line(0, 1),
        a_line(0, 1, name="aiokafka.conn"),
        a_line(0, 1, msg="node %s is back"),
        a_line(0, 1, name="service"),
        a_line(0, 1, name="service"),
    ]
    assert len(passed(LogThrottle("service"), *lines)) == 5


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    assert len(passed(LogThrottle("service"), a_line(1_000, 1), a_line(0, 1))) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_KINDS", 3)
    filtering = LogThrottle("service")
    for number in range(50):
        filtering.filter(a_line(0, msg=f"text made beforehand {number}"))
        assert len(filtering._last) <= 3
