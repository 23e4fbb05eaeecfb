"""Clients that a running process makes anew: a certificate file that is being replaced ends nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.errors import ClusterError, ConfigError
from service.kafka.admin.topics import Topics
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal import tail as tail_module
from service.kafka.journal.tail import Followed, Tail
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord
from service.kafka.writing.transactional_producer import Transactions
from tests.fakes.clock import FakeClock

ROTATING = ClusterConfig("h:1", security_protocol="SSL", ca_file="/nowhere/ca.pem")
RECORD = ProducerRecord("journal", b"k", b"v")


async def lasting() -> None:
    await ReconnectingReader(ROTATING, 500, "read_committed").consumer()


async def reading() -> None:
    async with reader(ROTATING, 500):
        raise AssertionError("it has no certificates")


async def opening() -> None:
    await Transactions(ROTATING, "journal.0", Topics()).open()


async def asking() -> None:
    await Producer(ROTATING, idempotent=True).partitions("journal")


async def sending() -> None:
    [answer] = await Producer(ROTATING, idempotent=True).send([RECORD])
    assert isinstance(answer, ClusterError)
    raise answer


@pytest.mark.parametrize("call", [lasting, reading, opening, asking, sending])
async def test_certificates_that_are_gone_for_a_moment_are_waited_for(
    call: Callable[[], Awaitable[None]],
) -> None:
    with pytest.raises(ClusterError, match=r"certificates can be read from /nowhere/ca\.pem"):
        await call()


async def test_a_first_start_without_certificates_is_still_a_fault_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="no certificates can be read"):
        ROTATING.connection()


async def test_a_tail_goes_on_while_certificates_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "RETRY_SECONDS", 0.01)
    tail = Tail(ReconnectingReader(ROTATING, 500, "read_committed"), "journal", FakeClock())
    tail.follow(0, Followed(1, 0, lambda: None, lambda _: None))
    turns = asyncio.Semaphore(0)
    running = asyncio.create_task(tail.run(turns.release))
    async with asyncio.timeout(60):
        for _ in range(3):
            await turns.acquire()
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
