"""Asks Kafka for the members of a group, with the data that each has put into its membership."""

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.protocol.group import HeartbeatRequest

from service.frozen import dataclass
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import close_admin

UUID_LENGTH = 36
"""A static member's id is its name, a dash and a UUID, which is new at each join."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One member of a consumer group."""

    member_id: str
    host: str
    user_data: bytes

    def is_named(self, instance_id: str) -> bool:
        """Whether it joined under this `group.instance.id`."""
        return self.member_id[: -UUID_LENGTH - 1] == instance_id


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A consumer group as its coordinator describes it."""

    state: str
    members: tuple[GroupMember, ...]


async def members_named(
    cluster: ClusterConfig, group_id: str, instance_id: str, bound_seconds: float
) -> list[GroupMember]:
    """The group's members under this `group.instance.id`.

    Raises `ClusterError` if Kafka does not say within the bound, or says what cannot be read.
    """
    admin = AIOKafkaAdminClient(**cluster.connection())
    try:
        with translated():
            async with asyncio.timeout(bound_seconds):
                await admin.start()
                group = await described(admin, group_id)
                return [each for each in group.members if each.is_named(instance_id)]
    finally:
        await close_admin(admin)


async def described(admin: AIOKafkaAdminClient, group_id: str) -> GroupDescription:
    """The group; raises aiokafka's errors."""
    [answer] = await admin.describe_consumer_groups([group_id])
    groups = answer.to_object()["groups"]
    members = tuple(_member(each) for group in groups for each in group["members"])
    return GroupDescription(groups[0].get("state", "") if groups else "", members)


async def may_join(admin: AIOKafkaAdminClient, group_id: str) -> bool:
    """Whether our login may join the group; raises aiokafka's errors.

    A heartbeat needs the same permission as a join, and one of nobody changes nothing. aiokafka cannot read
    which operations a group allows (0.14).
    """
    coordinator = await admin.find_coordinator(group_id)
    answer = await admin._send_request(HeartbeatRequest(group_id, -1, "scribe-doctor"), coordinator)
    return bool(answer.error_code != GroupAuthorizationFailedError.errno)


def _member(member: dict[str, Any]) -> GroupMember:
    return GroupMember(member["member_id"], member["client_host"].lstrip("/"), _user_data_of(member))


def _user_data_of(member: dict[str, bytes]) -> bytes:
    metadata = member["member_metadata"]
    # A group that is about to form has members without metadata.
    return (ConsumerProtocol.METADATA.decode(metadata).user_data or b"") if metadata else b""
