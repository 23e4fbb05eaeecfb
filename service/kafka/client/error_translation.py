"""The one place where an error out of aiokafka becomes one of ours.

aiokafka raises far more than `KafkaError`: assertions of its own bookkeeping while a cluster starts again
(`Did we not perform bootstrap?`), `OSError`, errors of its decoders, and `CancelledError` out of side tasks
that it has ended itself. Every call into it is made inside `translated`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import ClusterError, ServiceError
from service.kafka.client.error_reasons import reason


@contextmanager
def translated(*expected: type[Exception]) -> Iterator[None]:
    """Turn whatever aiokafka raises, and a bound that was missed, into `ClusterError`.

    Our own errors pass, the errors in `expected`, which the caller handles, and our own cancellation. Put
    calls into aiokafka inside, and as little else as possible: a bug of ours would be retried for ever.
    """
    passing: tuple[type[Exception], ...] = (ServiceError, *expected)
    try:
        yield
    except passing:
        raise
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        # Nobody has cancelled us: passed on, it would end the caller's task without a word.
        raise ClusterError("the client has ended a call by itself") from error
    except Exception as error:  # any: which of them aiokafka raises is not documented
        raise ClusterError(reason(error)) from error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
