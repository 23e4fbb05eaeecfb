"""Scribe as its users meet it: a service, a broker, the simulator, and clients that know only JSON."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from sandbox.child import die_with_parent, free_ports
from sandbox.simulator import Simulator
from tests.plugins.environment import NO_TRUST

READY_SECONDS = 120.0
OUTCOME_SECONDS = 120.0
EXIT_SECONDS = 90.0
CHECK_SECONDS = 0.05
FETCH_WAIT_MS = 60
"""The embedded broker answers a fetch that finds nothing after so long, not when a record comes. Each costs
both sides processor time, and many services that wait make a lot of it."""
ROLES = ("requests", "results", "failures", "journal")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One record of the results or the failures topic."""

    kind: str
    key: str
    headers: Mapping[str, str]
    body: Record
    partition: int
    offset: int

    @property
    def id(self) -> str:
        """The CloudEvents id."""
        return self.headers["ce_id"]


@dataclass
class Scribe:
    """One service process."""

    process: asyncio.subprocess.Process
    port: int
    log_path: Path

    async def get(self, page: str) -> httpx.Response:
        """One of the pages of the health server."""
        # A context of certificates takes longer to load than the answer to come.
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            return await client.get(f"http://127.0.0.1:{self.port}/{page}", timeout=30)

    async def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return (await self.get("readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def counted(self, counter: str) -> dict[str, int]:
        """What a counter with one label says, by the label's value; zeros are left out."""
        found: dict[str, int] = {}
        for line in (await self.get("metrics")).text.splitlines():
            if line.startswith(f"{counter}{{") and not line.endswith(" 0.0"):
                found[line.split('"')[1]] = round(float(line.rpartition(" ")[2]))
        return found

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the process and wait for its exit code; fails when it does not come."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.ended()

    async def ended(self) -> int:
        """The exit code of a process that ends by itself; fails when it does not come."""
        async with asyncio.timeout(EXIT_SECONDS):
            return await self.process.wait()


@dataclass
class Stack:
    """A broker's four topics, a simulator and how to start services on them."""

    bootstrap: str
    topics: Mapping[str, str]
    sim: Simulator
    folder: Path
    settings: Mapping[str, str]
    module: str = "service"
    """What `python -m MODULE run` starts a service."""
    scribes: list[Scribe] = field(default_factory=list)

    async def start(self, **settings: str) -> Scribe:
        """Start a service process and wait until it is ready."""
        scribe = await self.launch(**settings)
        await self.until_ready(scribe)
        return scribe

    async def until_ready(self, scribe: Scribe) -> None:
        """Wait until the service is ready; fails when it ends instead."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await scribe.is_ready():
                    ended = scribe.process.returncode is not None
                    assert not ended, f"the service ended at its start:\n{scribe.log_path.read_text()}"
                    await asyncio.sleep(CHECK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"the service is not ready:\n{scribe.log_path.read_text()}") from None

    async def launch(self, **settings: str) -> Scribe:
        """Start a service process, and wait for nothing."""
        port = self._unused_port()
        log_path = self.folder / f"scribe-{port}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **NO_TRUST,
            **self.settings,
            "SCRIBE_HTTP__PORT": str(port),
            **settings,
        }
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module, "run"),
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # a run that is killed leaves no service behind
            )
        self.scribes.append(Scribe(process, port, log_path))
        return self.scribes[-1]

    def _unused_port(self) -> int:
        """One that no process of this stack had: whoever is told so late may not have let go of it yet."""
        while (port := free_ports(1)[0]) in {scribe.port for scribe in self.scribes}:
            pass
        return port

    async def publish(
        self,
        value: Record | bytes | None,
        key: str | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Publish one record as any producer would; a mapping becomes JSON, its request_id the key."""
        await self.publish_all([(value, key, headers)])

    async def publish_all(
        self, records: Sequence[tuple[Record | bytes | None, str | None, Sequence[tuple[str, bytes]]]]
    ) -> None:
        """Publish records in their order."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, max_request_size=4 * 1024 * 1024)
        try:
            await producer.start()
            for value, key, headers in records:
                payload = json.dumps(value).encode() if isinstance(value, Mapping) else value
                name = key or (str(value["request_id"]) if isinstance(value, Mapping) else "no-key")
                await producer.send_and_wait(
                    self.topics["requests"], payload, key=name.encode(), headers=list(headers)
                )
        finally:
            await producer.stop()

    async def write_to(self, role: str, value: bytes, key: bytes) -> None:
        """Write a record to one of the topics, past the service."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            await producer.send_and_wait(self.topics[role], value, key=key)

    async def outcomes(self, count: int, seconds: float = OUTCOME_SECONDS) -> list[Outcome]:
        """All outcomes so far, once there are `count`; fails when they do not come."""
        found: list[Outcome] = []
        try:
            async with asyncio.timeout(seconds):
                async for outcome in self.follow():
                    found.append(outcome)
                    if len(found) >= count:
                        break
        except TimeoutError:
            raise AssertionError(f"{len(found)} of {count} outcomes came:\n{self.describe(found)}") from None
        return await self.all_outcomes()

    async def all_outcomes(self) -> list[Outcome]:
        """Every outcome that is in the topics now."""
        async with self._reader("results", "failures") as (consumer, partitions):
            ends = await consumer.end_offsets(partitions)
            found: list[Outcome] = []
            async with asyncio.timeout(OUTCOME_SECONDS):
                while any([await consumer.position(each) < ends[each] for each in partitions]):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found += [self._outcome(record) for record in records]
            return found

    async def journal(self) -> list[Any]:
        """Every record of the journal."""
        return await self.records("journal")

    async def records(self, role: str) -> list[Any]:
        """Every record that is in a topic now, in the order of its partitions' offsets."""
        async with self._reader(role) as (consumer, partitions):
            ends = await consumer.end_offsets(partitions)
            found: list[Any] = []
            async with asyncio.timeout(OUTCOME_SECONDS):
                while any([await consumer.position(each) < ends[each] for each in partitions]):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found += records
            return found

    async def until(self, condition: Any, seconds: float = 60.0) -> None:
        """Wait until `condition()` holds; fails when it does not."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(CHECK_SECONDS)

    def describe(self, found: Sequence[Outcome]) -> str:
        """What came, and what the services logged: for a failure's message."""
        logs = "\n".join(scribe.log_path.read_text()[-4000:] for scribe in self.scribes)
        return "\n".join(f"{each.kind} {each.id}" for each in found) + "\n" + logs

    def logs(self) -> str:
        """All that the services wrote."""
        return "\n".join(scribe.log_path.read_text() for scribe in self.scribes)

    async def follow(self) -> AsyncIterator[Outcome]:
        """Every outcome that is in the topics and that comes."""
        async with self._reader("results", "failures") as (consumer, _):
            async for record in consumer:
                yield self._outcome(record)

    @asynccontextmanager
    async def _reader(self, *roles: str) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=32 * 1024 * 1024,
        )
        await consumer.start()
        try:
            partitions = [
                TopicPartition(self.topics[role], partition)
                for role in roles
                for partition in sorted(await self._partitions(consumer, self.topics[role]))
            ]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            yield consumer, partitions
        finally:
            await consumer.stop()

    async def _partitions(self, consumer: AIOKafkaConsumer, topic: str) -> set[int]:
        await consumer._client._wait_on_metadata(topic)
        partitions: set[int] = consumer.partitions_for_topic(topic)
        return partitions

    def _outcome(self, record: Any) -> Outcome:
        kind = "result" if record.topic == self.topics["results"] else "failure"
        headers = {name: value.decode("latin-1") for name, value in record.headers}
        key = (record.key or b"").decode()
        return Outcome(kind, key, headers, json.loads(record.value), record.partition, record.offset)


@asynccontextmanager
async def standing(stack: Stack) -> AsyncIterator[Stack]:
    """The stack for a block; service processes that are left then are killed."""
    try:
        yield stack
    finally:
        for scribe in stack.scribes:
            if scribe.process.returncode is None:
                scribe.process.kill()
            await scribe.process.wait()


def settings_for(
    bootstrap: str, topics: Mapping[str, str], sim: Simulator, session_timeout_ms: int, *, transactions: bool
) -> dict[str, str]:
    """The environment of a service on this broker and this simulator, in the mode the broker allows."""
    return {
        "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "SCRIBE_KAFKA__GROUP_ID": topics["requests"],
        "SCRIBE_KAFKA__DELIVERY": "exactly_once" if transactions else "at_least_once",
        "SCRIBE_KAFKA__IDEMPOTENT": str(transactions).lower(),
        "SCRIBE_KAFKA__FETCH_MAX_WAIT_MS": str(FETCH_WAIT_MS),
        "SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS": str(session_timeout_ms / 1000),
        **{f"SCRIBE_TOPICS__{role.upper()}": topics[role] for role in ROLES},
        "SCRIBE_TOPICS__REPLICATION": "1",
        "SCRIBE_TOPICS__PARTITIONS": "3",
        "SCRIBE_PROVIDER__BASE_URL": sim.base_url,
        "SCRIBE_PROVIDER__API_KEY": "sk-simulator",
        "SCRIBE_FETCH__PLAIN_HTTP_HOSTS": "127.0.0.1",
        "SCRIBE_HTTP__HOST": "127.0.0.1",
    }
