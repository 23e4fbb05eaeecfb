"""Starts and closes aiokafka's clients within a bound, whatever the cluster does.

No client is leaked.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError, ProducerClosed

STOP_SECONDS = 1.5
"""How long a client may take to flush or to leave its group.

A stopping service closes three clients in a row within its grace period. A member that could not leave is
replaced when its session expires.
"""
FINAL_WAIT_SECONDS = 0.5
"""How long a cancelled task, or an abandoned start, may take to end."""

_LONG_LIVED_TASKS = ("_coordination_task", "_reset_committed_task", "_fetch_task")
_SHORT_LIVED_TASKS = ("_heartbeat_task", "_commit_refresh_task")


async def finish_cleanup(cleaning: Coroutine[None, None, None]) -> None:
    """Run a bounded cleanup to its end even if cancelled; then raise the cancellation.

    A stop during a takeover cancels it twice; an interrupted cleanup would leave connections open.
    """
    task = asyncio.ensure_future(cleaning)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        retrieve_error(task)
        raise cancelled
    task.result()


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer, started or not.

    A member without a static name leaves its group if the cluster answers, and no join is under way.
    """
    await finish_cleanup(_close_consumer(consumer))


async def _close_consumer(consumer: AIOKafkaConsumer) -> None:
    await _attempt(consumer.stop(), STOP_SECONDS)
    await _end(_tasks(consumer, _LONG_LIVED_TASKS + _SHORT_LIVED_TASKS))
    await _end(_tasks_of(consumer._coordinator, consumer._fetcher, consumer._client))
    await _disconnect(consumer._client)


def has_died(consumer: AIOKafkaConsumer) -> bool:
    """Whether a task has ended without which a started consumer would stay silent forever."""
    return _has_no_metadata_task(consumer._client) or any(
        task.done() for task in _tasks(consumer, _LONG_LIVED_TASKS)
    )


def member_id_of(consumer: AIOKafkaConsumer) -> str:
    """The consumer's member id in its group; "" if it has none."""
    coordinator = consumer._coordinator
    return str(getattr(coordinator, "member_id", ""))


def abort_rebalance_wait(consumer: AIOKafkaConsumer) -> None:
    """Make a `getmany` raise that waits for the end of a rebalance, however long that lasts."""
    consumer._subscription.abort_waiters(KafkaError("the rebalance will not end"))


def retrieve_commit_errors() -> None:
    """Retrieve the errors of abandoned commits when they end; aiokafka shields them from cancellation."""
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__name__", "") == "_do_commit_offsets":
            task.add_done_callback(retrieve_error)


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Flush records in flight, then close; records not accepted in time fail."""
    await finish_cleanup(_stop_producer(producer))


async def _stop_producer(producer: AIOKafkaProducer) -> None:
    await _attempt(producer.stop(), STOP_SECONDS)
    await _destroy_producer(producer)


async def destroy_producer(producer: AIOKafkaProducer) -> None:
    """Close a producer, started or not, without a flush.

    Pending sends get `ProducerClosed`.
    """
    await finish_cleanup(_destroy_producer(producer))


async def _destroy_producer(producer: AIOKafkaProducer) -> None:
    producer._closed = True  # else its finaliser warns
    sender = producer._sender.sender_task
    if sender is not None:
        # Cancelled once, it waits for the requests in flight; cancelled twice, for all but one of them.
        sender.cancel()
        await asyncio.sleep(0)
        await _end([sender])
    await _end(_tasks_of(producer._sender, producer.client))
    await _disconnect(producer.client)
    _fail_pending(producer)
    # Retrieved, so that asyncio does not log it as never retrieved.
    transaction_error_of(producer)


def transaction_error_of(producer: AIOKafkaProducer) -> BaseException | None:
    """The broker's error for the producer's current transaction, if any: no permission, a fence.

    aiokafka raises it only at the commit; a caller that still awaits a send would wait forever.
    """
    transaction = producer._txn_manager and producer._txn_manager._transaction_waiter
    is_over = transaction is not None and transaction.done() and not transaction.cancelled()
    return transaction.exception() if is_over else None


def is_stopped(producer: AIOKafkaProducer) -> bool:
    """Whether a task of a started producer has ended: it would accept records and send none."""
    sender = producer._sender.sender_task
    return sender is None or bool(sender.done()) or _has_no_metadata_task(producer.client)


async def close_admin(admin: AIOKafkaAdminClient) -> None:
    """Close an admin client, started or not."""
    await finish_cleanup(_disconnect(admin._client))


async def abandon_start(task: "asyncio.Task[None]", within_seconds: float) -> None:
    """End a client's `start` that is no longer wanted.

    If cancelled while it waits for the first metadata, aiokafka leaks the connection it opened for that. So
    the start gets a moment to end by itself; after that its connection is closed here.
    """
    await asyncio.wait({task}, timeout=within_seconds)
    opened = list(_connections_held_by(task))
    await _end([task])
    for connection in opened:
        close_connection(connection)


def close_connection(connection: AIOKafkaConnection) -> None:
    """Close a single connection at once."""
    _abort(connection)
    connection.close()


def _tasks_of(*owners: object) -> "list[asyncio.Task[object]]":
    """The tasks, except the current one, that run a method of an owner; aiokafka does not track them all."""
    return [
        task
        for task in asyncio.all_tasks() - {asyncio.current_task()}
        if any(_local_of(task.get_coro(), "self") is owner for owner in owners if owner is not None)
    ]


def _connections_held_by(task: "asyncio.Task[None]") -> Iterator[AIOKafkaConnection]:
    """The connection that only a suspended `bootstrap` refers to."""
    waiting: object = task.get_coro()
    while waiting is not None:
        connection = _local_of(waiting, "bootstrap_conn")
        if isinstance(connection, AIOKafkaConnection):
            yield connection
        waiting = getattr(waiting, "cr_await", None)


def _local_of(coroutine: object, name: str) -> object:
    frame = getattr(coroutine, "cr_frame", None)
    return None if frame is None else frame.f_locals.get(name)


def _fail_pending(producer: AIOKafkaProducer) -> None:
    accumulator = producer._message_accumulator
    queued = [batch for batches in accumulator._batches.values() for batch in batches]
    # `fail_all` removes each failed batch from this set; one that waits for a retry is not in it.
    accumulator._pending_batches.update(queued)
    accumulator.fail_all(ProducerClosed())
    for batch in queued:
        # Nobody awaits these any more, and asyncio would log that.
        batch._drain_waiter.exception()


async def _disconnect(client: AIOKafkaClient) -> None:
    _abort_connections(client)
    await _attempt(client.close(), FINAL_WAIT_SECONDS)


def _abort_connections(client: AIOKafkaClient) -> None:
    for connection in list(client._conns.values()):
        _abort(connection)


def _abort(connection: AIOKafkaConnection) -> None:
    """Abort, since a normal close waits until a frozen peer has read the buffer."""
    if connection._writer is not None:
        connection._writer.transport.abort()


def _has_no_metadata_task(client: AIOKafkaClient) -> bool:
    """Whether a started client no longer updates its metadata: its callers would wait forever."""
    return client._sync_task is not None and bool(client._sync_task.done())


def _tasks(consumer: AIOKafkaConsumer, names: Iterable[str]) -> "Iterator[asyncio.Task[object]]":
    for part in (consumer._coordinator, consumer._fetcher):
        for name in names:
            task = getattr(part, name, None)
            if isinstance(task, asyncio.Task):
                yield task


async def _attempt(closing: Coroutine[None, None, None], within_seconds: float) -> None:
    """Let aiokafka close normally.

    If it raises or hangs, the caller ends everything afterwards.
    """
    task = asyncio.create_task(closing)
    await asyncio.wait({task}, timeout=within_seconds)
    await _end([task])


async def _end(tasks: "Iterable[asyncio.Task[object]]") -> None:
    """Cancel the tasks and wait a moment for them to end."""
    ending = set(tasks)
    for task in ending:
        task.add_done_callback(retrieve_error)
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=FINAL_WAIT_SECONDS)


def retrieve_error(task: "asyncio.Task[object]") -> None:
    """Retrieve the error of an abandoned task, so that asyncio does not log it as never retrieved."""
    if not task.cancelled():
        task.exception()


async def start(starting: Coroutine[None, None, None], within_seconds: float) -> None:
    """Await a client's `start`.

    Raises its errors, and `TimeoutError` if it takes too long.

    The caller closes the client, whatever the outcome.
    """
    task = asyncio.ensure_future(starting)
    task.add_done_callback(retrieve_error)
    try:
        await asyncio.wait({task}, timeout=within_seconds)
        if not task.done():
            raise TimeoutError
        task.result()
    finally:
        if not task.done():
            await finish_cleanup(abandon_start(task, FINAL_WAIT_SECONDS))
