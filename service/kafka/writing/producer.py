"""The producer of a process in `at_least_once`: sends records, awaits every answer, and is replaceable.

aiokafka's `start`, `send` and `stop` can wait forever while the cluster is down (aio-libs/aiokafka #1101). So
each call here is bounded, and a producer that exceeds its bound is discarded and replaced.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from service.errors import ClusterError, ConfigError, PublishError, RecordTooLarge, Unsupported
from service.kafka.client.clients import KafkaProducer, durable_producer
from service.kafka.client.cluster import ClusterConfig, unreachable
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import destroy_producer, is_stopped, start, stop_producer
from service.kafka.writing.producer_record import ProducerRecord, SendResult


class Producer:
    """One producer for all shards of the process."""

    def __init__(self, cluster: ClusterConfig, *, idempotent: bool, bound_seconds: float = 60.0) -> None:
        self._cluster = cluster
        self._idempotent = idempotent
        self._bound_seconds = bound_seconds
        self._producer: KafkaProducer | None = None
        self._users: Counter[KafkaProducer] = Counter()
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Connect within the bound; raises `ConfigError` if the cluster does not answer."""
        try:
            await self.connect()
        except ClusterError as error:
            if not (self._idempotent and isinstance(error, Unsupported)):
                raise ConfigError(unreachable(self._cluster, error)) from error
            raise ConfigError(
                "the broker has no idempotent producer; set SCRIBE_KAFKA__IDEMPOTENT=false if it never has"
            ) from error

    async def connect(self) -> None:
        """Connect within the bound; raises `ClusterError`."""
        with translated():
            async with asyncio.timeout(self._bound_seconds):
                await self._ready()

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        """Send the records and await every answer: an offset for each, or why it has none.

        Bounded in time; never raises for a broker's errors. Records of one partition keep their order.
        A record without an offset may still arrive, now or later.
        """
        try:
            with translated():
                return await self._send(records)
        except ClusterError as error:
            return [PublishError(str(error)) for _ in records]

    async def _send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        async with self._using() as producer:
            answers = await exchange(producer, records)
            if any(isinstance(answer, PublishError) for answer in answers) and self._idempotent:
                # A refused batch leaves a gap in the sequence, and every later batch of that partition is
                # refused for it. Other callers' records in flight are not affected.
                self._forget(producer)
            return answers

    async def partitions(self, topic: str) -> frozenset[int]:
        """The partitions of a topic.

        Raises `PublishError` if they are not known within the bound.
        """
        try:
            with translated():
                async with self._using() as producer:
                    return frozenset(await producer.partitions_for(topic))
        except ClusterError as error:
            raise PublishError(f"{topic}: {error}") from error

    async def stop(self) -> None:
        """Flush records in flight within a bound, then close; a later send connects again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)

    async def kill(self) -> None:
        """Discard the producer with all records in flight; the next send makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await destroy_producer(producer)

    async def _ready(self) -> KafkaProducer:
        """The producer, made if there is none; the caller sets the timeout."""
        async with self._starting:
            if self._producer is not None and is_stopped(self._producer):
                await self.kill()
            if self._producer is None:
                self._producer = await self._connect()
            return self._producer

    async def _connect(self) -> KafkaProducer:
        producer = durable_producer(self._cluster, enable_idempotence=self._idempotent)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(destroy_producer, producer)
            await start(producer.start(), self._bound_seconds)
            undo.pop_all()
        return producer

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[KafkaProducer]:
        """The producer, within the bound; the last user of a forgotten producer stops it."""
        async with asyncio.timeout(self._bound_seconds) as bound:
            producer = await self._ready()
            self._users[producer] += 1
            try:
                yield producer
            finally:
                if bound.expired():
                    # Its pending records would arrive after our next attempt, and pile up in a long outage.
                    self._forget(producer)
                    await destroy_producer(producer)
                else:
                    bound.reschedule(None)
                await self._leave(producer)

    async def _leave(self, producer: KafkaProducer) -> None:
        self._users[producer] -= 1
        if not self._users[producer]:
            del self._users[producer]
            if producer is not self._producer:
                await stop_producer(producer)

    def _forget(self, producer: KafkaProducer) -> None:
        """Let the next send make a new producer, unless another caller has done so."""
        if self._producer is producer:
            self._producer = None


async def lacks_idempotence(cluster: ClusterConfig) -> bool:
    """Whether the broker answers that it does not support idempotent producers."""
    producer = Producer(cluster, idempotent=True)
    try:
        await producer.connect()
    except ClusterError as error:
        return isinstance(error, Unsupported)
    finally:
        await producer.kill()
    return False


async def exchange(producer: KafkaProducer, records: Sequence[ProducerRecord]) -> list[SendResult]:
    """Send all records, then await every answer; the caller sets the timeout."""
    sent: list[asyncio.Future[object] | PublishError] = []
    try:
        for record in records:
            sent += [await _hand_over(producer, record)]
        waiting = [each for each in sent if isinstance(each, asyncio.Future)]
        await asyncio.gather(*waiting, return_exceptions=True)
        return [_answer(each) if isinstance(each, asyncio.Future) else each for each in sent]
    finally:
        for each in sent:
            if isinstance(each, asyncio.Future):
                # No effect on futures that are done; nobody reads a later answer.
                each.cancel()


async def _hand_over(
    producer: KafkaProducer, record: ProducerRecord
) -> "asyncio.Future[object] | PublishError":
    partitions = await producer.partitions_for(record.topic)
    if record.partition is not None and record.partition not in partitions:
        return PublishError(f"{record.topic} has no partition {record.partition}")
    try:
        with translated():
            sent: asyncio.Future[object] = await producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                headers=list(record.headers),
            )
    except RecordTooLarge as error:
        return error
    return sent


def _answer(sent: "asyncio.Future[object]") -> SendResult:
    try:
        with translated():
            offset = getattr(sent.result(), "offset", -1)
    except RecordTooLarge as error:
        return error
    except ClusterError as error:
        return PublishError(str(error))
    if not isinstance(offset, int) or offset < 0:
        # The broker recognised a duplicate but no longer knows the offset of the first record.
        return PublishError("the broker took the record and returned no offset")
    return offset
