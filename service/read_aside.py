"""Reads what may hang, such as a file of a network, without holding the event loop or the process's end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

from typing_extensions import override

T = TypeVar("T")


def read_aside(read: Callable[[], T]) -> "asyncio.Future[T]":
    """The future result of `read`, which runs in a thread of its own.

    The process does not wait for the thread at its end, as it does for those of `asyncio.to_thread`.
    """
    return asyncio.get_running_loop().run_in_executor(_OneThreadEach(), read)


class SharedRead(Generic[T]):
    """A read that one thread makes for all who ask meanwhile: if it hangs, it costs one thread in all."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._reading: asyncio.Future[T] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a thread is at it."""
        return self._reading is not None and not self._reading.done()

    async def __call__(self) -> T:
        """What `read` returns or raises; the caller bounds the time."""
        reading = self._reading
        if reading is None or reading.done():
            reading = self._reading = read_aside(self._read)
            reading.add_done_callback(_retrieve)
        return await asyncio.shield(reading)


def _retrieve(reading: "asyncio.Future[Any]") -> None:
    """All who asked may have given up: asyncio would complain of an exception that nobody heard of."""
    if not reading.cancelled():
        reading.exception()


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
