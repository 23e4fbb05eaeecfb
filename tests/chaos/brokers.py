"""Brokers of a run's own, which acts may restart, and what can be done to them besides."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from sandbox import kafka
from sandbox.broker import EmbeddedBroker, embedded_broker
from service.core.entry import CURSOR_KEY, STAMP_HEADER, Stamp, encode_cursor
from service.core.record import Cursor
from tests.chaos.reading import BrokerName

STRANGER_SECONDS = 20.0
READY_SECONDS = 60.0
GROUP_SECONDS = 30.0


class Broker(Protocol):
    """What acts do to a broker; what it cannot do it leaves out."""

    bootstrap: str

    async def restart(self, draw: float, seconds: float) -> None:
        """Be away for a while; of several nodes the one that `draw` picks: its leaders move."""
        ...

    async def forget_group(self, group: str) -> None:
        """Remove the offsets of a group that has no members."""
        ...

    async def hold_transaction(self, topic: str, partition: int, seconds: float, *, commit: bool) -> None:
        """Write to a partition in a foreign transaction that stays open for a while."""
        ...


class OneKafka:
    """Real Kafka."""

    def __init__(self, cluster: kafka.Cluster) -> None:
        self._cluster = cluster
        self.bootstrap = cluster.bootstrap

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
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        async with asyncio.timeout(GROUP_SECONDS):
            while not await asyncio.to_thread(_forgets, admin, group):
                # Members that were killed count until their session ends.
                await asyncio.sleep(1.0)

    async def hold_transaction(self, topic: str, partition: int, seconds: float, *, commit: bool) -> None:
        """The record is a cursor of epoch 0: a restore must not believe it, committed or not."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": f"stranger.{topic}.{partition}"}
        )
        await asyncio.to_thread(producer.init_transactions, STRANGER_SECONDS)
        producer.begin_transaction()
        producer.produce(
            topic,
            key=CURSOR_KEY.encode(),
            value=encode_cursor(Cursor(0)),
            partition=partition,
            headers=[(STAMP_HEADER, Stamp(0, 0).encode())],
        )
        await asyncio.to_thread(producer.flush, STRANGER_SECONDS)
        await asyncio.sleep(seconds)
        end = producer.commit_transaction if commit else producer.abort_transaction
        await asyncio.to_thread(end, STRANGER_SECONDS)


def _forgets(admin: AdminClient, group: str) -> bool:
    [deleting] = admin.delete_consumer_groups([group], request_timeout=10).values()
    try:
        deleting.result(15)
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
    return True


class OneEmbedded:
    """The embedded broker: started again it would have forgotten everything, so it is only frozen."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._process = broker.process
        self.bootstrap = broker.bootstrap

    async def restart(self, draw: float, seconds: float) -> None:
        """SIGSTOP for a while."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def forget_group(self, group: str) -> None:
        """It cannot."""

    async def hold_transaction(self, topic: str, partition: int, seconds: float, *, commit: bool) -> None:
        """It has no transactions."""


@contextmanager
def own_broker(name: BrokerName, nodes: int) -> Iterator[Broker]:
    """A broker that serves in the block and is gone after it."""
    if name == "embedded":
        with embedded_broker() as embedded:
            yield OneEmbedded(embedded)
    else:
        with kafka.real_kafka(nodes=nodes) as cluster:
            yield OneKafka(cluster)
