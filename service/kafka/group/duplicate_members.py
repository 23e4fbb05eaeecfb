"""Duplicate members: two processes under one `group.instance.id` that oust each other forever.

The broker tells an ousted process only that it is unknown. So each process writes its start time into its
membership, and an ousted process asks the group who holds its place now. A process that is ending loses its
name once and does not take it back: a hand-over is no duplicate.
"""

import asyncio
import secrets
from collections.abc import Callable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol

from service.clock import Clock
from service.dataclasses import dataclass
from service.errors import ClusterError, ConfigError
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import close_admin

MEETINGS = 3
"""How often another process takes our place before it is a duplicate; a hand-over takes it once or twice."""
MEMORY_SECONDS = 120.0
"""Older meetings belong to another hand-over."""
ASK_SECONDS = 5.0
"""The bound of asking Kafka who is in the group; without an answer nobody is taken for a duplicate."""
UUID_LENGTH = 36
"""A static member's id is its name, a dash and a UUID, which is new at each join."""


@dataclass(frozen=True, slots=True, order=True)
class MemberStamp:
    """When a process started, by its own clock, and a token that identifies it."""

    began_ms: int
    token: str

    def encode(self) -> bytes:
        """The stamp as written in a membership."""
        return f"{self.began_ms} {self.token}".encode()

    @classmethod
    def decode(cls, data: bytes) -> "MemberStamp":
        """Decode a member's stamp; an unreadable one counts as started before us."""
        began, _, token = data.decode(errors="replace").partition(" ")
        return cls(int(began), token) if began.isascii() and began.isdecimal() else cls(0, "")


@dataclass(frozen=True, slots=True)
class NameHolder:
    """The member that holds a name in the group."""

    member_id: str
    host: str
    birth: MemberStamp


class DuplicateMembers:
    """Detects duplicates of one static member's name."""

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
        """Our stamp for the membership."""
        return self._birth.encode()

    async def meet(self) -> None:
        """Find who holds our name; called when the group no longer knows us, before we rejoin.

        Raises `ConfigError` if a process that started before us has taken it repeatedly. A process that
        started later will end; it is reported to `on_duplicate_member` once.
        """
        now = self._clock.boot_seconds()
        self._met = {who: at for who, at in self._met.items() if now - at < MEMORY_SECONDS}
        for holder in await self._holders():
            who = holder.birth, holder.member_id
            if holder.birth == self._birth or who in self._met:
                continue
            self._met[who] = now
            if sum(birth == holder.birth for birth, _ in self._met) == MEETINGS:
                self._report(holder)

    def _report(self, holder: NameHolder) -> None:
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
        """The holders of our name in the group; empty if the group cannot be asked."""
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
