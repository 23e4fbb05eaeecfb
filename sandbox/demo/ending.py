"""Turns Ctrl-C, SIGTERM and SIGHUP into one orderly end; a second one never cuts the cleaning short.

It imports next to nothing: a signal that comes before it is in charge ends the demo with a stack trace.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A person, or the machine, wants an end. Raised only where `check` is called."""


class Ending:
    """Inside the block signals are noted, the first one for good, and raise nothing.

    An exception out of nowhere could hit a callback of any library, and of Python itself, and be swallowed.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self._cancel: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants to outlive its terminal
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.exit_code:
            raise Interrupted

    @contextmanager
    def calling(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Inside this block a signal calls `cancel`; raises Interrupted if one has come before."""
        self._cancel = cancel
        try:
            self.check()
            yield
        finally:
            self._cancel = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # For good: even an interpreter that is ending must not be cut short. Another may come amid this.
        noted, self._before = self._before, {}
        for each in noted:
            signal.signal(each, signal.SIG_IGN)
        if self.exit_code:
            return
        self.exit_code = 128 + number
        if self._cancel is not None:
            self._cancel()
