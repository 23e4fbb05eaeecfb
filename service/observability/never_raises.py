"""Keeps faults of instrumentation from ending the work that it observes."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def never_raises(watch: Callable[P, None]) -> Callable[P, None]:
    """The function without its exceptions: a count or a line is lost, and the log names the function."""

    @functools.wraps(watch)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            watch(*args, **kwargs)
        # Any exception: the observed work continues.
        except Exception as error:
            # Not the error's message: it may repeat the observed values, and nothing redacts it here.
            line = "watch_failed: %s raised %s"
            logging.getLogger("service").error(line, watch.__qualname__, type(error).__name__)

    return guarded


def watches(kind: type[T]) -> type[T]:
    """A class decorator: public methods that return None never raise."""
    for name, method in list(vars(kind).items()):
        if not name.startswith("_") and getattr(method, "__annotations__", {}).get("return", kind) is None:
            setattr(kind, name, never_raises(method))
    return kind
