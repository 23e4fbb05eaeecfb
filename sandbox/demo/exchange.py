"""Publishes requests and follows their outcomes as any client would: plain Kafka records with JSON values."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

REQUESTS, RESULTS, FAILURES = "transcription.requests", "transcription.results", "transcription.failures"
LIFETIME_SECONDS = 24 * 3600
"""After so long a request fails by itself, so that nobody waits for ever."""

_LOOK_SECONDS = 0.05
_WAIT_MS = 200
_STOP_SECONDS = 2.0
_LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Outcome:
    """What became of one file; `index` is its place in what was asked for."""

    index: int
    body: Mapping[str, Any]

    @property
    def is_failure(self) -> bool:
        return "code" in self.body


@asynccontextmanager
async def connected(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group and no topic yet."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=20,
        max_partition_fetch_bytes=_LARGEST_BYTES,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await _within_bound(consumer.stop())


async def await_topics(consumer: AIOKafkaConsumer, check: Callable[[], None]) -> None:
    """Wait until the service has made its topics; `check` may raise to end the wait."""
    while not {REQUESTS, RESULTS, FAILURES} <= await consumer.topics():
        check()
        await asyncio.sleep(_LOOK_SECONDS)


async def publish(bootstrap: str, model: str, urls: Sequence[str]) -> list[str]:
    """Publish one request for each URL, so that each is answered as soon as it is done; their ids."""
    run = secrets.token_hex(4)
    ids = [f"demo-{run}-{number}" for number in range(1, len(urls) + 1)]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        await producer.start()
        for request_id, url in zip(ids, urls, strict=True):
            request = {
                "request_id": request_id,
                "file_urls": [url],
                "model": model,
                "ttl_seconds": LIFETIME_SECONDS,
            }
            await producer.send_and_wait(REQUESTS, json.dumps(request).encode(), key=request_id.encode())
    finally:
        await _within_bound(producer.stop())
    return ids


async def outcomes(
    consumer: AIOKafkaConsumer, request_ids: Sequence[str], check: Callable[[], None]
) -> AsyncIterator[Outcome]:
    """The outcome of each request, once, as they come; `check` may raise to end the wait."""
    consumer.subscribe([RESULTS, FAILURES])
    waiting = {request_id: index for index, request_id in enumerate(request_ids)}
    while waiting:
        check()
        came = await consumer.getmany(timeout_ms=_WAIT_MS)
        for record in chain.from_iterable(came.values()):
            index = waiting.pop((record.key or b"").decode(), None)
            if index is not None:  # a repeated delivery is of no interest
                yield Outcome(index, json.loads(record.value))


async def _within_bound(stop: Coroutine[Any, Any, None]) -> None:
    """With the broker gone, a client of aiokafka may stop for ever."""
    stopping = asyncio.ensure_future(stop)
    await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
