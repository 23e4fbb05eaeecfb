"""Questions to a cluster for an operator who looks for a fault: it creates, changes and joins nothing.

Each is bounded and needs only the permissions that the service has. A refusal is a `ConfigError` that says
what to change.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, GroupCoordinatorNotAvailableError

from service.clock import SYSTEM_CLOCK, Clock
from service.errors import ConfigError
from service.kafka.admin.topics import Extent, Topics, extents_of, misfit, topic_settings
from service.kafka.client.cluster import ClusterConfig, reaching
from service.kafka.client.error_reasons import reason
from service.kafka.client.group_members import GroupDescription, described, may_join
from service.kafka.client.lifecycle import close_admin

REQUEST_TIMEOUT_MS = 10_000
"""Timeout of one call: an operator is waiting."""
BOUND_SECONDS = 14.0
"""Bound of one question: a call to a frozen broker, and one to another."""
ASKED_AGAIN = 10
"""A broker that has just restarted may not know every topic, nor where a group is."""
AGAIN_SECONDS = 0.2


class Inspection:
    """One connection for all questions; an async context manager, which raises `ConfigError`."""

    def __init__(self, cluster: ClusterConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        self._cluster = cluster
        self._clock = clock
        self._admin = AIOKafkaAdminClient(**cluster.connection())

    async def __aenter__(self) -> Self:
        try:
            async with reaching(self._cluster), asyncio.timeout(BOUND_SECONDS):
                await self._admin.start()
        except BaseException:
            await close_admin(self._admin)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await close_admin(self._admin)

    async def extents(self, topics: Topics) -> Mapping[str, Extent]:
        """The extents of the topics that we are shown, asked again while they do not fit."""
        async with reaching(self._cluster), asyncio.timeout(BOUND_SECONDS):
            found = await extents_of(self._admin, topics)
            for _ in range(ASKED_AGAIN):
                if misfit(found, topics) is None:
                    break
                await self._clock.sleep(AGAIN_SECONDS)
                found = await extents_of(self._admin, topics)
            return found

    async def has(self, topic: str) -> bool:
        """Whether we are shown this topic."""
        async with reaching(self._cluster), asyncio.timeout(BOUND_SECONDS):
            return topic in await self._admin.list_topics()

    async def settings_of(self, topic: str) -> Mapping[str, str] | None:
        """The topic's settings; None if we lack the permission."""
        async with reaching(self._cluster), asyncio.timeout(BOUND_SECONDS):
            return await topic_settings(self._admin, topic)

    async def group(self, group_id: str) -> GroupDescription:
        """The group, whose permissions are enough to join it."""
        try:
            async with reaching(self._cluster), asyncio.timeout(BOUND_SECONDS):
                found = await self._described(group_id)
        except ConfigError as error:
            if isinstance(error.__cause__, GroupAuthorizationFailedError):
                raise _no_group(group_id) from error
            raise
        if found is None:
            raise _no_group(group_id)
        return found

    async def _described(self, group_id: str) -> GroupDescription | None:
        """The group; None if we may not join it."""
        for _ in range(ASKED_AGAIN):
            try:
                if not await may_join(self._admin, group_id):
                    return None
                break
            except GroupCoordinatorNotAvailableError:
                # The first to ask for a group makes the broker create the topic of all groups.
                await self._clock.sleep(AGAIN_SECONDS)
        return await described(self._admin, group_id)


def _no_group(group_id: str) -> ConfigError:
    return ConfigError(reason(GroupAuthorizationFailedError(group_id)))
