"""The one log of a run: what the servers write, and what this process would else write over the screen."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "scribe-demo.log"

_FORMAT = "demo: %(levelname)s %(name)s: %(message)s"


@contextmanager
def log_file() -> Iterator[Path]:
    """A new log in place of the last run's; it stays.

    It lies in the current folder, or, where another demo writes there or nobody may, in the temporary one.
    Inside the block, Python's loggers write to it.
    """
    path, descriptor = _opened()
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.getLogger().addHandler(handler)
    try:
        yield path
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
        os.close(descriptor)


def _opened() -> tuple[Path, int]:
    """The file, empty, and a descriptor whose lock tells other demos that it is taken."""
    path = Path(NAME).absolute()
    with suppress(OSError):
        return path, _taken(path)
    descriptor, name = tempfile.mkstemp(prefix="scribe-demo-", suffix=".log")
    return Path(name), descriptor


def _taken(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
