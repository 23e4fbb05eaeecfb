"""Brokers killed under a running service: nothing is lost, nothing is paid for twice, nothing hangs."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from sandbox import kafka
from sandbox.kafka import Cluster, Node
from sandbox.simulator import SimulatorConfig, serve
from service.kafka.client.lifecycle import stop_producer
from tests.brokers import TopicNames, admin
from tests.integration.deliveries import DELIVERIES
from tests.integration.stack import ROLES, Stack, settings_for, standing
from tests.integration.test_main_job import HELLO, request

pytestmark = [pytest.mark.needs_java, pytest.mark.timeout(420)]

OUTAGE_SECONDS = float(os.environ.get("TEST_OUTAGE_SECONDS", "20"))
"""How long all brokers are away; 120 was run by hand."""
FROZEN_SECONDS = 9.0
"""Longer than the session of a broker, and that of a member of the group."""
FREEZES = 2
GRACE_SECONDS = 10.0
MARGIN_SECONDS = 10.0
"""What a busy machine may take on top of the grace."""
BACK_SECONDS = 90.0
DONE_SECONDS = 120.0
SETTLING = {"SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": "5", "SCRIBE_SUBMIT__SETTLE_SECONDS": "10"}
"""An intent waits for its slot before its POST: when the brokers go then, nobody can write down that nothing
was sent, and the next owner waits until it has settled. By default, with the looks in the list that follow,
that is longer than `DONE_SECONDS`."""
PAUSE_SECONDS = 0.15
"""Between two requests of the traffic."""
LONG = HELLO.replace("run=0.2", "run=30")
"""Three seconds at the simulator's speed: it is open when a broker goes."""
QUICK = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
"""Kafka's defaults are 9 s and 2 s: a killed node is missed, and may come back, only after the first."""


@pytest.fixture(scope="module")
def trio() -> Iterator[Cluster]:
    """Three brokers; topics have three replicas, of which two must have a record."""
    with kafka.real_kafka(nodes=3, settings=QUICK) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def single() -> Iterator[Cluster]:
    """One broker alone."""
    with kafka.real_kafka(settings=QUICK) as cluster:
        yield cluster


@pytest.fixture(params=DELIVERIES)
def delivery(request: pytest.FixtureRequest) -> str:
    """The delivery mode that the service runs in."""
    mode: str = request.param
    return mode


@dataclass
class Traffic:
    """Requests that are published one after the other, each acknowledged by all replicas."""

    stack: Stack
    pause_seconds: float = PAUSE_SECONDS
    published: list[str] = field(default_factory=list)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Publish until it is to end; while no broker takes a request, it is tried again."""
        while not self.ending.is_set():
            producer = AIOKafkaProducer(
                bootstrap_servers=self.stack.bootstrap, acks="all", enable_idempotence=True
            )
            try:
                # A partition without a leader for 40 s makes aiokafka give up; a repeat is recognised.
                with suppress(KafkaError):
                    await producer.start()
                    await self._publish(producer)
            finally:
                await stop_producer(producer)

    async def _publish(self, producer: AIOKafkaProducer) -> None:
        while not self.ending.is_set():
            name = f"f-{len(self.published)}"
            value = request(name, f"{LONG if len(self.published) % 3 else HELLO}&n={len(self.published)}")
            await producer.send_and_wait(
                self.stack.topics["requests"], json.dumps(value).encode(), key=name.encode()
            )
            self.published.append(name)
            await asyncio.sleep(self.pause_seconds)

    async def goes_on(self, count: int = 8) -> None:
        """Wait until so many more have been published."""
        wanted = len(self.published) + count
        await self.stack.until(lambda: len(self.published) >= wanted, BACK_SECONDS)


@asynccontextmanager
async def traffic(stack: Stack, pause_seconds: float = PAUSE_SECONDS) -> AsyncIterator[Traffic]:
    """Requests for as long as the block lasts; the last one has arrived when it is left."""
    flowing = Traffic(stack, pause_seconds)
    async with asyncio.timeout(4 * BACK_SECONDS + OUTAGE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(flowing.run())
        try:
            yield flowing
        finally:
            flowing.ending.set()


@asynccontextmanager
async def stack_on(
    cluster: Cluster, delivery: str, topic_names: TopicNames, folder: Path
) -> AsyncIterator[Stack]:
    """A stack on a cluster of the test's own, with as many replicas as it has nodes."""
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    async with serve(SimulatorConfig(speed=10)) as sim:
        settings = {
            **settings_for(cluster.bootstrap, topics, sim, 6_000, transactions=True),
            **DELIVERIES[delivery],
            **SETTLING,
            "SCRIBE_TOPICS__REPLICATION": str(len(cluster.nodes)),
            "SCRIBE_SHUTDOWN__GRACE_SECONDS": str(GRACE_SECONDS),
        }
        async with standing(Stack(cluster.bootstrap, topics, sim, folder, settings)) as stack:
            yield stack


async def start_again(node: Node, cluster: Cluster) -> None:
    """Start a killed node; return when every node serves."""
    node.start()  # in this thread, with whose end the node ends
    await asyncio.to_thread(cluster.await_ready, within_seconds=BACK_SECONDS)


async def all_end_well(stack: Stack, published: list[str], delivery: str, *codes: str) -> None:
    """Every request has one outcome id and was paid for once; `codes` are those that a failure may have."""
    await outcome_ids(stack, set(published))
    # A request that was published again, because its answer was lost, may have ended meanwhile.
    outcomes = [each for each in await stack.all_outcomes() if each.body.get("code") != "already_finished"]
    failed = {outcome.body["code"] for outcome in outcomes if outcome.kind == "failure"}
    assert failed <= set(codes), stack.describe(outcomes)
    counts = Counter(outcome.id for outcome in outcomes)
    assert counts.keys() == {f"{name}/0/0" for name in published}
    if delivery == "exactly_once":
        assert set(counts.values()) == {1}
    paid = stack.sim.ledger().submitted_urls()
    assert len(paid) == len(published)
    assert set(paid.values()) == {1}


async def outcome_ids(stack: Stack, names: set[str]) -> None:
    """Wait until each request has an outcome."""
    missing = names
    try:
        async with asyncio.timeout(DONE_SECONDS):
            while missing := names - {outcome.key for outcome in await stack.all_outcomes()}:
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise AssertionError(f"no outcome of {sorted(missing)}:\n{stack.logs()[-6000:]}") from None


async def leaders(stack: Stack) -> dict[tuple[str, int], int]:
    """The leading node of each partition, once each has all its replicas in step."""
    async with admin(stack.bootstrap) as client:
        async with asyncio.timeout(BACK_SECONDS):
            while True:
                partitions = {
                    (topic["topic"], partition["partition"]): partition
                    for topic in await client.describe_topics(list(stack.topics.values()))
                    for partition in topic["partitions"]
                }
                if all(len(each["isr"]) == len(each["replicas"]) for each in partitions.values()):
                    return {name: each["leader"] for name, each in partitions.items()}
                await asyncio.sleep(0.2)


async def test_every_leader_may_be_killed_in_turn_while_requests_are_served(
    trio: Cluster, delivery: str, topic_names: TopicNames, tmp_path: Path
) -> None:
    async with stack_on(trio, delivery, topic_names, tmp_path) as stack:
        scribe = await stack.start()
        async with traffic(stack) as flowing:
            waiting = set(await leaders(stack))
            while waiting:
                leading = await leaders(stack)
                leader = leading[min(waiting)]
                waiting -= {partition for partition, node in leading.items() if node == leader}
                await flowing.goes_on()
                node = trio.nodes[leader - 1]
                node.kill()
                await flowing.goes_on()
                await start_again(node, trio)
        await all_end_well(stack, flowing.published, delivery)
        assert await scribe.end() == 0


async def test_all_brokers_may_be_away_for_long(
    trio: Cluster, delivery: str, topic_names: TopicNames, tmp_path: Path
) -> None:
    async with stack_on(trio, delivery, topic_names, tmp_path) as stack:
        await outlive_an_outage(stack, trio, delivery, OUTAGE_SECONDS)


async def test_a_service_ends_in_time_without_any_broker_and_the_next_one_goes_on(
    single: Cluster, delivery: str, topic_names: TopicNames, tmp_path: Path
) -> None:
    async with stack_on(single, delivery, topic_names, tmp_path) as stack:
        scribe = await stack.start()
        async with traffic(stack) as flowing:
            await flowing.goes_on(15)
            single.kill()
            async with asyncio.timeout(GRACE_SECONDS + MARGIN_SECONDS):
                assert await scribe.end() == 0
            await start_all_again(single)
            await flowing.goes_on()
        next_one = await stack.start()
        # An answer that no broker could take down went with the process: that is told, and not paid again.
        await all_end_well(stack, flowing.published, delivery, "submit_uncertain")
        assert await next_one.end() == 0


async def test_a_single_broker_may_be_killed_and_started_again(
    single: Cluster, delivery: str, topic_names: TopicNames, tmp_path: Path
) -> None:
    async with stack_on(single, delivery, topic_names, tmp_path) as stack:
        await outlive_an_outage(stack, single, delivery, seconds=0)


async def test_a_broker_that_freezes_for_longer_than_any_session_ends_no_process(
    single: Cluster, delivery: str, topic_names: TopicNames, tmp_path: Path
) -> None:
    """Thawed, it is fenced by its own controller and names no broker at all: aiokafka knows no such thing."""
    async with stack_on(single, delivery, topic_names, tmp_path) as stack:
        scribes = [await stack.start(), await stack.start()]
        async with traffic(stack) as flowing:
            await flowing.goes_on(15)
            for _ in range(FREEZES):
                single.nodes[0].freeze()
                await asyncio.sleep(FROZEN_SECONDS)
                single.nodes[0].thaw()
                await flowing.goes_on()
        await all_end_well(stack, flowing.published, delivery, "submit_uncertain")
        assert [await scribe.end() for scribe in scribes] == [0, 0], stack.logs()[-6000:]


async def outlive_an_outage(stack: Stack, cluster: Cluster, delivery: str, seconds: float) -> None:
    """Kill all brokers amid traffic and start them again later: nothing is lost, the service ends well."""
    scribe = await stack.start()
    async with traffic(stack) as flowing:
        await flowing.goes_on(15)
        cluster.kill()
        await asyncio.sleep(seconds)
        assert (await scribe.get("livez")).status_code == 200
        await start_all_again(cluster)
        await flowing.goes_on()
    await all_end_well(stack, flowing.published, delivery)
    assert await scribe.end() == 0


async def start_all_again(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.start()
    await asyncio.to_thread(cluster.await_ready, within_seconds=BACK_SECONDS)
