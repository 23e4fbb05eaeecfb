"""Brokers of a run's own, which acts may restart, and what can be done to them besides."""

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from aiokafka.admin import NewPartitions
from aiokafka.errors import InvalidPartitionsError
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.protocol.admin import DeleteGroupsRequest
from confluent_kafka import KafkaException, Producer

from sandbox import kafka
from sandbox.broker import EmbeddedBroker, embedded_broker
from service.core.job.request_record import Cursor
from service.core.journal.entries import encode_cursor
from service.core.journal.stamp import STAMP_HEADER, Stamp, cursor_key
from tests.brokers import admin
from tests.chaos.reading import BrokerName

STRANGER_SECONDS = 20.0
READY_SECONDS = 60.0
GROUP_SECONDS = 90.0
NONE, GROUP_ID_NOT_FOUND = 0, 69
"""Kafka's codes."""
QUICK_CLEANER = {"log.cleaner.backoff.ms": "200"}
"""How long the cleaner rests that found nothing to do (15 s by default)."""


class Broker(Protocol):
    """What acts do to a broker; what it cannot do it leaves out."""

    bootstrap: str
    ports: list[int]
    """Where its nodes listen."""

    async def restart(self, draw: float, seconds: float) -> None:
        """Be away for a while; of several nodes the one that `draw` picks: its leaders move."""
        ...

    async def forget_group(self, group: str) -> None:
        """Remove the offsets of a group that has no members."""
        ...

    async def hold_transaction(self, topic: str, partition: int, seconds: float, *, commit: bool) -> bool:
        """Write to a partition in a foreign transaction that stays open for a while; False if it cannot."""
        ...

    async def grow(self, topic: str, partitions: int) -> bool:
        """Give a topic more partitions; False if it cannot."""
        ...

    def compacted(self, topic: str) -> Mapping[int, int]:
        """Up to which offset each partition of a topic has been compacted, where it has been."""
        ...


class OneKafka:
    """Real Kafka."""

    def __init__(self, cluster: kafka.Cluster) -> None:
        self._cluster = cluster
        self.bootstrap = cluster.bootstrap
        self.ports = [node.place.port for node in cluster.nodes]

    async def restart(self, draw: float, seconds: float) -> None:
        """SIGKILL, and a new start from the folder; a single node is away for some seconds anyway."""
        nodes = self._cluster.nodes
        node = nodes[int(draw * len(nodes))]
        node.kill()
        if len(nodes) > 1:
            await asyncio.sleep(seconds)
        node.start()
        await asyncio.to_thread(node.await_ready, nodes=len(nodes), within_seconds=READY_SECONDS)

    async def forget_group(self, group: str) -> None:
        """As an operator does, or the retention of offsets."""
        async with asyncio.timeout(GROUP_SECONDS):
            while not await _forgets(self.bootstrap, group):
                # Members that were killed count until their session ends.
                await asyncio.sleep(1.0)

    async def hold_transaction(self, topic: str, partition: int, seconds: float, *, commit: bool) -> bool:
        """The record is a cursor of epoch 0: a restore must not believe it, committed or not."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": f"stranger.{topic}.{partition}"}
        )
        try:
            await asyncio.to_thread(producer.init_transactions, STRANGER_SECONDS)
            producer.begin_transaction()
            producer.produce(
                topic,
                key=cursor_key(0).encode(),
                value=encode_cursor(Cursor(0)),
                partition=partition,
                headers=[(STAMP_HEADER, Stamp(0, 0).encode())],
            )
            await asyncio.to_thread(producer.flush, STRANGER_SECONDS)
            await asyncio.sleep(seconds)
            end = producer.commit_transaction if commit else producer.abort_transaction
            await asyncio.to_thread(end, STRANGER_SECONDS)
        except KafkaException:
            return False  # a busy broker did not answer in time: its transaction ends by itself
        return True

    async def grow(self, topic: str, partitions: int) -> bool:
        """As an operator does."""
        try:
            async with asyncio.timeout(GROUP_SECONDS), admin(self.bootstrap) as client:
                await client.create_partitions({topic: NewPartitions(partitions)})
        except InvalidPartitionsError:
            pass  # it has them from a try whose answer was lost
        except (AioKafkaError, TimeoutError):
            return False
        return True

    def compacted(self, topic: str) -> Mapping[int, int]:
        """What the cleaners of all nodes have written down of their work."""
        found: dict[int, int] = {}
        for node in self._cluster.nodes:
            for path in node.folder.glob("data/cleaner-offset-checkpoint"):
                for line in path.read_text().splitlines()[2:]:
                    name, partition, offset = line.rsplit(" ", 2)
                    if name == topic:
                        found[int(partition)] = max(int(offset), found.get(int(partition), 0))
        return found


async def _forgets(bootstrap: str, group: str) -> bool:
    """Whether the group is gone now. librdkafka's way ends the process when brokers go away meanwhile."""
    try:
        async with admin(bootstrap) as client:
            node = await client.find_coordinator(group)
            answer = await client._send_request_to_node(node, DeleteGroupsRequest([group]))
    except (AioKafkaError, TimeoutError):
        return False
    return all(code in (NONE, GROUP_ID_NOT_FOUND) for _, code in answer.results)


class OneEmbedded:
    """The embedded broker: started again it would have forgotten everything, so it is only frozen."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._process = broker.process
        self.bootstrap = broker.bootstrap
        self.ports = [int(broker.bootstrap.rpartition(":")[2])]

    async def restart(self, draw: float, seconds: float) -> None:
        """SIGSTOP for a while."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def forget_group(self, group: str) -> None:
        """It cannot."""

    async def hold_transaction(self, topic: str, partition: int, seconds: float, *, commit: bool) -> bool:
        """It has no transactions."""
        return False

    async def grow(self, topic: str, partitions: int) -> bool:
        """It cannot."""
        return False

    def compacted(self, topic: str) -> Mapping[int, int]:
        """It compacts nothing."""
        return {}


@contextmanager
def own_broker(name: BrokerName, nodes: int) -> Iterator[Broker]:
    """A broker that serves in the block and is gone after it. Kafka's compacts whatever it may at once."""
    if name == "embedded":
        with embedded_broker() as embedded:
            yield OneEmbedded(embedded)
    else:
        with kafka.real_kafka(nodes=nodes, settings=QUICK_CLEANER) as cluster:
            yield OneKafka(cluster)
