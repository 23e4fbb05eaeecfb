"""What the contract suites of service/kafka share: topics of their own, and an independent look into them."""

import asyncio
import signal
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.record.util import calc_crc32c

from sandbox import child
from sandbox.broker import embedded_broker
from sandbox.kafka import Cluster
from service.kafka.admin.topics import Topics
from service.kafka.client.cluster import ClusterConfig
from service.kafka.writing.producer import Producer
from tests.brokers import TopicNames, create_topics

WAIT_SECONDS = 60.0
MARKER_LOOKS = 100
CHECK_SECONDS = 0.02
FETCH_WAIT_MS = 20
OUTCOME_PARTITIONS = 3


async def make_topics(
    bootstrap: str,
    topic_names: TopicNames,
    partitions: int = 1,
    configs: Mapping[str, Mapping[str, str]] | None = None,
) -> Topics:
    """The four topics, under names of their own; `configs` by role. Outcome topics have 3 partitions."""
    topics = Topics(*topic_names("requests", "results", "failures", "journal"))
    counts = {
        topics.requests: partitions,
        topics.results: OUTCOME_PARTITIONS,
        topics.failures: OUTCOME_PARTITIONS,
        topics.journal: partitions,
    }
    for role, config in (configs or {}).items():
        name = getattr(topics, role)
        await create_topics(bootstrap, {name: counts.pop(name)}, config)
    await create_topics(bootstrap, counts)
    return topics


def producer_for(bootstrap: str, broker_name: str, bound_seconds: float = 20.0) -> Producer:
    """A producer as the broker can do it."""
    return Producer(ClusterConfig(bootstrap), idempotent=broker_name == "kafka", bound_seconds=bound_seconds)


async def records_of(bootstrap: str, topic: str, partitions: int = 1) -> list[ConsumerRecord]:
    """Everything in the topic that is committed, partition by partition."""
    found: list[ConsumerRecord] = []
    wanted = [TopicPartition(topic, number) for number in range(partitions)]
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        isolation_level="read_committed",
    ) as consumer:
        consumer.assign(wanted)
        ends = await _ends(bootstrap, consumer, wanted)
        for partition in wanted:
            consumer.seek(partition, 0)
        async with asyncio.timeout(WAIT_SECONDS):
            for partition in wanted:
                while await consumer.position(partition) < ends[partition]:
                    batches = await consumer.getmany(partition, timeout_ms=200)
                    found += batches.get(partition, [])
    return found


async def _ends(
    bootstrap: str, consumer: AIOKafkaConsumer, wanted: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """Where what is committed ends. A commit is answered before its markers are in the topics: they are
    waited for, but not for long, since a test may leave a transaction open on purpose."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False) as every:
        every.assign(wanted)
        high = await every.end_offsets(wanted)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(wanted)
    for _ in range(MARKER_LOOKS):
        if ends == high:
            break
        await asyncio.sleep(CHECK_SECONDS)
        ends = await consumer.end_offsets(wanted)
    return ends


async def eventually(holds: Callable[[], bool], within_seconds: float = WAIT_SECONDS) -> None:
    """Return when it holds; fail when it does not come to hold in time."""
    async with asyncio.timeout(within_seconds):
        while True:
            if holds():
                return
            await asyncio.sleep(CHECK_SECONDS)


class Breakable(Protocol):
    """A broker of the test's own, to be frozen, thawed, killed and started again at the same address."""

    bootstrap: str

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nobody."""
        ...

    def thaw(self) -> None:
        """SIGCONT."""
        ...


class BreakableEmbedded:
    """An embedded broker; started again it has forgotten everything."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._broker = stack.enter_context(embedded_broker())
        self.bootstrap = self._broker.bootstrap

    def freeze(self) -> None:
        self._broker.process.send_signal(signal.SIGSTOP)
        _await_stopped(self._broker.process.pid)

    def thaw(self) -> None:
        self._broker.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._broker.process.kill()
        self._broker.process.wait()

    def restart(self) -> None:
        """Return when it serves again, at the port where its old connections may still linger."""
        port = int(self.bootstrap.rpartition(":")[2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(child, "require_free", lambda _: None)
            self._broker = self._stack.enter_context(embedded_broker(port=port))


class BreakableKafka:
    """A real Kafka of one node; thawed within its session timeout (9 s) it goes on as if nothing had been."""

    def __init__(self, cluster: Cluster) -> None:
        self._node = cluster.nodes[0]
        self.bootstrap = cluster.bootstrap

    def freeze(self) -> None:
        self._node.freeze()
        _await_stopped(self._node.pid)

    def thaw(self) -> None:
        self._node.thaw()


def _await_stopped(pid: int) -> None:
    """Until then some of its threads may still answer."""
    end = time.monotonic() + WAIT_SECONDS
    threads = Path(f"/proc/{pid}/task")
    while any("(stopped)" not in (each / "status").read_text() for each in threads.iterdir()):
        assert time.monotonic() < end, "the broker does not stop"
        time.sleep(0.001)


@contextmanager
def breakable_embedded() -> Iterator[BreakableEmbedded]:
    """An embedded broker of the test's own."""
    with ExitStack() as stack:
        yield BreakableEmbedded(stack)


def new_tasks(before: "set[asyncio.Task[object]]") -> list[str]:
    """The tasks that run now and did not before, by name and coroutine."""
    return sorted(repr(task) for task in asyncio.all_tasks() - before if not task.done())


def connections_to(bootstrap: str) -> int:
    """How many sockets of this process are connected to the broker."""
    port = f":{int(bootstrap.rpartition(':')[2]):04X}"
    own = set()
    for descriptor in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the one that lists this folder is gone by now
            own.add(str(descriptor.readlink()))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(port) and f"socket:[{row[9]}]" in own for row in rows)


async def publish(bootstrap: str, topic: str, *values: bytes | None, partition: int = 0) -> None:
    """Put records into a partition, as any client would."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, b"k", partition=partition)


async def publish_unreadable(bootstrap: str, topic: str, partition: int = 0) -> None:
    """A record with a header whose name is not UTF-8: brokers take it, and aiokafka cannot read it."""
    name = b"unreadable"
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        built = producer.create_batch()
        built.append(key=b"k", value=b"v", timestamp=None, headers=[(name.decode(), b"")])
        batch = bytearray(built._build().replace(name, b"\xff" * len(name)))
        crc_at, covered_from = 17, 21  # of Kafka's record batch, version 2
        struct.pack_into(">I", batch, crc_at, calc_crc32c(bytes(batch[covered_from:])))
        built._buffer = bytes(batch)
        await (await producer.send_batch(built, topic, partition=partition))
