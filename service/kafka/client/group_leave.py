"""Takes one member out of its group, also a static one, which aiokafka (0.14) lets only go quiet."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownMemberIdError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import close_admin, start

LEAVE_SECONDS = 2.0
"""Bound of the whole: without an answer the member is replaced when its session ends."""

NO_MEMBER = (UnknownMemberIdError.errno, 82)
"""The member is not in the group: it was thrown out, or another process has its name (FENCED_INSTANCE_ID)."""


class _LeaveGroupResponse(Response):  # type: ignore[misc] # aiokafka ships no types for it
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(
                ("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)
            ),
        ),
    )


class _LeaveGroupStruct(RequestStruct):  # type: ignore[misc] # aiokafka ships no types for it
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _LeaveGroupResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class _LeaveGroupRequest(Request[_LeaveGroupStruct]):  # type: ignore[misc] # aiokafka ships no types for it
    API_KEY = 13

    def __init__(self, group_id: str, member_id: str, instance_id: str | None) -> None:
        self._group_id = group_id
        self._member = (member_id, instance_id)

    def build(self, request_struct_class: type[_LeaveGroupStruct]) -> _LeaveGroupStruct:
        return request_struct_class(self._group_id, [self._member])


async def leave_group(cluster: ClusterConfig, group_id: str, member_id: str, instance_id: str | None) -> None:
    """Leave the group; the member's own client must be closed, or it would join again.

    `member_id` is never empty: it is what keeps a process that has taken our name in the group. The request
    has a connection of its own, since a client that waits for a join has no free one. Raises `ClusterError`.
    """
    assert member_id, "without its id, whoever has the name now would be taken out"
    admin = AIOKafkaAdminClient(**cluster.connection())
    try:
        with translated():
            async with asyncio.timeout(LEAVE_SECONDS):
                await _leave(admin, group_id, _LeaveGroupRequest(group_id, member_id, instance_id))
    finally:
        await close_admin(admin)


async def _leave(admin: AIOKafkaAdminClient, group_id: str, request: _LeaveGroupRequest) -> None:
    await start(admin.start(), LEAVE_SECONDS)
    answer = await admin._send_request(request, await admin.find_coordinator(group_id))
    for code in (answer.error_code, *(code for _, _, code in answer.members)):
        if code and code not in NO_MEMBER:
            error: type[Exception] = for_code(code)
            raise error
