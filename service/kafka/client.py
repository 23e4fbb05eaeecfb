"""How this process reaches Kafka: the settings every client shares, and foreign errors made ours."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal, TypedDict

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from service.errors import ClusterError

REQUEST_TIMEOUT_MS = 40_000
"""Bounds every request, JoinGroup among them: it must be longer than the rebalance timeout (25 s)."""


class Connection(TypedDict, total=False):
    """The keyword arguments that every aiokafka client takes."""

    bootstrap_servers: str
    client_id: str
    request_timeout_ms: int
    security_protocol: str
    sasl_mechanism: str
    sasl_plain_username: str
    sasl_plain_password: str
    ssl_context: ssl.SSLContext


SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Where the cluster is and how to log in."""

    bootstrap_servers: str
    client_id: str = "scribe"
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ca_file: str | None = None

    def connection(self) -> Connection:
        """The arguments for a client."""
        arguments = Connection(
            bootstrap_servers=self.bootstrap_servers,
            client_id=self.client_id,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            security_protocol=self.security_protocol,
        )
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username or ""
            arguments["sasl_plain_password"] = (
                self.sasl_password.get_secret_value() if self.sasl_password else ""
            )
        return arguments


@asynccontextmanager
async def reader(cluster: ClusterConfig, fetch_max_wait_ms: int) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, for reading partitions by hand; it sees uncommitted records too."""
    consumer = AIOKafkaConsumer(
        **cluster.connection(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=fetch_max_wait_ms,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    try:
        with translated():
            await consumer.start()
        # aiokafka's stop() raises CancelledError when its side task never had a turn.
        await asyncio.sleep(0)
        yield consumer
    finally:
        await consumer.stop()


@contextmanager
def translated() -> Iterator[None]:
    """Turn what aiokafka raises, and a bound that was missed, into `ClusterError`."""
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        raise ClusterError(f"{type(error).__name__}: {error}") from error


def unreachable(cluster: ClusterConfig, error: Exception) -> str:
    """The sentence for a cluster that does not answer."""
    reason = f"{type(error).__name__}: {error}"
    return f"Kafka at {cluster.bootstrap_servers} does not answer ({reason}); check SCRIBE_KAFKA__BOOTSTRAP_SERVERS"
