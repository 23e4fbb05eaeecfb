"""Turns Ctrl-C, SIGTERM and SIGHUP into one orderly end; a second one never cuts the cleaning short.

It imports next to nothing: a signal that comes before it is in charge ends the demo with a stack trace.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Inside the block, the first signal raises KeyboardInterrupt, and later ones do nothing."""

    def __init__(self) -> None:
        self.exit_code = 128 + signal.SIGINT
        self._cancel: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants to outlive its terminal
                self._before[number] = signal.signal(number, self._end)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextmanager
    def calling(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Inside this block the signal calls `cancel` instead of raising.

        For event loops: an exception out of nowhere could hit any library's callback, and be swallowed.
        """
        self._cancel = cancel
        try:
            yield
        finally:
            self._cancel = None

    def _end(self, number: int, _frame: FrameType | None) -> None:
        for each in self._before:  # for good: even an interpreter that is ending must not be cut short
            signal.signal(each, signal.SIG_IGN)
        self._before.clear()
        self.exit_code = 128 + number
        if self._cancel is None:
            raise KeyboardInterrupt
        self._cancel()
