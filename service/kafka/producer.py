"""The producer of a process in `at_least_once`: sends records, awaits every answer, and can be thrown away.

aiokafka's `send` and `stop` can wait for ever while the cluster is down (aio-libs/aiokafka #1101), so each
call here is bounded, and a producer that missed its bound is killed and made anew.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError, UnknownError

from service.errors import ConfigError, PublishError, RecordTooLarge
from service.kafka.client import ClusterConfig, unreachable

LARGEST_REQUEST_BYTES = 32 * 1024 * 1024
"""A transcript of 12 h with its words has some 10 MB before compression."""
STOP_SECONDS = 5.0
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to send; without a partition the key decides, hashed as Java does."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Producer:
    """One producer for all shards of the process."""

    def __init__(self, cluster: ClusterConfig, *, idempotent: bool, bound_seconds: float = 60.0) -> None:
        self._cluster = cluster
        self._idempotent = idempotent
        self._bound_seconds = bound_seconds
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Connect; raises `ConfigError` when the cluster does not answer."""
        try:
            await self._ready()
        except UnknownError as error:
            if not self._idempotent:
                raise ConfigError(unreachable(self._cluster, error)) from error
            raise ConfigError(
                "the broker has no idempotent producer; set SCRIBE_KAFKA__IDEMPOTENT=false if it never will"
            ) from error
        except (KafkaError, TimeoutError) as error:
            raise ConfigError(unreachable(self._cluster, error)) from error

    async def send(self, records: Sequence[Outgoing]) -> list[int | PublishError]:
        """Send the records and await every answer: for each its offset, or why it is not there.

        Bounded in time. Records of one partition keep their order.
        """
        try:
            async with asyncio.timeout(self._bound_seconds):
                producer = await self._ready()
                sent = [await self._enqueue(producer, record) for record in records]
                answers = [await _answer(each) for each in sent]
                if any(isinstance(answer, RecordTooLarge) for answer in answers):
                    # A refused batch leaves a gap in an idempotent producer's sequence, and every later
                    # one of that partition is refused for it: go on with a new producer.
                    await self.kill()
                return answers
        except (KafkaError, TimeoutError) as error:
            await self.kill()
            return [PublishError(f"{type(error).__name__}: {error}") for _ in records]

    async def stop(self) -> None:
        """Flush what is in flight within a bound, then close."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await producer.stop()
        except (KafkaError, TimeoutError):
            await _destroy(producer)

    async def kill(self) -> None:
        """Throw the connection away; the next send makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _destroy(producer)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._connect()
            return self._producer

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._cluster.connection(),
            acks="all",
            compression_type="gzip",
            enable_idempotence=self._idempotent,
            max_request_size=LARGEST_REQUEST_BYTES,
            max_batch_size=256 * 1024,
        )
        try:
            await producer.start()
        except BaseException:
            await _destroy(producer)
            raise
        return producer

    async def _enqueue(
        self, producer: AIOKafkaProducer, record: Outgoing
    ) -> "asyncio.Future[object] | PublishError":
        try:
            sent: asyncio.Future[object] = await producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                headers=list(record.headers),
            )
            return sent
        except MessageSizeTooLargeError as error:
            return RecordTooLarge(str(error))


async def _answer(sent: "asyncio.Future[object] | PublishError") -> int | PublishError:
    if isinstance(sent, PublishError):
        return sent
    try:
        metadata = await sent
    except TOO_LARGE as error:
        return RecordTooLarge(str(error))
    except KafkaError as error:
        return PublishError(f"{type(error).__name__}: {error}")
    return int(getattr(metadata, "offset", -1))


async def _destroy(producer: AIOKafkaProducer) -> None:
    """Close without waiting for the cluster: aiokafka has no public way to give up on a producer."""
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender is not None:
        sender.cancel()
        await asyncio.wait({sender}, timeout=STOP_SECONDS)
    await producer.client.close()
    producer._closed = True  # noqa: SLF001 - else its finaliser warns
