"""Starts and stops Apache Kafka nodes in a temporary folder; what a node holds is gone with the cluster."""

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import child
from sandbox.child import ServerStartError
from sandbox.kafka.jars import fetch_jars, find_java
from sandbox.kafka.node import Node, Place, server_settings

_READY_SECONDS = 60.0
_TRIES = 3


@dataclass(frozen=True)
class Cluster:
    """Nodes of one cluster. `bootstrap` names all of them, separated by commas."""

    nodes: tuple[Node, ...]

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def is_running(self) -> bool:
        return all(node.is_running() for node in self.nodes)

    def await_ready(self, *, within_seconds: float = _READY_SECONDS) -> None:
        """Block (so not in a coroutine) until every node answers and knows all; raises ServerStartError."""
        deadline = time.monotonic() + within_seconds
        for node in self.nodes:
            node.await_ready(nodes=len(self.nodes), within_seconds=deadline - time.monotonic())

    def kill(self) -> None:
        """End all nodes and reap them; their folders stay."""
        for node in self.nodes:
            node.kill()


@contextmanager
def real_kafka(
    *, nodes: int = 1, port: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Start a cluster that serves requests when the block is entered and is gone when it is left.

    `settings` are added to every node's server.properties. `port` is the first node's; without it a free
    one is taken. Fetches the jars when they are not there. Call it from a thread that outlives the block
    (see child.spawn). Raises ServerStartError.
    """
    if port:
        child.require_free(port)
    wanted = _Wanted(nodes, port, settings or {}, Path(find_java()), fetch_jars())
    with tempfile.TemporaryDirectory(prefix="scribe-kafka-", ignore_cleanup_errors=True) as folder:
        cluster = _start(Path(folder), wanted)
        try:
            yield cluster
        finally:
            cluster.kill()


@dataclass(frozen=True)
class _Wanted:
    nodes: int
    first_port: int | None
    settings: Mapping[str, str]
    java: Path
    jars: Path


def _start(folder: Path, wanted: _Wanted) -> Cluster:
    # A free port may be taken between the look and the start: Kafka then ends, and others are tried.
    tries = 1 if wanted.first_port else _TRIES
    for left in reversed(range(tries)):
        cluster = _formatted(folder / f"cluster-{left}", wanted)
        try:
            for node in cluster.nodes:
                node.start()
            cluster.await_ready()
        except BaseException as error:
            cluster.kill()
            if left and isinstance(error, ServerStartError):
                continue
            raise
        return cluster
    raise AssertionError("the last try returns or raises")


def new_cluster_id() -> str:
    """16 random bytes as Kafka writes them; one that began with a dash would read as an option."""
    return "S" + secrets.token_urlsafe(16)[1:]


def _formatted(folder: Path, wanted: _Wanted) -> Cluster:
    folder.mkdir()
    cluster_id = new_cluster_id()
    ports = child.free_ports(2 * wanted.nodes)
    places = [Place(n + 1, ports[2 * n], ports[2 * n + 1]) for n in range(wanted.nodes)]
    if wanted.first_port:
        places[0] = Place(1, wanted.first_port, places[0].controller_port)
    nodes = tuple(
        Node(cluster_id, place, folder / f"node-{place.node_id}", wanted.java, wanted.jars)
        for place in places
    )
    for node in nodes:
        own = server_settings(node.place, places, node.folder)
        node.format({**own, **wanted.settings})
    return Cluster(nodes)
