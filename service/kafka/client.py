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

from service.errors import ClusterError, ConfigError
from service.kafka.closing import close_consumer

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


Isolation = Literal["read_committed", "read_uncommitted"]
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
    request_timeout_ms: int = REQUEST_TIMEOUT_MS

    @property
    def bound_seconds(self) -> float:
        """How long a few requests in a row may take: a frozen broker uses up the first one."""
        return 1.5 * self.request_timeout_ms / 1000

    def connection(self) -> Connection:
        """The arguments for a client; raises `ConfigError` when `ca_file` holds no certificates."""
        arguments = Connection(
            bootstrap_servers=self.bootstrap_servers,
            client_id=self.client_id,
            request_timeout_ms=self.request_timeout_ms,
            security_protocol=self.security_protocol,
        )
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self._trust()
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username or ""
            arguments["sasl_plain_password"] = (
                self.sasl_password.get_secret_value() if self.sasl_password else ""
            )
        return arguments

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise ConfigError(f"no certificates can be read from {self.ca_file} ({reason(error)})") from error


@asynccontextmanager
async def reader(
    cluster: ClusterConfig, fetch_max_wait_ms: int, isolation: Isolation = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, for reading partitions by hand.

    The `end_offsets` of a `read_committed` one stop before the first open transaction. Raises `ClusterError`
    when the cluster does not answer within `cluster.bound_seconds`.
    """
    consumer = AIOKafkaConsumer(
        **cluster.connection(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        fetch_max_wait_ms=fetch_max_wait_ms,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    try:
        with translated():
            async with asyncio.timeout(cluster.bound_seconds):
                await consumer.start()
        yield consumer
    finally:
        await close_consumer(consumer)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what aiokafka raises, and a bound that was missed, into `ClusterError`."""
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        raise ClusterError(reason(error)) from error


def reason(error: BaseException) -> str:
    """What went wrong, in one line; aiokafka's own errors mostly begin with their name."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    name, words = type(error).__name__, str(error)
    if not words:
        return name
    return words if name in words else f"{name}: {words}"


def unreachable(cluster: ClusterConfig, error: Exception) -> str:
    """The sentence for a cluster that does not answer."""
    return (
        f"Kafka at {cluster.bootstrap_servers} does not answer ({reason(error)}); "
        "check SCRIBE_KAFKA__BOOTSTRAP_SERVERS"
    )
