"""Keeps a library that says the same thing over and over from filling the log.

While Kafka is away each of aiokafka's clients says so many times a second, and a process has dozens.
"""

import logging
from dataclasses import dataclass, field

EVERY_SECONDS = 10.0
MAX_KINDS = 200
"""Kinds of lines that are remembered; with more, all are begun anew."""
Kind = tuple[str, str]


@dataclass(slots=True)
class LogThrottle:
    """A filter for a handler: of lines made by one template of one library one passes every ten seconds.

    The one that passes says how many did not since the last.
    """

    own: str
    """The logger whose lines all pass."""
    _last: dict[Kind, tuple[float, int]] = field(default_factory=dict)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        if record.name == self.own:
            return True
        kind = (record.name, str(record.msg))
        passed_at, held_back = self._last.get(kind, (float("-inf"), 0))
        if 0 <= record.created - passed_at < EVERY_SECONDS:
            self._last[kind] = (passed_at, held_back + 1)
            return False
        if len(self._last) >= MAX_KINDS:
            self._last.clear()
        self._last[kind] = (record.created, 0)
        if held_back:
            record.msg = f"{record.msg} (and {held_back} more like it)"
        return True
