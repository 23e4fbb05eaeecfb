"""Keeps the repeated lines of a library from filling the log.

While Kafka is unreachable each of aiokafka's clients logs that many times a second; a process has dozens.
"""

import logging
from dataclasses import dataclass, field

from service.clock import Clock

EVERY_SECONDS = 10.0
"""Often enough to see that it goes on."""
MAX_KINDS = 200
"""Kinds of lines that are remembered; above it, all are forgotten."""
Kind = tuple[str, str]


@dataclass(slots=True)
class LogThrottle:
    """A filter for a handler: passes one line per template of a library every ten seconds.

    A line that passes shows how many were suppressed since the last one.
    """

    own: str
    """The logger whose lines always pass."""
    clock: Clock
    _last: dict[Kind, tuple[float, int]] = field(default_factory=dict)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        if record.name == self.own:
            return True
        kind = (record.name, str(record.msg))
        passed_at, held_back = self._last.get(kind, (float("-inf"), 0))
        now = self.clock.boot_seconds()
        if now - passed_at < EVERY_SECONDS:
            self._last[kind] = (passed_at, held_back + 1)
            return False
        if len(self._last) >= MAX_KINDS:
            self._last.clear()
        self._last[kind] = (now, 0)
        if held_back:
            record.msg = f"{record.msg} (and {held_back} more like it)"
        return True
