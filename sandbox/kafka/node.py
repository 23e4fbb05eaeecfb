"""One Apache Kafka node (broker and controller in one JVM): its settings, its folder and its process."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import child, probe
from sandbox.child import ServerStartError
from sandbox.kafka.security import LISTENERS

_FORMAT_SECONDS = 60.0

_JVM_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=INFO")
"""Small, and quick to start on two cores: the serial collector and no second compiler."""


@dataclass(frozen=True)
class Place:
    """Where a node listens: clients at `port`, the other controllers at `controller_port`, on 127.0.0.1.

    `secure_ports` are those of further listeners, by their names (`security.LISTENERS`).
    """

    node_id: int
    port: int
    controller_port: int
    secure_ports: Mapping[str, int] = field(default_factory=dict)

    def listeners(self) -> Iterator[str]:
        """Every address for clients, as Kafka writes it."""
        yield f"PLAINTEXT://127.0.0.1:{self.port}"
        for name, port in self.secure_ports.items():
            yield f"{name}://127.0.0.1:{port}"


@dataclass
class Node:
    """A node that can be ended and started again; it keeps its folder, and so its data, until the end."""

    cluster_id: str
    place: Place
    folder: Path
    java: Path
    jars: Path
    java_options: Sequence[str] = ()
    _runs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.place.port}"

    @property
    def pid(self) -> int:
        return self._runs[-1].pid

    @property
    def log_path(self) -> Path:
        return self.folder / "kafka.log"

    def is_running(self) -> bool:
        return bool(self._runs) and self._runs[-1].poll() is None

    def format(self, settings: Mapping[str, str], options: Sequence[str] = ()) -> None:
        """Write the node's settings and its empty storage, made with `options`. Raises ServerStartError."""
        self.folder.mkdir()
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        format_storage = ["kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(properties)]
        run = subprocess.run(
            self._java([*format_storage, *options]),
            capture_output=True,
            text=True,
            env=_environment(),
            timeout=_FORMAT_SECONDS,
            check=False,
        )
        if run.returncode != 0:
            words = (run.stderr or run.stdout).strip().splitlines()
            raise ServerStartError(
                f"Kafka's storage could not be made: {words[-1] if words else 'no reason given'}"
            )

    def start(self) -> None:
        """Start the process and return at once; `await_ready` tells when it serves."""
        process = child.spawn(
            self._java(["kafka.Kafka", str(self.folder / "server.properties")]),
            name="Apache Kafka",
            folder=self.folder,
            log_path=self.log_path,
            env=_environment(),
        )
        self._runs.append(process)

    def await_ready(self, *, nodes: int, within_seconds: float) -> None:
        """Block until this node answers and knows `nodes` live ones; raises ServerStartError."""
        process = self._runs[-1]
        if not probe.await_brokers(
            self.place.port,
            cluster_id=self.cluster_id,
            count=nodes,
            within_seconds=within_seconds,
            process=process,
        ):
            words = child.why_it_ended(self.log_path)
            raise ServerStartError(f"Kafka node {self.place.node_id} is not ready; its log says: {words}")

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. Does nothing to one that has ended."""
        for process in self._runs:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nobody, as in a long pause of the machine."""
        self._runs[-1].send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was frozen."""
        self._runs[-1].send_signal(signal.SIGCONT)

    def _java(self, program: Sequence[str]) -> list[str]:
        return [str(self.java), *_JVM_OPTIONS, *self.java_options, "-cp", f"{self.jars}/*", *program]


def server_settings(place: Place, cluster: Sequence[Place], folder: Path) -> dict[str, str]:
    """server.properties of one node: Kafka's defaults, but for the addresses and what makes a start quick."""
    copies = str(min(3, len(cluster)))
    enough = str(min(2, len(cluster)))
    clients = ",".join(place.listeners())
    protocols = {"PLAINTEXT": "PLAINTEXT", **{name: LISTENERS[name] for name in place.secure_ports}}
    return {
        "process.roles": "broker,controller",
        "node.id": str(place.node_id),
        "controller.quorum.voters": ",".join(f"{n.node_id}@127.0.0.1:{n.controller_port}" for n in cluster),
        "listeners": f"{clients},CONTROLLER://127.0.0.1:{place.controller_port}",
        "advertised.listeners": clients,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": ",".join(
            ("CONTROLLER:PLAINTEXT", *(f"{name}:{protocol}" for name, protocol in protocols.items()))
        ),
        "log.dirs": str(folder / "data"),
        "default.replication.factor": copies,
        "min.insync.replicas": enough,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": enough,
        # 50 partitions each by default: creating them takes seconds of the first group or transaction.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # A mistyped topic name must be an error here, not a new topic.
        "auto.create.topics.enable": "false",
        # 128 MiB of the small heap by default.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ}
