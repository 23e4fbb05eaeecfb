"""Duplicate members: two processes under one `group.instance.id` that oust each other forever.

The broker tells an ousted process only that it is unknown. So each process writes its start time into its
membership, and an ousted process asks the group who holds its place now. A process that is ending loses its
name once and does not take it back: a hand-over is no duplicate.
"""

import secrets
from collections.abc import Callable

from service.clock import Clock
from service.errors import ClusterError, ConfigError
from service.frozen import dataclass
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.group_members import members_named

TAKEN_BEFORE_DUPLICATE = 3
"""How often another process takes our name before it is a duplicate; a hand-over takes it once or twice."""
COUNTED_SECONDS = 120.0
"""What happened longer ago belongs to another hand-over."""
ASK_SECONDS = 5.0
"""The bound of asking Kafka who is in the group; without an answer nobody is taken for a duplicate."""


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
    stamp: MemberStamp


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
        self._stamp = MemberStamp(clock.now_ms(), secrets.token_hex(8))
        self._taken_by: dict[tuple[MemberStamp, str], float] = {}

    def stamp(self) -> bytes:
        """Our stamp for the membership."""
        return self._stamp.encode()

    async def check_holder(self) -> None:
        """Find who holds our name.

        Called when the group no longer knows us, before we rejoin.

        Raises `ConfigError` if a process that started before us has taken it repeatedly. A process that
        started later will end; it is reported to `on_duplicate_member` once.
        """
        now = self._clock.boot_seconds()
        self._taken_by = {who: at for who, at in self._taken_by.items() if now - at < COUNTED_SECONDS}
        for holder in await self._holders():
            who = holder.stamp, holder.member_id
            if holder.stamp == self._stamp or who in self._taken_by:
                continue
            self._taken_by[who] = now
            if sum(stamp == holder.stamp for stamp, _ in self._taken_by) == TAKEN_BEFORE_DUPLICATE:
                self._report(holder)

    def _report(self, holder: NameHolder) -> None:
        which = "before" if holder.stamp < self._stamp else "after"
        sentence = (
            f"another process, at {holder.host} and started {which} this one, is a member of group "
            f"{self._group_id} under the same name, SCRIBE_KAFKA__GROUP_INSTANCE_ID={self._instance_id}: "
            "give each process a name of its own"
        )
        if holder.stamp < self._stamp:
            raise ConfigError(sentence)
        self._on_duplicate_member(sentence)

    async def _holders(self) -> list[NameHolder]:
        """The holders of our name in the group; empty if the group cannot be asked."""
        try:
            found = await members_named(self._cluster, self._group_id, self._instance_id, ASK_SECONDS)
        except ClusterError:
            return []
        return [NameHolder(each.member_id, each.host, MemberStamp.decode(each.user_data)) for each in found]
