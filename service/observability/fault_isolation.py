"""Keeps what only watches from ending what it watches."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def never_raises(watch: Callable[P, None]) -> Callable[P, None]:
    """The function with its errors kept inside: a count or a line is lost, and the log names which."""

    @functools.wraps(watch)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            watch(*args, **kwargs)
        # Whatever it is, the work that is watched goes on.
        except Exception as error:
            # Not the error's own words: they may repeat what was to be watched, and nothing scrubs them here.
            line = "watch_failed: %s raised %s"
            logging.getLogger("service").error(line, watch.__qualname__, type(error).__name__)

    return guarded


def watches(kind: type[T]) -> type[T]:
    """A class whose public methods that return nothing never raise."""
    for name, method in list(vars(kind).items()):
        if not name.startswith("_") and getattr(method, "__annotations__", {}).get("return", kind) is None:
            setattr(kind, name, never_raises(method))
    return kind
