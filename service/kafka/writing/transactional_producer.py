"""One shard's transactional producer: the records of a call become visible together, or none of them does.

To open it is to fence every earlier producer of the same id. aiokafka's transactions can hang without a
bound, and commit although a send failed; so each step here is bounded, every send is awaited before the
commit, and a producer that met any error is thrown away: what became of its last transaction is for the
journal to say.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IncompatibleBrokerVersion, UnknownError

from service.errors import ClusterError, ConfigError, PublishError
from service.kafka.admin.topics import Topics
from service.kafka.client.cluster import ClusterConfig, cause_of, reason, unreachable
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import destroy_producer, is_stopped, start, transaction_error_of
from service.kafka.writing.producer import LARGEST_REQUEST_BYTES, MAX_BATCH_BYTES, exchange, lacks_idempotence
from service.kafka.writing.producer_record import Answer, ProducerRecord

TRANSACTION_TIMEOUT_MS = 15_000
"""A dead owner's open transaction holds back `read_committed` readers of the outcomes for so long."""
MAX_TRANSACTIONAL = 200
"""Producers in one process: each has up to five connections, and a take-over of its own."""
RETRY_BACKOFF_MS = 20
"""After each transaction the broker is busy with its markers: aiokafka asks again, else after 100 ms."""


@dataclass(slots=True)
class Transactions:
    """The producer of one `transactional.id`; what is sent in one call is one transaction."""

    cluster: ClusterConfig
    transactional_id: str
    topics: Topics
    open_seconds: float = 60.0
    send_seconds: float = TRANSACTION_TIMEOUT_MS / 1000
    """Longer, and the broker has ended the transaction by itself."""
    commit_seconds: float = 30.0
    """How long the answer to a commit is waited for; after that a new producer finds out."""
    _producer: AIOKafkaProducer | None = field(default=None, init=False)

    @property
    def is_open(self) -> bool:
        """Whether the last call went well; if not, what became of it is unknown until `open` returns."""
        return self._producer is not None and not is_stopped(self._producer)

    async def open(self) -> None:
        """Make the producer anew, within a bound: transactions of earlier ones are over when this returns.

        Raises `ClusterError` when the broker does not answer, or has no transactions.
        """
        await self.kill()
        producer = self._new_producer()
        async with AsyncExitStack() as undo:
            undo.push_async_callback(destroy_producer, producer)
            try:
                with translated():
                    await start(producer.start(), self.open_seconds)
            except ClusterError as error:
                complaint = f"no transaction can begin as {self.transactional_id}"
                raise ClusterError(f"{complaint}: {error}") from cause_of(error)
            undo.pop_all()
        self._producer = producer

    async def send(self, records: Sequence[ProducerRecord]) -> list[Answer]:
        """Write the records in one transaction: for each its offset, or for all why that is not known.

        Where one was refused for its size, its answer is `RecordTooLarge` and none of them is there. Bounded
        in time; never raises for what a broker does. After any error `open` comes next.
        """
        producer, is_done = self._producer, False
        if producer is None:
            return [PublishError("the producer was given up")] * len(records)
        try:
            with translated():
                answers = await self._transact(producer, records)
            is_done = not any(isinstance(answer, PublishError) for answer in answers)
            return answers
        except ClusterError as error:
            return [PublishError(reason(transaction_error_of(producer) or cause_of(error)))] * len(records)
        finally:
            if not is_done:
                await self.kill()

    async def partitions(self, topic: str) -> frozenset[int]:
        """The partitions a topic has; raises `PublishError` when that cannot be told within the bound."""
        assert self._producer is not None, "asked after `open`"
        try:
            with translated():
                async with asyncio.timeout(self.send_seconds):
                    return frozenset(await self._producer.partitions_for(topic))
        except ClusterError as error:
            raise PublishError(f"{topic}: {error}") from error

    async def kill(self) -> None:
        """Throw the producer away with what it has in flight; whether that was committed is not known."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await destroy_producer(producer)

    async def _transact(self, producer: AIOKafkaProducer, records: Sequence[ProducerRecord]) -> list[Answer]:
        async with asyncio.timeout(self.send_seconds):
            await producer.begin_transaction()
            answers = await exchange(producer, records)
        if not any(isinstance(answer, PublishError) for answer in answers):
            # Only now: aiokafka commits also what has lost a record on its way.
            async with asyncio.timeout(self.commit_seconds):
                await producer.commit_transaction()
        return answers

    def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self.cluster.reconnection(),
            transactional_id=self.transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            acks="all",
            compression_type="gzip",
            max_request_size=LARGEST_REQUEST_BYTES,
            max_batch_size=MAX_BATCH_BYTES,
        )
        # Named beforehand: a producer without topics keeps the metadata of all that the cluster has.
        producer.client.set_topics([self.topics.journal, self.topics.results, self.topics.failures])
        return producer


async def require_transactions(cluster: ClusterConfig, topics: Topics) -> None:
    """Raise `ConfigError` where the broker has no transactions, or does not answer."""
    probe = Transactions(cluster, f"{topics.journal}.probe", topics)
    try:
        await probe.open()
    except ClusterError as error:
        if isinstance(error.__cause__, UnknownError | IncompatibleBrokerVersion):
            words = "the broker has no transactions: set SCRIBE_KAFKA__DELIVERY=at_least_once"
            if await lacks_idempotence(cluster):
                words += " and, as it has no idempotent producer either, SCRIBE_KAFKA__IDEMPOTENT=false"
            raise ConfigError(words) from error
        raise ConfigError(unreachable(cluster, cause_of(error))) from error
    finally:
        await probe.kill()
