"""The topic through which replicas tell each other what a page of the account's list showed.

Nothing depends on it: what cannot be written is dropped, what cannot be read is missed, and every wait is
bounded. It has clients of its own, so that it holds up no journal.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from service.clock import Clock
from service.errors import ClusterError, ClusterUnavailable, PublishError
from service.kafka.client.clients import ConsumerRecord, KafkaConsumer, TopicPartition
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import has_died
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord

QUEUED_PAGES = 32
"""Pages that wait to be written; the oldest are dropped first."""
KEY = b"page"
IDLE_SECONDS = 1.0
"""How often the loops show that they run while there is nothing to do."""
POLL_MS = 500
"""How soon it is noticed that pages are not wanted any more."""
MOST_RECORDS = 100
"""Five times what replicas within the vendor's usual quota write in a second; further ones are skipped, so
that a flood does not keep the process busy."""
PERIOD_SECONDS = 1.0
"""In which `MOST_RECORDS` are read."""
BOUND_SECONDS = 5.0
"""Of a write: a page that is older is of no use."""
RETRY_SECONDS = 10.0
"""After a failure: polling goes on without shared pages meanwhile."""

Report = Callable[[bool, str], None]
"""Told once when the topic fails, with the reason, and once when it works again."""


class PageTopic:
    """One replica's access to the topic, which has one partition."""

    def __init__(
        self, cluster: ClusterConfig, topic: str, fetch_max_wait_ms: int, clock: Clock, report: Report
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._fetch_max_wait_ms = fetch_max_wait_ms
        self._clock = clock
        self._report = report
        self._producer = Producer(cluster, idempotent=False, bound_seconds=BOUND_SECONDS)
        self._queue: deque[bytes] = deque(maxlen=QUEUED_PAGES)
        self._is_queued = asyncio.Event()
        self._failing: set[str] = set()

    def send(self, value: bytes) -> None:
        """Write the record soon, or never; does not wait."""
        self._queue.append(value)
        self._is_queued.set()

    async def close(self) -> None:
        """Close the producer, within a bound."""
        await self._producer.kill()

    async def write(self, on_tick: Callable[[], None]) -> None:
        """Write what is sent until cancelled."""
        while True:
            on_tick()
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._is_queued.wait()
            self._is_queued.clear()
            records = [ProducerRecord(self._topic, KEY, value, partition=0) for value in self._queue]
            self._queue.clear()
            if not records:
                continue
            answers = await self._producer.send(records)
            refusals = [each for each in answers if isinstance(each, PublishError)]
            self._note("write", str(refusals[0]) if refusals else None)
            if refusals:
                await self._producer.kill()
                await self._wait(RETRY_SECONDS, on_tick)

    async def read(
        self,
        take: Callable[[bytes | None], Awaitable[None]],
        is_wanted: Callable[[], bool],
        on_tick: Callable[[], None],
    ) -> None:
        """While it is wanted, pass on what is written from now on, until cancelled."""
        while True:
            on_tick()
            if not is_wanted():
                await self._clock.sleep(IDLE_SECONDS)
                continue
            try:
                async with reader(self._cluster, self._fetch_max_wait_ms, "read_uncommitted") as consumer:
                    await self._follow(consumer, take, is_wanted, on_tick)
            except ClusterError as error:
                self._note("read", str(error))
                await self._wait(RETRY_SECONDS, on_tick)

    async def _follow(
        self,
        consumer: KafkaConsumer,
        take: Callable[[bytes | None], Awaitable[None]],
        is_wanted: Callable[[], bool],
        on_tick: Callable[[], None],
    ) -> None:
        partition = TopicPartition(self._topic, 0)
        with translated():
            consumer.assign([partition])
        await self._to_end(consumer, partition)
        self._note("read", None)
        begun, count = self._clock.boot_seconds(), 0
        while is_wanted():
            on_tick()
            if has_died(consumer):
                raise ClusterUnavailable("the reader of pages has stopped working")
            for record in await self._poll(consumer, partition):
                count += 1
                await take(record.value)
            left_seconds = begun + PERIOD_SECONDS - self._clock.boot_seconds()
            if count >= MOST_RECORDS and left_seconds > 0:
                await self._clock.sleep(left_seconds)
                await self._to_end(consumer, partition)
            if count >= MOST_RECORDS or left_seconds <= 0:
                begun, count = self._clock.boot_seconds(), 0

    async def _poll(self, consumer: KafkaConsumer, partition: TopicPartition) -> Sequence[ConsumerRecord]:
        with translated():
            batches = await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=MOST_RECORDS)
        found: Sequence[ConsumerRecord] = batches.get(partition, ())
        return found

    async def _to_end(self, consumer: KafkaConsumer, partition: TopicPartition) -> None:
        with translated():
            async with asyncio.timeout(BOUND_SECONDS):
                ends = await consumer.end_offsets([partition])
            consumer.seek(partition, ends[partition])

    async def _wait(self, seconds: float, on_tick: Callable[[], None]) -> None:
        until = self._clock.boot_seconds() + seconds
        while self._clock.boot_seconds() < until:
            on_tick()
            await self._clock.sleep(IDLE_SECONDS)

    def _note(self, side: str, failure: str | None) -> None:
        was_failing = bool(self._failing)
        (self._failing.discard if failure is None else self._failing.add)(side)
        if bool(self._failing) is not was_failing:
            self._report(failure is None, failure or "")
