"""Workers on one broker and one simulator, what was asked of them, and what has come of it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from sandbox import child
from sandbox.simulator import Simulator, SimulatorConfig, serve
from service.kafka.admin.topics import DAY_MS, Creation, Topics, prepare
from service.kafka.client.cluster import ClusterConfig
from tests.chaos import clocks, gathering
from tests.chaos.door import Door, door
from tests.chaos.evidence import Evidence
from tests.chaos.load import Record, Request
from tests.chaos.reading import end_offsets, group_offsets, read_topics
from tests.chaos.setting import Setting
from tests.chaos.topics import create
from tests.chaos.trap import DOORS_VARIABLE, REACHED, VARIABLE, KillPoint
from tests.integration.stack import ROLES, Scribe, Stack, settings_for

CHECK_SECONDS = 0.05
REACH_SECONDS = 180.0
STARTED = "service_started"
GROWING = ("requests", "journal")
NO_BROKER = ("does not answer", "does not speak to us", "Unable to bootstrap")
"""What a service says that begins while there is no broker, or none behind its door."""
PORT_TAKEN = "cannot listen on"
"""What a service says whose port was given to somebody else after the harness had looked."""
MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Surroundings:
    """What belongs to one worker: its doors to the broker, and the file with its clock's offset."""

    doors: Sequence[Door] = ()
    offset_path: Path | None = None


@dataclass
class Fleet:
    """The workers, and what was asked of them."""

    setting: Setting
    stack: Stack
    door: Door
    open_doors: AsyncExitStack
    """Closes the workers' doors at the end."""
    partitions: int
    """Of the request topic, now."""
    requests: list[Request] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    """The process ids of workers that were meant to die."""
    came: set[str] = field(default_factory=set)
    """The ids of outcomes that a follower has seen: good for waiting; the oracle reads for itself."""
    places: dict[str, int] = field(default_factory=dict)
    """The partition of each key that was published: what follows on a request goes where it is."""
    around: dict[int, Surroundings] = field(default_factory=dict)
    """By process id."""
    has_variety: bool = False
    """Whether workers get doors and clocks of their own."""

    async def launch(self, point: KillPoint | None = None) -> Scribe:
        """Start a worker, with a kill point perhaps, and wait for nothing."""
        around, variables = await self._surroundings() if self.has_variety else (Surroundings(), {})
        worker = await self.stack.launch(**({VARIABLE: str(point)} if point else {}), **variables)
        self.around[worker.process.pid] = around
        if point is not None and point.action == "kill":
            self.killed.add(worker.process.pid)
        return worker

    async def _surroundings(self) -> tuple[Surroundings, Mapping[str, str]]:
        number = len(self.stack.scribes)
        offset_path = self.stack.folder / f"clock-{number}"
        variables = dict(clocks.environment(offset_path))
        around = Surroundings(offset_path=offset_path if variables else None)
        if number % 2:
            ports = child.free_ports(len(self.setting.broker_ports))
            pairs = zip(ports, self.setting.broker_ports, strict=True)
            doors = [await self.open_doors.enter_async_context(door(port, to)) for port, to in pairs]
            around = replace(around, doors=doors)
            variables[DOORS_VARIABLE] = ",".join(f"{each.to_port}={each.port}" for each in doors)
        return around, variables

    def doors_of(self, worker: Scribe) -> Sequence[Door]:
        """Those between the worker and the broker."""
        return self.around[worker.process.pid].doors

    def clock_of(self, worker: Scribe) -> Path | None:
        """The file with the offset of its wall clock, if that can be stepped."""
        return self.around[worker.process.pid].offset_path

    async def until_ready(self, within_seconds: float) -> None:
        """Wait until every worker that runs is ready."""
        async with asyncio.timeout(within_seconds):
            while not all([await worker.is_ready() for worker in self.alive()]):
                await asyncio.sleep(1.0)

    def alive(self) -> list[Scribe]:
        """The workers that run, or are frozen, in the order of their start."""
        return [worker for worker in self.stack.scribes if worker.process.returncode is None]

    async def kill(self, worker: Scribe) -> None:
        """SIGKILL."""
        self.killed.add(worker.process.pid)
        await worker.end(signal.SIGKILL)

    async def publish(self, requests: Sequence[Request]) -> None:
        """Publish requests; they count as asked from now on."""
        self.requests += requests
        await self.send([request.record() for request in requests])

    async def send(self, records: Sequence[Record]) -> None:
        """Publish records in their order, each where its key has been before."""
        producer = AIOKafkaProducer(bootstrap_servers=self.setting.bootstrap, max_request_size=MOST_BYTES)
        try:
            await producer.start()
            for record in records:
                await producer.send_and_wait(
                    self.stack.topics["requests"],
                    record.value,
                    key=record.key.encode(),
                    partition=self._place(record.key),
                    timestamp_ms=record.timestamp_ms,
                    headers=[(gathering.PURPOSE_HEADER, record.purpose.encode())],
                )
        finally:
            await producer.stop()

    def _place(self, key: str) -> int:
        """Where Java's clients put the key, at the time of its first record."""
        return self.places.setdefault(key, (murmur2(key.encode()) & 0x7FFFFFFF) % self.partitions)

    async def until_reached(self, worker: Scribe, point: KillPoint) -> None:
        """Wait until the worker has come to its kill point: it is dead, or frozen, then."""
        pid = worker.process.pid
        async with asyncio.timeout(REACH_SECONDS):
            while not (worker.process.returncode is not None or is_frozen(pid)):
                await asyncio.sleep(CHECK_SECONDS)
        said = worker.log_path.read_text()
        assert f"{REACHED} {point}" in said, f"the worker ended or froze elsewhere:\n{said}"

    async def until_done(self, within_seconds: float) -> None:
        """Wait until every file that was asked for has its outcome; fails when one is late."""
        wanted = {file.id for request in self.requests for file in request.files}
        try:
            async with asyncio.timeout(within_seconds):
                while not wanted <= self.came:
                    await asyncio.sleep(CHECK_SECONDS)
        except TimeoutError:
            late = sorted(wanted - self.came)
            raise AssertionError(f"nothing came of {late}:\n{self.stack.describe([])}") from None

    async def end(self) -> None:
        """Let every worker come to rest by SIGTERM, one after the other."""
        for worker in self.alive():
            self.thaw(worker)
            await worker.end()

    def thaw(self, worker: Scribe) -> None:
        """SIGCONT, if it has not ended meanwhile."""
        with suppress(ProcessLookupError):
            worker.process.send_signal(signal.SIGCONT)

    async def until_level(self, within_seconds: float) -> None:
        """Wait until the group has committed all that was published, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while not await self._is_level():
                    await asyncio.sleep(1.0)

    async def _is_level(self) -> bool:
        topic = self.stack.topics["requests"]
        try:
            committed = await group_offsets(self.setting.bootstrap, topic, topic, self.partitions)
            ends = await end_offsets(self.setting.bootstrap, topic, self.partitions)
        except KafkaError:
            return False
        return all(committed.get(partition, 0) >= end for partition, end in ends.items())

    async def evidence(self) -> Evidence:
        """What can be seen now; whole once the workers have come to rest."""
        topics, setting = self.stack.topics, self.setting
        # Before the journal: it may only be further then.
        committed = await group_offsets(
            setting.bootstrap, topics["requests"], topics["requests"], self.partitions
        )
        counts = {topics[role]: self.partitions if role in GROWING else setting.partitions for role in ROLES}
        seen = await read_topics(setting.broker, setting.bootstrap, counts)
        ledger = self.stack.sim.ledger()
        return Evidence(
            files=[file for request in self.requests for file in request.files],
            deliveries=gathering.deliveries(seen),
            billed_urls=[url for entry in ledger.submits for url in entry.task.submission.file_urls],
            calls=gathering.calls(ledger),
            asked=gathering.asked(seen, topics["requests"], self.requests),
            journal=gathering.entries(seen, topics["journal"]),
            committed=committed,
            left_behind=[*self._ends(), *gathering.left_behind(self.stack.scribes)],
            crashes=len(self.killed),
            unknown_tasks=gathering.unknown_tasks(ledger),
        )

    def _ends(self) -> list[str]:
        """Workers that ended in another way than they were told to."""
        return [
            f"worker {worker.log_path.name} ended with {worker.process.returncode}"
            for worker in self.stack.scribes
            if worker.process.returncode not in (None, 0)
            and worker.process.pid not in self.killed
            and not _did_not_start(worker)
        ]

    async def follow(self) -> None:
        """Note the outcomes as they come, until cancelled; a broker that is away is waited for."""
        while True:
            try:
                async for outcome in self.stack.follow():
                    self.came.add(outcome.id)
            except (KafkaError, AssertionError):
                await asyncio.sleep(1.0)


def _did_not_start(worker: Scribe) -> bool:
    """Told to stop before it heard signals, begun while there was no broker, or on a port that was taken.

    Whoever runs it starts it again.
    """
    said = worker.log_path.read_text()
    reasons = (*NO_BROKER, PORT_TAKEN)
    is_told = worker.process.returncode == -signal.SIGTERM or any(words in said for words in reasons)
    return STARTED not in said and is_told


def is_frozen(pid: int) -> bool:
    """Whether the process is stopped by a signal."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


@asynccontextmanager
async def fleet(
    setting: Setting, name: str, folder: Path, *, has_variety: bool = False
) -> AsyncIterator[Fleet]:
    """A fleet without workers, its topics made; what is left of workers at the end is killed."""
    topics = {role: f"{name}.{role}" for role in ROLES}
    port, inner_port = child.free_ports(2)
    config = SimulatorConfig(
        port=inner_port,
        public_origin=f"http://127.0.0.1:{port}",
        submit_rpm=None,
        query_qps=None,
        list_qps=None,
        files_per_task=100,
    )
    async with serve(config) as sim, door(port, inner_port) as way_in, AsyncExitStack() as doors:
        stack = _stack(setting, topics, sim, folder)
        made = Fleet(setting, stack, way_in, doors, setting.partitions, has_variety=has_variety)
        names = Topics(*(topics[role] for role in ROLES))
        creation = Creation(setting.partitions, setting.replication, DAY_MS)
        if setting.broker == "kafka":
            await create(setting.bootstrap, names, creation, setting.compaction)
        await prepare(ClusterConfig(setting.bootstrap), names, creation)
        following = asyncio.create_task(made.follow())
        try:
            yield made
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            for worker in made.stack.scribes:
                if worker.process.returncode is None:
                    worker.process.kill()
                await worker.process.wait()


def _stack(setting: Setting, topics: Mapping[str, str], sim: Simulator, folder: Path) -> Stack:
    session_ms = round(1000 * setting.session_seconds)
    settings = settings_for(
        setting.bootstrap, topics, sim, session_ms, transactions=setting.mode == "exactly_once"
    )
    return Stack(
        setting.bootstrap, topics, sim, folder, {**settings, **setting.variables()}, "tests.chaos.worker"
    )
