"""The exit codes of every command, and how an error becomes one sentence and its code."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from service.errors import ConfigError, InvalidRecord, ServiceError


class ExitCode(IntEnum):
    """What a command's exit code says; docs/operations.md has the same table."""

    DONE = 0
    """The command did what was asked."""
    FAILED = 1
    """An error of Scribe or its environment, a missing outcome, or an outcome that did not come in time."""
    WRONG_USE = 2
    """A wrong option, or a request that the service would refuse."""
    UNHEALTHY = 3
    """`doctor` found a fault; a replica that `status` asked has one."""
    UNREACHABLE = 4
    """A replica did not answer `status`."""
    UNKNOWN = 5
    """`jobs show` and `cancel --wait`: nothing is known of this id."""
    INCOMPLETE = 6
    """`jobs` and `replay`: a part of the journal could not be read."""
    ENDED_BEFORE = 7
    """`cancel --wait`: the request had ended, so nothing was cancelled."""
    WRONG_SETTINGS = 78
    """A setting, or what a setting names, does not allow it; a restart does not help (EX_CONFIG)."""
    INTERRUPTED = 130
    """Ctrl-C."""


@contextmanager
def sentences() -> Iterator[None]:
    """Turn known errors into one sentence and an exit code."""
    try:
        yield
    except ServiceError as error:
        raise _exit(error) from None
    except ExceptionGroup as group:
        named = _only_one(group)
        if named is None:
            raise
        raise _exit(named) from None


def _only_one(group: ExceptionGroup[Exception]) -> ServiceError | None:
    """The error that ended a group of tasks, if it is a single one of ours."""
    inner: Exception = group
    while isinstance(inner, ExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, ServiceError) else None


def _exit(error: ServiceError) -> typer.Exit:
    typer.echo(f"scribe: {error}", err=True)
    if isinstance(error, ConfigError):
        return typer.Exit(ExitCode.WRONG_SETTINGS)
    return typer.Exit(ExitCode.WRONG_USE if isinstance(error, InvalidRecord) else ExitCode.FAILED)
