"""Runs one server of the sandbox until Ctrl-C or SIGTERM, and leaves nothing of it behind."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Protocol

from sandbox.child import ServerStartError

_LOOK_SECONDS = 0.2
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Server(Protocol):
    @property
    def bootstrap(self) -> str: ...

    def is_running(self) -> bool: ...


def run(server: AbstractContextManager[Server], advice: Callable[[str], str] | None = None) -> int:
    """Enter the block, print `bootstrap: ...`, wait for the end; the exit code, 0 when a person ended it.

    `advice` makes a second line out of the bootstrap address.
    """
    for number in _ENDINGS:
        signal.signal(number, _end)
    try:
        with server as running:
            print(f"bootstrap: {running.bootstrap}", flush=True)
            if advice is not None:
                print(advice(running.bootstrap), flush=True)
            while running.is_running():
                time.sleep(_LOOK_SECONDS)
        print("the server ended by itself.", file=sys.stderr)
    except KeyboardInterrupt:
        return 0
    except ServerStartError as error:
        print(f"{error}", file=sys.stderr)
    return 1


def _end(_number: int, _frame: FrameType | None) -> None:
    for number in _ENDINGS:  # a second Ctrl-C must not cut the cleaning short
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
