"""One shard's transactional producer: the records of one call become visible together or not at all.

Opening it fences every earlier producer of the same id. aiokafka's transactions can hang forever, and commit
although a send failed. So each step here is bounded, every send is awaited before the commit, and the
producer is discarded after any error. Only the journal then shows the outcome of its last transaction.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from service.errors import ClusterError, ClusterUnavailable, ConfigError, PublishError, Unsupported
from service.kafka.admin.topics import Topics
from service.kafka.client.clients import KafkaProducer, durable_producer
from service.kafka.client.cluster import ClusterConfig, cause_of, unreachable
from service.kafka.client.error_reasons import reason
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import destroy_producer, is_stopped, start, transaction_error_of
from service.kafka.writing.producer import exchange, lacks_idempotence
from service.kafka.writing.producer_record import ProducerRecord, SendResult

TRANSACTION_TIMEOUT_MS = 15_000
"""How long a dead owner's open transaction blocks `read_committed` readers of the outcomes."""
MAX_TRANSACTIONAL = 200
"""Limit of producers in one process: each has up to five connections and a takeover of its own."""
RETRY_BACKOFF_MS = 20
"""After each transaction the broker is busy with its markers and aiokafka retries; its default is 100 ms."""


@dataclass(slots=True)
class Transactions:
    """The producer of one `transactional.id`; each call to `send` is one transaction."""

    cluster: ClusterConfig
    transactional_id: str
    topics: Topics
    open_seconds: float = 60.0
    send_seconds: float = TRANSACTION_TIMEOUT_MS / 1000
    """After this the broker has aborted the transaction by itself."""
    commit_seconds: float = 30.0
    """How long to wait for the answer to a commit; after that a new producer finds out."""
    _producer: KafkaProducer | None = field(default=None, init=False)
    _is_closed: bool = field(default=False, init=False)

    @property
    def is_open(self) -> bool:
        """Whether the last call succeeded.

        If not, its outcome is unknown until `open` returns.
        """
        return self._producer is not None and not is_stopped(self._producer)

    async def open(self) -> None:
        """Make a new producer within a bound.

        Transactions of earlier ones have ended when it returns.

        Raises `ClusterError` if the broker does not answer or has no transactions. Also once closed: a proof
        of ownership may outlast its shard. If it opens during the close, it may still fence the next writer
        once, which then opens again.
        """
        self._require_not_closed()
        await self._discard()
        producer = self._new_producer()
        async with AsyncExitStack() as undo:
            undo.push_async_callback(destroy_producer, producer)
            try:
                with translated():
                    await start(producer.start(), self.open_seconds)
            except ClusterError as error:
                complaint = f"no transaction can begin as {self.transactional_id}"
                raise type(error)(f"{complaint}: {error}") from cause_of(error)
            self._require_not_closed()
            undo.pop_all()
        self._producer = producer

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        """Write the records in one transaction: an offset for each, or for all why they are unknown.

        A record refused for its size gets `RecordTooLarge`, and none of the records is written. Bounded in
        time; never raises for a broker's errors. After any error call `open` next.
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
            refusal = transaction_error_of(producer)
            return [PublishError(str(error) if refusal is None else reason(refusal))] * len(records)
        finally:
            if not is_done:
                await self._discard()

    async def partitions(self, topic: str) -> frozenset[int]:
        """The partitions of a topic.

        Raises `PublishError` if they are not known within the bound.
        """
        assert self._producer is not None, "asked after `open`"
        try:
            with translated():
                async with asyncio.timeout(self.send_seconds):
                    return frozenset(await self._producer.partitions_for(topic))
        except ClusterError as error:
            raise PublishError(f"{topic}: {error}") from error

    async def close(self) -> None:
        """Discard the producer for good.

        Whether a transaction in flight was committed is unknown.
        """
        self._is_closed = True
        await self._discard()

    def _require_not_closed(self) -> None:
        if self._is_closed:
            raise ClusterUnavailable(f"{self.transactional_id} is closed")

    async def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await destroy_producer(producer)

    async def _transact(self, producer: KafkaProducer, records: Sequence[ProducerRecord]) -> list[SendResult]:
        async with asyncio.timeout(self.send_seconds):
            await producer.begin_transaction()
            answers = await exchange(producer, records)
        if not any(isinstance(answer, PublishError) for answer in answers):
            # Only now: aiokafka also commits a transaction that has lost a record.
            async with asyncio.timeout(self.commit_seconds):
                await producer.commit_transaction()
        return answers

    def _new_producer(self) -> KafkaProducer:
        producer = durable_producer(
            self.cluster,
            transactional_id=self.transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        # Set beforehand: a producer without topics keeps the metadata of all topics of the cluster.
        producer.client.set_topics([self.topics.journal, self.topics.results, self.topics.failures])
        return producer


async def require_transactions(cluster: ClusterConfig, topics: Topics) -> None:
    """Raise `ConfigError` if the broker has no transactions or does not answer."""
    probe = Transactions(cluster, f"{topics.journal}.probe", topics)
    try:
        await probe.open()
    except Unsupported as error:
        words = "the broker has no transactions: set SCRIBE_KAFKA__DELIVERY=at_least_once"
        if await lacks_idempotence(cluster):
            words += " and, as it has no idempotent producer either, SCRIBE_KAFKA__IDEMPOTENT=false"
        raise ConfigError(words) from error
    except ClusterError as error:
        raise ConfigError(unreachable(cluster, error)) from error
    finally:
        await probe.close()
