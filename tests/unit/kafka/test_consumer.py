"""What the group's consumer makes of trouble inside its client; without a broker."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition

from service.clock import SystemClock
from service.errors import ClusterError
from service.kafka.client import ClusterConfig
from service.kafka.consumer import GroupConfig, RequestConsumer
from tests.fakes.owner import FakeOwner

NOWHERE = ClusterConfig("127.0.0.1:1")
GROUP = GroupConfig("requests", "group", None, 6_000, 500)


@pytest.fixture
async def requests() -> AsyncIterator[RequestConsumer]:
    """A consumer that was never started, of an owner with a bug in it."""
    made = RequestConsumer(NOWHERE, GROUP, FakeOwner(bug=ZeroDivisionError("a bug")), SystemClock())
    yield made
    await made.stop()


async def test_a_bug_in_the_owner_ends_the_loop(requests: RequestConsumer) -> None:
    """aiokafka only logs what a listener raises: the member would own partitions and do nothing."""
    with pytest.raises(ZeroDivisionError):
        requests._on_assigned([])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await requests.run(lambda: None)


async def test_a_revocation_that_is_cancelled_is_no_bug(requests: RequestConsumer) -> None:
    owner = requests._owner
    assert isinstance(owner, FakeOwner)
    owner.may_leave.clear()
    revoking = asyncio.gather(requests._on_revoked([TopicPartition("requests", 0)]))
    await asyncio.sleep(0)
    revoking.cancel()
    await asyncio.wait({revoking})
    assert requests._bug is None


class DeadFetcher:
    """As aiokafka's after an error it did not expect."""

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._fetch_task = task


async def test_a_client_whose_task_has_ended_ends_the_loop(
    requests: RequestConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would return nothing, for ever."""
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    monkeypatch.setattr(requests._consumer, "_fetcher", DeadFetcher(task))
    with pytest.raises(ClusterError, match="has stopped working"):
        await requests.run(lambda: None)
    monkeypatch.undo()
