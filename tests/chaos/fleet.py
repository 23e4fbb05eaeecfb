"""Workers on one broker and one simulator, what was asked of them, and what has come of it."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.errors import KafkaError

from sandbox import child
from sandbox.simulator import Simulator, SimulatorConfig, serve
from service.core.entry import STAMP_HEADER, Stamp
from service.kafka.client import ClusterConfig
from service.kafka.topics import DAY_MS, Creation, Topics, prepare
from tests.chaos.door import Door, door
from tests.chaos.load import Request
from tests.chaos.oracle import Asked, Delivery, Entry, Evidence, Mode
from tests.chaos.reading import BrokerName, Seen, group_offsets, read_topics
from tests.chaos.trap import REACHED, VARIABLE, KillPoint
from tests.integration.stack import ROLES, Scribe, Stack, settings_for

LOOK_SECONDS = 0.05
REACH_SECONDS = 180.0
SUBMIT_SECONDS, SETTLE_SECONDS = "4", "4"
"""So that what is uncertain is settled within seconds; the simulator's clock has to run as ours does."""
CALL_KINDS = ("submit", "query", "list", "cancel")
"""What the account's quota counts."""
COMPLAINTS = (
    "Traceback",
    "never retrieved",
    "was destroyed",
    "Unclosed",
    "never awaited",
    "IllegalTransition",
)
"""What Python writes about tasks, connections and rules of the core that came to a bad end."""
STARTED = "service_started"
NO_BROKER = ("does not answer", "Unable to bootstrap")
"""What a service says that begins while there is no broker."""
TOLERATED = ("_do_commit_offsets", "health_request_failed")
"""aiokafka shields its commit: one that was given up and is refused later has nobody to tell (0.14). A probe
that is given up breaks its connection to the health server."""


@dataclass(frozen=True)
class Setting:
    """Where a fleet runs: which broker, in which mode."""

    broker: BrokerName
    bootstrap: str
    mode: Mode = "at_least_once"
    partitions: int = 3
    replication: int = 1
    session_seconds: float = 4.0

    def variables(self) -> Mapping[str, str]:
        """The service's settings that come of it."""
        return {
            "SCRIBE_KAFKA__DELIVERY": self.mode,
            "SCRIBE_KAFKA__IDEMPOTENT": str(self.broker == "kafka").lower(),
            "SCRIBE_TOPICS__PARTITIONS": str(self.partitions),
            "SCRIBE_TOPICS__REPLICATION": str(self.replication),
            "SCRIBE_LOG__FORMAT": "json",
            "SCRIBE_REQUESTS__FILES_PER_TASK": "100",
            "SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": SUBMIT_SECONDS,
            "SCRIBE_SUBMIT__SETTLE_SECONDS": SETTLE_SECONDS,
        }


@dataclass
class Fleet:
    """The workers, and what was asked of them."""

    setting: Setting
    stack: Stack
    door: Door
    requests: list[Request] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    """The process ids of workers that were meant to die."""
    came: set[str] = field(default_factory=set)
    """The ids of outcomes that a follower has seen: good for waiting; the oracle reads for itself."""

    async def launch(self, point: KillPoint | None = None) -> Scribe:
        """Start a worker, with a kill point perhaps, and wait for nothing."""
        worker = await self.stack.launch(**({VARIABLE: str(point)} if point else {}))
        if point is not None and point.action == "kill":
            self.killed.add(worker.process.pid)
        return worker

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
        await self.send(requests)

    async def send(self, requests: Sequence[Request]) -> None:
        """Publish what is asked for already."""
        await self.stack.publish_all([(each.value(), each.request_id, ()) for each in requests])

    async def until_reached(self, worker: Scribe, point: KillPoint) -> None:
        """Wait until the worker has come to its kill point: it is dead, or frozen, then."""
        pid = worker.process.pid
        async with asyncio.timeout(REACH_SECONDS):
            while not (worker.process.returncode is not None or is_frozen(pid)):
                await asyncio.sleep(LOOK_SECONDS)
        said = worker.log_path.read_text()
        assert f"{REACHED} {point}" in said, f"the worker ended or froze elsewhere:\n{said}"

    async def until_done(self, within_seconds: float) -> None:
        """Wait until every file that was asked for has its outcome; fails when one is late."""
        wanted = {file.id for request in self.requests for file in request.files}
        try:
            async with asyncio.timeout(within_seconds):
                while not wanted <= self.came:
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            late = sorted(wanted - self.came)
            raise AssertionError(f"nothing came of {late}:\n{self.stack.describe([])}") from None

    async def end(self) -> None:
        """Let every worker come to rest by SIGTERM, one after the other."""
        for worker in self.alive():
            worker.process.send_signal(signal.SIGCONT)
            await worker.end()

    async def evidence(self, stalls: Sequence[str] = ()) -> Evidence:
        """What can be seen now; whole once the workers have come to rest."""
        topics, setting = self.stack.topics, self.setting
        # Before the journal: it may only be further then.
        committed = await group_offsets(
            setting.bootstrap, topics["requests"], topics["requests"], setting.partitions
        )
        counts = dict.fromkeys(topics.values(), setting.partitions)
        seen = await read_topics(setting.broker, setting.bootstrap, counts)
        ledger = self.stack.sim.ledger()
        keys = {request.request_id: tuple(f.id for f in request.files) for request in self.requests}
        return Evidence(
            files=[file for request in self.requests for file in request.files],
            deliveries=[_delivery(each) for each in seen if "ce_id" in each.headers],
            billed_urls=[url for entry in ledger.submits for url in entry.task.submission.file_urls],
            calls={kind: [call.wall for call in ledger.calls_of(kind)] for kind in CALL_KINDS},
            asked=[
                Asked(each.partition, each.offset, keys.get(each.key, ()))
                for each in seen
                if each.topic == topics["requests"]
            ],
            journal=[_entry(each) for each in seen if each.topic == topics["journal"]],
            committed=committed,
            trouble=[*self._ends(), *self._complaints()],
            stalls=stalls,
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

    def _complaints(self) -> list[str]:
        return [
            f"worker {worker.log_path.name} wrote: {line[:300]}"
            for worker in self.stack.scribes
            for line in worker.log_path.read_text(errors="replace").splitlines()
            if any(word in line for word in COMPLAINTS) and not any(word in line for word in TOLERATED)
        ]

    async def follow(self) -> None:
        """Note the outcomes as they come, until cancelled; a broker that is away is waited for."""
        while True:
            try:
                async for outcome in self.stack._follow():
                    self.came.add(outcome.id)
            except (KafkaError, AssertionError):
                await asyncio.sleep(1.0)


def _did_not_start(worker: Scribe) -> bool:
    """Told to stop before it heard signals, or begun while there was no broker.

    Whoever runs it starts it again.
    """
    said = worker.log_path.read_text()
    is_told = worker.process.returncode == -signal.SIGTERM or any(words in said for words in NO_BROKER)
    return STARTED not in said and is_told


def is_frozen(pid: int) -> bool:
    """Whether the process is stopped by a signal."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _delivery(seen: Seen) -> Delivery:
    body = json.loads(seen.value or b"{}")
    channels = body.get("transcript", {}).get("channels", [{}]) if "code" not in body else [{}]
    return Delivery(seen.headers["ce_id"].decode(), body.get("code", ""), channels[0].get("text", ""))


def _entry(seen: Seen) -> Entry:
    return Entry(seen.partition, seen.key, seen.value, Stamp.decode(seen.headers[STAMP_HEADER]).epoch)


@asynccontextmanager
async def fleet(setting: Setting, name: str, folder: Path) -> AsyncIterator[Fleet]:
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
    async with serve(config) as sim, door(port, inner_port) as way_in:
        made = Fleet(setting, _stack(setting, topics, sim, folder), way_in)
        await prepare(
            ClusterConfig(setting.bootstrap),
            Topics(*(topics[role] for role in ROLES)),
            Creation(setting.partitions, setting.replication, DAY_MS),
        )
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
