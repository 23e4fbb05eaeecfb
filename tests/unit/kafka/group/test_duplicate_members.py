"""Duplicate members: a process that takes our name again and again is one, and one of the two has to end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError

from service.errors import ConfigError
from service.kafka.client import group_members
from service.kafka.client.cluster import ClusterConfig
from service.kafka.group.duplicate_members import (
    COUNTED_SECONDS,
    TAKEN_BEFORE_DUPLICATE,
    DuplicateMembers,
    MemberStamp,
    NameHolder,
)
from tests.fakes.clock import BEGIN_MS, FakeClock

OLDER = MemberStamp(BEGIN_MS - 60_000, "older")
NEWER = MemberStamp(BEGIN_MS + 60_000, "newer")
UNKNOWN = MemberStamp.decode(b"")
"""Of a version that writes nothing into its membership, or of another client."""


@dataclass
class World:
    """One static member, on a group that the test plays."""

    duplicates: DuplicateMembers
    clock: FakeClock
    told: list[str] = field(default_factory=list)
    holders: list[NameHolder] = field(default_factory=list)

    async def lose(self, *stamps: MemberStamp) -> None:
        """Our place is taken by these processes, one after the other, and each time we take it back."""
        for stamp in stamps:
            await self.meet(holder(stamp))

    async def meet(self, *holders: NameHolder, seconds: float = 1.0) -> None:
        self.holders = list(holders)
        self.clock.suspend(seconds)
        await self.duplicates.check_holder()

    def ours(self) -> NameHolder:
        return holder(self.duplicates._stamp)


def holder(stamp: MemberStamp, member_id: str = "") -> NameHolder:
    return NameHolder(member_id or f"scribe-0-{uuid4()}", "10.0.0.7", stamp)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    clock, told = FakeClock(), list[str]()
    made = World(DuplicateMembers(ClusterConfig("h:1"), "g", "scribe-0", clock, told.append), clock, told)

    async def holders() -> list[NameHolder]:
        return made.holders

    monkeypatch.setattr(made.duplicates, "_holders", holders)
    return made


async def test_a_duplicate_that_began_earlier_ends_us_with_the_variable_to_change(world: World) -> None:
    await world.lose(*[OLDER] * (TAKEN_BEFORE_DUPLICATE - 1))
    with pytest.raises(ConfigError) as raised:
        await world.lose(OLDER)
    assert str(raised.value) == (
        "another process, at 10.0.0.7 and started before this one, is a member of group g under the same "
        "name, SCRIBE_KAFKA__GROUP_INSTANCE_ID=scribe-0: give each process a name of its own"
    )


async def test_a_duplicate_that_started_later_is_reported_once_and_does_not_end_us(world: World) -> None:
    await world.lose(*[NEWER] * 20)
    [sentence] = world.told
    assert "started after this one" in sentence


async def test_one_that_does_not_say_when_it_began_counts_as_earlier(world: World) -> None:
    with pytest.raises(ConfigError):
        await world.lose(*[UNKNOWN] * TAKEN_BEFORE_DUPLICATE)


async def test_exactly_one_of_two_that_began_in_the_same_millisecond_ends(world: World) -> None:
    same = [MemberStamp(world.duplicates._stamp.began_ms, token) for token in ("", "zzzz")]
    assert same[0] < world.duplicates._stamp < same[1]
    await world.lose(*[same[1]] * 9)
    with pytest.raises(ConfigError):
        await world.lose(*[same[0]] * TAKEN_BEFORE_DUPLICATE)


NO_DUPLICATES: dict[str, Sequence[MemberStamp]] = {
    "nobody": (),
    "a predecessor once": (OLDER,),
    "a predecessor that came back once": (OLDER, OLDER),
    "a successor once": (NEWER,),
    "a successor that came back once": (NEWER, NEWER),
    "one of another version once": (UNKNOWN,),
    "one of another version twice": (UNKNOWN, UNKNOWN),
    "a predecessor and a successor": (OLDER, NEWER),
    "both twice": (OLDER, NEWER, OLDER, NEWER),
    "many processes once each": tuple(MemberStamp(BEGIN_MS - n, f"p{n}") for n in range(1, 12)),
    "many processes twice each": tuple(MemberStamp(BEGIN_MS - n // 2, f"p{n // 2}") for n in range(2, 24)),
}


@pytest.mark.parametrize("stamps", NO_DUPLICATES.values(), ids=NO_DUPLICATES)
async def test_a_hand_over_is_no_duplicate(world: World, stamps: Sequence[MemberStamp]) -> None:
    await world.lose(*stamps)
    assert world.told == []


async def test_our_own_id_may_change_as_often_as_it_likes(world: World) -> None:
    """A member whose session ended, or that was late for a rebalance, gets a new one."""
    for _ in range(50):
        await world.meet(world.ours())
        await world.meet()
    assert world.told == []


async def test_one_place_taken_for_long_is_one_meeting(world: World) -> None:
    for _ in range(20):
        await world.meet(holder(OLDER, "the-same"))
    assert world.told == []


async def test_meetings_that_lie_far_apart_do_not_add_up(world: World) -> None:
    """Each is a hand-over of its own: a restart of the other's, and of ours."""
    for _ in range(20):
        await world.meet(holder(OLDER), seconds=COUNTED_SECONDS / 2)
    assert world.told == []


# -- what the group says ------------------------------------------------------------------------------------


@dataclass
class StubAdmin:
    """aiokafka's admin client, of a group with these members."""

    members: list[dict[str, object]]
    error: Exception | None = None

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def describe_consumer_groups(self, groups: list[str]) -> list["StubAdmin"]:
        assert groups == ["g"]
        return [self]

    def to_object(self) -> dict[str, object]:
        return {"groups": [{"members": self.members}]}


def member(name: str, topics: Iterable[str] = ("requests",), stamp: bytes = b"") -> dict[str, object]:
    metadata = ConsumerProtocolMemberMetadata(0, list(topics), stamp).encode()
    return {"member_id": f"{name}-{uuid4()}", "client_host": "/10.0.0.7", "member_metadata": metadata}


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> StubAdmin:
    made = StubAdmin([])

    async def close(_client: object) -> None:
        """Nothing is open."""

    monkeypatch.setattr(group_members, "AIOKafkaAdminClient", lambda **_: made)
    monkeypatch.setattr(group_members, "close_admin", close)
    return made


async def holders_in(admin: StubAdmin) -> list[NameHolder]:
    return await DuplicateMembers(
        ClusterConfig("h:1"), "g", "scribe-0", FakeClock(), lambda _: None
    )._holders()


async def test_only_members_with_our_name_are_compared(admin: StubAdmin) -> None:
    stamp = OLDER.encode()
    others = [member(name, stamp=stamp) for name in ("scribe", "scribe-00", "scribe-0-0", "scribe-1", "x")]
    admin.members = [*others, member("scribe-0", stamp=stamp)]
    [found] = await holders_in(admin)
    assert (found.host, found.stamp) == ("10.0.0.7", OLDER)


@pytest.mark.parametrize(
    "stamp", [b"", b"\xff\xfe", b"soon", b" token", b"-5 x", "٣ x".encode(), b"1e9 x"], ids=repr
)
async def test_a_membership_that_says_nothing_we_understand_is_of_an_unknown_stamp(
    admin: StubAdmin, stamp: bytes
) -> None:
    admin.members = [member("scribe-0", stamp=stamp)]
    [found] = await holders_in(admin)
    assert found.stamp == UNKNOWN


@pytest.mark.parametrize(
    "error", [KafkaConnectionError(), GroupAuthorizationFailedError("g"), AssertionError()]
)
async def test_a_group_that_cannot_be_asked_has_no_duplicates(admin: StubAdmin, error: Exception) -> None:
    admin.error = error
    assert await holders_in(admin) == []


async def test_a_membership_that_cannot_be_read_has_no_duplicates(admin: StubAdmin) -> None:
    admin.members = [{**member("scribe-0"), "member_metadata": b"\x00"}]
    assert await holders_in(admin) == []


def test_a_membership_says_when_the_process_began() -> None:
    made = DuplicateMembers(ClusterConfig("h:1"), "g", "scribe-0", FakeClock(), lambda _: None)
    assert MemberStamp.decode(made.stamp()) == made._stamp
    assert made._stamp.began_ms == BEGIN_MS
