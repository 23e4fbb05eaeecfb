"""Reads what may hang, such as a file of a network, without holding the event loop or the process's end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from typing import Any, TypeVar

from typing_extensions import override

T = TypeVar("T")


def read_aside(read: Callable[[], T]) -> "asyncio.Future[T]":
    """The future result of `read`, which runs in a thread of its own.

    The process does not wait for the thread at its end, as it does for those of `asyncio.to_thread`.
    """
    return asyncio.get_running_loop().run_in_executor(_OneThreadEach(), read)


class _OneThreadEach(Executor):
    @override
    def submit(self, read: Callable[..., T], /, *args: Any, **options: Any) -> "Future[T]":
        """Start it in a thread that does not outlive the process."""
        found: Future[T] = Future()

        def failed(_kind: object, error: BaseException | None, _trace: object) -> bool:
            if error is not None:
                found.set_exception(error)
            return True

        def run() -> None:
            if not found.set_running_or_notify_cancel():
                return
            with ExitStack() as watching:
                watching.push(failed)
                found.set_result(read(*args, **options))

        threading.Thread(target=run, name="read-aside", daemon=True).start()
        return found
