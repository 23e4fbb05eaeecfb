"""Duplicate members: two processes under one `group.instance.id` that oust each other for ever.

A broker tells the one whose place was taken only that it does not know it. So a process writes into its
membership when it began, and one that has lost its place asks the group who has it now. The name of a process
that has ended is taken over once, and never comes back: a hand-over is no duplicate.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol

from service.clock import Clock
from service.errors import ClusterError, ConfigError
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import close_admin

MEETINGS = 3
"""So often another process takes our place before it is a duplicate: one that ends does so once or twice."""
MEMORY_SECONDS = 120.0
"""Meetings that lie further back are those of another hand-over."""
ASK_SECONDS = 5.0
UUID_LENGTH = 36
"""A broker names a static member by its name, a dash, and one of these, which is new whenever it joins."""


@dataclass(frozen=True, slots=True, order=True)
class MemberStamp:
    """When a process began, by its own clock, and something to tell it from any other."""

    began_ms: int
    token: str

    def encode(self) -> bytes:
        """As it stands in a membership."""
        return f"{self.began_ms} {self.token}".encode()

    @classmethod
    def decode(cls, data: bytes) -> "MemberStamp":
        """Of another membership; what says nothing we understand has begun before us."""
        began, _, token = data.decode(errors="replace").partition(" ")
        return cls(int(began), token) if began.isascii() and began.isdecimal() else cls(0, "")


@dataclass(frozen=True, slots=True)
class NameHolder:
    """Who has a name in the group."""

    member_id: str
    host: str
    birth: MemberStamp


class DuplicateMembers:
    """Watches over the name of one static member."""

    def __init__(
        self,
        cluster: ClusterConfig,
        group_id: str,
        instance_id: str,
        clock: Clock,
        on_duplicate_member: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._group_id = group_id
        self._instance_id = instance_id
        self._clock = clock
        self._on_duplicate_member = on_duplicate_member
        self._birth = MemberStamp(clock.now_ms(), secrets.token_hex(8))
        self._met: dict[tuple[MemberStamp, str], float] = {}

    def stamp(self) -> bytes:
        """What our membership says: when we began."""
        return self._birth.encode()

    async def meet(self) -> None:
        """Called when the group does not know us any more, and before we join again: see who has our name.

        Raises `ConfigError` when a process that began before us has taken it again and again. One that began
        later is told to `on_duplicate_member`, once: it will end.
        """
        now = self._clock.boot_seconds()
        self._met = {who: at for who, at in self._met.items() if now - at < MEMORY_SECONDS}
        for holder in await self._holders():
            who = holder.birth, holder.member_id
            if holder.birth == self._birth or who in self._met:
                continue
            self._met[who] = now
            if sum(birth == holder.birth for birth, _ in self._met) == MEETINGS:
                self._tell(holder)

    def _tell(self, holder: NameHolder) -> None:
        which = "before" if holder.birth < self._birth else "after"
        sentence = (
            f"another process, at {holder.host} and started {which} this one, is a member of group "
            f"{self._group_id} under the same name, SCRIBE_KAFKA__GROUP_INSTANCE_ID={self._instance_id}: "
            "give each process a name of its own"
        )
        if holder.birth < self._birth:
            raise ConfigError(sentence)
        self._on_duplicate_member(sentence)

    async def _holders(self) -> list[NameHolder]:
        """Who has our name in the group; nobody where that cannot be told."""
        try:
            return await self._ask(AIOKafkaAdminClient(**self._cluster.reconnection()))
        except ClusterError:
            return []

    async def _ask(self, admin: AIOKafkaAdminClient) -> list[NameHolder]:
        try:
            with translated():
                async with asyncio.timeout(ASK_SECONDS):
                    await admin.start()
                    [answer] = await admin.describe_consumer_groups([self._group_id])
                    return [
                        NameHolder(member["member_id"], member["client_host"].lstrip("/"), _stamp_of(member))
                        for group in answer.to_object()["groups"]
                        for member in group["members"]
                        if member["member_id"][: -UUID_LENGTH - 1] == self._instance_id
                    ]
        finally:
            await close_admin(admin)


def _stamp_of(member: dict[str, bytes]) -> MemberStamp:
    return MemberStamp.decode(ConsumerProtocol.METADATA.decode(member["member_metadata"]).user_data or b"")
