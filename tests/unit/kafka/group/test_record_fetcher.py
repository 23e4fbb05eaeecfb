"""The record fetcher where the group refuses us: otherwise nothing would report it."""

import pytest
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
