"""The connection settings that all Kafka clients share, and why a client cannot start."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Literal, TypedDict

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from service.errors import ClusterError, ConfigError
from service.frozen import dataclass
from service.kafka.client.error_reasons import Identity, sentence
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import close_consumer, start
from service.kafka.client.probe import why_unreachable
from service.kafka.login.credentials import Credentials

REQUEST_TIMEOUT_MS = 40_000
"""Bounds every request. JoinGroup takes up to the rebalance timeout (`kafka.group.consumer`)."""


class Connection(TypedDict, total=False):
    """The keyword arguments that every aiokafka client takes."""

    bootstrap_servers: str
    client_id: str
    request_timeout_ms: int
    security_protocol: str
    sasl_mechanism: str
    sasl_plain_username: str
    sasl_plain_password: str
    sasl_oauth_token_provider: AbstractTokenProvider
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
    credentials: Credentials = field(default_factory=Credentials)
    """Shared by all copies of this configuration."""
    request_timeout_ms: int = REQUEST_TIMEOUT_MS

    @property
    def bound_seconds(self) -> float:
        """Bound for a few requests in a row, the first of which may time out at a frozen broker."""
        return 1.5 * self.request_timeout_ms / 1000

    def connection(self) -> Connection:
        """The arguments for a client.

        Raises `ConfigError` if no certificates can be read; only the first call reads them.
        """
        arguments = Connection(
            bootstrap_servers=self.bootstrap_servers,
            client_id=self.client_id,
            request_timeout_ms=self.request_timeout_ms,
            security_protocol=self.security_protocol,
        )
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self.credentials.tls.context
        if not self.security_protocol.startswith("SASL"):
            return arguments
        if self.credentials.tokens is not None:
            arguments["sasl_mechanism"] = "OAUTHBEARER"
            arguments["sasl_oauth_token_provider"] = self.credentials.tokens
            return arguments
        password = self.credentials.password
        arguments["sasl_mechanism"] = self.sasl_mechanism
        arguments["sasl_plain_username"] = self.sasl_username or ""
        arguments["sasl_plain_password"] = password.get_secret_value() if password else ""
        return arguments


@asynccontextmanager
async def reader(
    cluster: ClusterConfig, fetch_max_wait_ms: int, isolation: Isolation = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, for partitions that the caller assigns.

    With `read_committed`, `end_offsets` stops before the first open transaction. Raises `ClusterError` if the
    cluster does not answer within `cluster.bound_seconds`.
    """
    consumer = AIOKafkaConsumer(
        **cluster.connection(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        fetch_max_wait_ms=fetch_max_wait_ms,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    cluster.credentials.note(consumer._client)
    try:
        with translated():
            await start(consumer.start(), cluster.bound_seconds)
        yield consumer
    finally:
        await close_consumer(consumer)


def cause_of(error: ClusterError) -> BaseException:
    """The error that aiokafka raised, or else `error` itself."""
    return error.__cause__ or error


def unreachable(cluster: ClusterConfig, error: BaseException) -> str:
    """The error message for a cluster that cannot be reached, with the setting to check."""
    cause = cause_of(error) if isinstance(error, ClusterError) else error
    shows = cluster.credentials.files.has_own
    identity = Identity(cluster.sasl_username, cluster.sasl_mechanism, shows_certificate=shows)
    return sentence(cluster.bootstrap_servers, cause, identity)


@asynccontextmanager
async def reaching(cluster: ClusterConfig) -> AsyncIterator[None]:
    """Turn an error that keeps a client from the cluster into a `ConfigError` with that message.

    aiokafka's error for a failed start gives no reason, so a broker is asked once more.
    """
    try:
        with translated():
            yield
    except ClusterError as error:
        cause = cause_of(error)
        why = await why_unreachable(cluster.connection()) if type(cause) is KafkaConnectionError else None
        raise ConfigError(unreachable(cluster, why or cause)) from cause
