"""The one place where aiokafka's errors become ours.

aiokafka raises far more than `KafkaError`: failed assertions while a cluster restarts
(`Did we not perform bootstrap?`), `OSError`, decoder errors, and `CancelledError` from side tasks that it has
cancelled itself. Every call into it is made inside `translated`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import ClusterError, ServiceError
from service.kafka.client.error_reasons import reason


@contextmanager
def translated(*expected: type[Exception]) -> Iterator[None]:
    """Turn any error of aiokafka, and any timeout, into `ClusterError`.

    Our own errors, our own cancellation, and the errors in `expected`, which the caller handles, pass. Put
    little else than calls into aiokafka inside: a bug of ours would be retried forever.
    """
    passing: tuple[type[Exception], ...] = (ServiceError, *expected)
    try:
        yield
    except passing:
        raise
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        # Nobody has cancelled us: passed on, it would silently end the caller's task.
        raise ClusterError("aiokafka cancelled its own call") from error
    except Exception as error:  # any: which of them aiokafka raises is not documented
        raise ClusterError(reason(error)) from error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
