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
from sandbox.simulator import Simulator, SimulatorConfig
from tests.brokers import create_topics
from tests.integration.stack import ROLES, Stack, settings_for, standing

PARTITIONS = 12
SESSION_MS = 30_000
NO_QUOTAS = SimulatorConfig(submit_rpm=None, query_qps=None, list_qps=None, cancel_qps=None)
_SETTINGS = {
    "SCRIBE_TOPICS__PARTITIONS": str(PARTITIONS),
    "SCRIBE_KAFKA__FETCH_MAX_WAIT_MS": "500",  # the service's default; the tests have another
}
QUOTAS_OFF = {
    "SCRIBE_QUOTA__CALLS_PER_SECOND": "10000",
    "SCRIBE_QUOTA__SUBMIT_PER_MINUTE": "1000000",
}


@contextmanager
def own_kafka() -> Iterator[tuple[str, Path]]:
    """`host:port` of a real Kafka, and a folder for logs, for one run."""
    # Topics are used as soon as they are made, so clients try again at times, and say so.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with kafka.real_kafka() as cluster, tempfile.TemporaryDirectory(prefix="scribe-bench-") as folder:
        yield cluster.bootstrap, Path(folder)


@asynccontextmanager
async def own_stack(
    bootstrap: str, sim: Simulator, folder: Path, module: str = "service"
) -> AsyncIterator[Stack]:
    """Topics that nobody else uses, and how to start processes on them; those are killed at the end."""
    run = uuid.uuid4().hex[:8]
    topics = {role: f"bench-{run}.{role}" for role in ROLES}
    await create_topics(bootstrap, {topics[role]: PARTITIONS for role in ROLES if role != "journal"})
    settings = {**settings_for(bootstrap, topics, sim, SESSION_MS, transactions=True), **_SETTINGS}
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
