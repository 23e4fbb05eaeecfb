"""Asks Kafka for the members of a group, with the data that each has put into its membership."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol

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


async def members_named(
    cluster: ClusterConfig, group_id: str, instance_id: str, bound_seconds: float
) -> list[GroupMember]:
    """The group's members under this `group.instance.id`.

    Raises `ClusterError` if Kafka does not say within the bound, or says what cannot be read.
    """
    admin = AIOKafkaAdminClient(**cluster.reconnection())
    try:
        with translated():
            async with asyncio.timeout(bound_seconds):
                await admin.start()
                [answer] = await admin.describe_consumer_groups([group_id])
                members = [each for group in answer.to_object()["groups"] for each in group["members"]]
                named = [each for each in members if each["member_id"][: -UUID_LENGTH - 1] == instance_id]
                return [
                    GroupMember(each["member_id"], each["client_host"].lstrip("/"), _user_data_of(each))
                    for each in named
                ]
    finally:
        await close_admin(admin)


def _user_data_of(member: dict[str, bytes]) -> bytes:
    return ConsumerProtocol.METADATA.decode(member["member_metadata"]).user_data or b""
