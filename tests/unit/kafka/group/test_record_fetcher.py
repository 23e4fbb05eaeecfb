"""The record fetcher where the group refuses us, which nothing else would report; how far it has read."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError

from service.errors import ConfigError
from service.kafka.group.record_fetcher import RecordFetcher
from tests.fakes.clock import FakeClock
from tests.fakes.owner import FakeOwner


class RefusedConsumer:
    """A consumer whose group is not ours to join: aiokafka says so once, where records are asked for."""

    async def getmany(self, **_asked: object) -> object:
        raise GroupAuthorizationFailedError("scribe")


async def test_a_group_that_may_not_be_joined_is_not_waited_for() -> None:
    fetcher = RecordFetcher(RefusedConsumer(), "requests", FakeOwner(), FakeClock())
    with pytest.raises(ConfigError, match="no permission for group scribe; grant Read on it"):
        await fetcher.poll()


class ReadingConsumer:
    """A consumer of two partitions that is past what it was last told to read."""

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("requests", 0), TopicPartition("requests", 1)}

    async def position(self, partition: TopicPartition) -> int:
        number: int = partition.partition
        return 12 + number

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert partition in self.assignment()

    def resume(self, partition: TopicPartition) -> None:
        assert partition in self.assignment()

    def pause(self, partition: TopicPartition) -> None:
        assert partition in self.assignment()


async def test_how_far_a_partition_was_read_is_known_only_while_it_delivers() -> None:
    """The client's position is past the markers of transactions, which are no requests."""
    fetcher = RecordFetcher(ReadingConsumer(), "requests", FakeOwner(), FakeClock())
    assert await fetcher.read_to(0) is None
    fetcher.deliver_from(0, 11)
    fetcher.deliver_from(2, 11)
    assert [await fetcher.read_to(each) for each in (0, 1, 2)] == [12, None, None]
    fetcher.stop_delivery(0)
    assert await fetcher.read_to(0) is None
