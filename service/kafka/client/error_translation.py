"""The one place where aiokafka's errors become ours.

Errors of ours that pass through aiokafka are kept here, too.

aiokafka raises far more than `KafkaError`: failed assertions while a cluster restarts
(`Did we not perform bootstrap?`), `OSError`, decoder errors, and `CancelledError` from side tasks that it has
cancelled itself. Every call into it is made inside `translated`.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    IncompatibleBrokerVersion,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
)

from service.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnavailable,
    NotAMember,
    NotPermitted,
    OffsetsMissing,
    RecordTooLarge,
    ServiceError,
    UnreadableRecord,
    Unsupported,
)
from service.kafka.client.error_reasons import reason

_OURS: Mapping[type[Exception], type[ClusterError]] = {
    CommitFailedError: NotAMember,
    IllegalStateError: NotAMember,
    GroupAuthorizationFailedError: NotPermitted,
    TopicAuthorizationFailedError: ClusterRefused,
    ClusterAuthorizationFailedError: ClusterRefused,
    TransactionalIdAuthorizationFailed: ClusterRefused,
    IncompatibleBrokerVersion: Unsupported,
    UnknownError: Unsupported,
    MessageSizeTooLargeError: RecordTooLarge,
    RecordListTooLargeError: RecordTooLarge,
    OffsetOutOfRangeError: OffsetsMissing,
    UnicodeDecodeError: UnreadableRecord,
}
"""What callers tell apart; every other error is a `ClusterUnavailable`."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn any error of aiokafka, and any timeout, into `ClusterError` or a subclass of it.

    Our own errors and our own cancellation pass. Put little else than calls into aiokafka inside: a bug of
    ours would be retried forever.
    """
    try:
        yield
    except ServiceError:
        raise
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        # Nobody has cancelled us: passed on, it would silently end the caller's task.
        raise ClusterUnavailable("aiokafka cancelled its own call") from error
    except Exception as error:  # any: which of them aiokafka raises is not documented
        raise _ours(error) from error


@contextmanager
def kept(on_error: Callable[[Exception], None]) -> Iterator[None]:
    """Pass an error on, and to `on_error`.

    aiokafka only logs what a rebalance listener raises, and continues.
    """
    with ExitStack() as watching:
        watching.push(lambda _kind, error, _trace: on_error(error) if isinstance(error, Exception) else None)
        yield


def _ours(error: Exception) -> ClusterError:
    kind = _OURS.get(type(error), ClusterUnavailable)
    if kind is OffsetsMissing and error.args:
        return OffsetsMissing(reason(error), frozenset(each.partition for each in error.args[0]))
    return kind(reason(error))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
