"""Starts and stops Apache Kafka nodes in a temporary folder; what a node holds is gone with the cluster."""

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import child
from sandbox.child import ServerStartError
from sandbox.kafka.jars import fetch_jars, find_java
from sandbox.kafka.node import Node, Place, server_settings
from sandbox.kafka.security import LISTENERS, Security

_READY_SECONDS = 60.0
_TRIES = 3


@dataclass(frozen=True)
class Cluster:
    """Nodes of one cluster. `bootstrap` names all of them, separated by commas."""

    nodes: tuple[Node, ...]

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def secure_bootstrap(self, listener: str) -> str:
        """What clients of this listener connect to; only a cluster with `security` has any."""
        return ",".join(f"127.0.0.1:{node.place.secure_ports[listener]}" for node in self.nodes)

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
    *,
    nodes: int = 1,
    port: int | None = None,
    settings: Mapping[str, str] | None = None,
    security: Security | None = None,
) -> Iterator[Cluster]:
    """Start a cluster that serves requests when the block is entered and is gone when it is left.

    `settings` are added to every node's server.properties. `port` is the first node's; without it a free
    one is taken. `security` adds listeners with TLS and logins, and an authorizer. Fetches the jars when
    they are not there. Call it from a thread that outlives the block (see child.spawn). Raises
    ServerStartError.
    """
    if port:
        child.require_free(port)
    wanted = _Wanted(nodes, port, settings or {}, security, Path(find_java()), fetch_jars())
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
    security: Security | None
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
    places = _places(wanted)
    java_options = wanted.security.java_options if wanted.security else []
    nodes = tuple(
        Node(cluster_id, place, folder / f"node-{place.node_id}", wanted.java, wanted.jars, java_options)
        for place in places
    )
    secured = wanted.security.settings() if wanted.security else {}
    options = wanted.security.format_options() if wanted.security else ()
    for node in nodes:
        own = server_settings(node.place, places, node.folder)
        node.format({**own, **secured, **wanted.settings}, options)
    return Cluster(nodes)


def _places(wanted: _Wanted) -> list[Place]:
    secure = LISTENERS if wanted.security else {}
    per_node = 2 + len(secure)
    ports = iter(child.free_ports(per_node * wanted.nodes))
    places = [
        Place(number + 1, next(ports), next(ports), {name: next(ports) for name in secure})
        for number in range(wanted.nodes)
    ]
    if wanted.first_port:
        places[0] = replace(places[0], port=wanted.first_port)
    return places
