"""Asks a broker what aiokafka's clients do not report.

Why they cannot connect, and which permissions we have.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.api import Request, Response
from aiokafka.protocol.metadata import MetadataRequest

from service.kafka.client.error_reasons import HungUp
from service.kafka.client.lifecycle import close_connection
from service.kafka.login.tokens import NoToken

BOUND_SECONDS = 5.0
"""The longest delay before the reason for a failed start is reported."""


async def why_unreachable(connection: Mapping[str, Any]) -> BaseException | None:
    """Why the bootstrap brokers refuse us; None if none of them gives a reason.

    `connection` holds the arguments of a client. aiokafka logs the reason and raises another error.
    """
    hosts = collect_hosts(connection["bootstrap_servers"], randomize=False)
    asking = (_refusal(host, port, connection) for host, port, _ in hosts)
    found = await asyncio.gather(*asking, return_exceptions=True)
    return next((error for error in found if isinstance(error, Exception)), None)


async def ask(request: Request[Any], connection: Mapping[str, Any]) -> Response:
    """The answer of the first broker that gives one; raises aiokafka's errors."""
    error: Exception = KafkaConnectionError("no broker answers")
    for host, port, _ in collect_hosts(connection["bootstrap_servers"]):
        try:
            async with _connected(host, port, connection) as broker:
                return await broker.send(request)
        except (KafkaError, OSError) as refused:
            error = refused
    raise error


async def _refusal(host: str, port: int, connection: Mapping[str, Any]) -> BaseException | None:
    try:
        async with asyncio.timeout(BOUND_SECONDS), _connected(host, port, connection) as broker:
            await broker.send(MetadataRequest([]))
    except (ConnectionRefusedError, TimeoutError):
        return None
    except NoToken as error:
        return error
    except (KafkaConnectionError, ConnectionError) as error:
        # A peer that wants a certificate says so after the handshake, when we already read.
        return error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else HungUp(*error.args[-1:])
    except (KafkaError, OSError) as error:
        return error
    return None


@asynccontextmanager
async def _connected(
    host: str, port: int, connection: Mapping[str, Any]
) -> AsyncIterator[AIOKafkaConnection]:
    arguments = {name: value for name, value in connection.items() if name != "bootstrap_servers"}
    broker = await create_conn(host, port, **arguments)
    try:
        yield broker
    finally:
        close_connection(broker)
