"""What a library says over and over is written now and then, and the service's own lines always."""

import logging
from dataclasses import dataclass

import pytest

from service.clock import SystemClock
from service.observability import log_throttle as module
from service.observability.log_throttle import EVERY_SECONDS, LogThrottle


@dataclass
class HandClock(SystemClock):
    seconds: float = 0.0

    def boot_seconds(self) -> float:
        return self.seconds


def a_line(argument: object, *, name: str = "aiokafka", msg: str = "node %s is away") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "conn.py", 1, msg, (argument,), None)


def passed(throttle: LogThrottle, *lines: logging.LogRecord) -> list[str]:
    return [line.getMessage() for line in lines if throttle.filter(line)]


def test_one_line_of_a_kind_passes_and_the_next_tells_how_many_did_not() -> None:
    clock = HandClock()
    throttle, written = LogThrottle("service", clock), []
    for clock.seconds in (0, 1, 2, EVERY_SECONDS, EVERY_SECONDS + 1):
        written += passed(throttle, a_line(clock.seconds))
    assert written == ["node 0 is away", "node 10.0 is away (and 2 more like it)"]


def test_lines_of_other_kinds_and_of_our_own_all_pass() -> None:
    lines = [
        a_line(1),
        a_line(1, name="aiokafka.conn"),
        a_line(1, msg="node %s is back"),
        a_line(1, name="service"),
        a_line(1, name="service"),
    ]
    assert len(passed(LogThrottle("service", HandClock()), *lines)) == 5


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KINDS", 3)
    filtering = LogThrottle("service", HandClock())
    for number in range(50):
        filtering.filter(a_line(1, msg=f"%s made beforehand {number}"))
        assert len(filtering._last) <= 3
