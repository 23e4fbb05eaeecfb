"""What benchmarks of the whole service share: topics, requests, and processes that serve them."""

import json
import logging
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer

from sandbox import kafka
from sandbox.broker import embedded_broker
from sandbox.simulator import Simulator, SimulatorConfig
from tests.brokers import create_topics
from tests.integration.stack import ROLES, Stack, settings_for, standing

PARTITIONS = 12
SESSION_MS = 30_000
EMBEDDED_SESSION_MS = 6_000
"""The embedded broker answers a first join after half a session."""
NO_QUOTAS = SimulatorConfig(submit_rpm=None, query_qps=None, list_qps=None, cancel_qps=None)
_SETTINGS = {
    "SCRIBE_TOPICS__PARTITIONS": str(PARTITIONS),
    "SCRIBE_KAFKA__FETCH_MAX_WAIT_MS": "500",  # the service's default; the tests have another
}
QUOTAS_OFF = {
    "SCRIBE_QUOTA__CALLS_PER_SECOND": "10000",
    "SCRIBE_QUOTA__SUBMITS_PER_MINUTE": "1000000",
}


@contextmanager
def own_kafka() -> Iterator[tuple[kafka.Cluster, Path]]:
    """A real Kafka and a folder for logs, for one run."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with kafka.real_kafka() as cluster, tempfile.TemporaryDirectory(prefix="scribe-bench-") as folder:
        yield cluster, Path(folder)


@contextmanager
def own_broker(*, is_real: bool = True) -> Iterator[tuple[str, Path]]:
    """`host:port` of a real Kafka, or an embedded broker, and a folder for logs, for one run."""
    # Topics are used as soon as they are made, so clients try again at times, and say so.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    server = kafka.real_kafka() if is_real else embedded_broker()
    with server as broker, tempfile.TemporaryDirectory(prefix="scribe-bench-") as folder:
        yield broker.bootstrap, Path(folder)


@asynccontextmanager
async def own_stack(
    bootstrap: str,
    sim: Simulator,
    folder: Path,
    module: str = "service",
    *,
    transactions: bool = True,
    partitions: int = PARTITIONS,
) -> AsyncIterator[Stack]:
    """Topics that nobody else uses, and how to start processes on them; those are killed at the end."""
    run = uuid.uuid4().hex[:8]
    topics = {role: f"bench-{run}.{role}" for role in ROLES}
    await create_topics(bootstrap, {topics[role]: partitions for role in ROLES if role != "journal"})
    session_ms = SESSION_MS if transactions else EMBEDDED_SESSION_MS
    settings = {**settings_for(bootstrap, topics, sim, session_ms, transactions=transactions), **_SETTINGS}
    async with standing(Stack(bootstrap, topics, sim, folder, settings, module)) as stack:
        yield stack


def request(number: int, script: str) -> tuple[bytes, bytes]:
    """Key and value of a one-file request without metadata; the simulator reads `script` off its URL."""
    request_id = f"request-{number:08}"
    url = f"https://bucket.example.com/audio/{number:08}.wav?{script}"
    document = {"request_id": request_id, "model": "fun-asr", "file_urls": [url]}
    return request_id.encode(), json.dumps(document).encode()


async def publish(stack: Stack, requests: Iterable[tuple[bytes, bytes]]) -> None:
    """Publish requests as fast as the broker takes them."""
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
        for key, value in requests:
            await producer.send(stack.topics["requests"], value, key=key)
        await producer.flush()
