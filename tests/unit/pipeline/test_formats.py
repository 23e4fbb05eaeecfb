"""A fleet of two releases: what a later one wrote is refused in words, and nothing is billed twice."""

from dataclasses import replace

from service.core.journal.stamp import STAMP_HEADER, Stamp, owner_key
from service.pipeline.assignment.assigned_partition import PartitionState
from tests.fakes.writer import Kept
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import World

LATER = 3


class LaterRelease:
    """Writes the journal of partition 0 in a form that nobody here knows."""

    def __init__(self, world: World) -> None:
        self.log = world.broker.journal(0)
        self.before = list(self.log)

    def write(self, key: bytes, value: bytes | None, epoch: int = 9) -> int:
        """Append a record; returns its offset."""
        stamp = Stamp(epoch, 1, LATER).encode() + b".more"
        offset = len(self.log)
        self.log.append(Kept("transcription.journal", 0, offset, key, value, ((STAMP_HEADER, stamp),)))
        return offset

    def take_over(self) -> int:
        """Claim the partition, and write what is open and running anew; returns the first offset."""
        first = self.write(owner_key(9).encode(), b"\x01")
        for record in self.before:
            if record.key[:2] in (b"r/", b"s/"):
                self.write(record.key, b"\x02" + (record.value or b""))
        return first

    def roll_back(self) -> None:
        """What it wrote is written anew in the form known here, by a later owner, and compacted away."""
        stamp = ((STAMP_HEADER, Stamp(10, 1).encode()),)
        kept = [replace(each, headers=stamp) for each in self.before if not each.key.startswith(b"~owner")]
        self.log[:] = [replace(each, offset=offset) for offset, each in enumerate(kept)]


async def running(world: World) -> None:
    """A job in each of two partitions, whose tasks run; then their owner is gone."""
    left = [world.shard(partition=partition) for partition in (0, 1)]
    for shard in left:
        await world.take(shard, f"r{shard.partition}")
    assert len(world.provider.submits) == 2
    for shard in left:
        shard.close()
    world.shards.clear()


async def test_an_older_release_holds_that_partition_alone_and_goes_on_when_it_can_read_it(
    world: World,
) -> None:
    await running(world)
    later = LaterRelease(world)
    offset = later.take_over()
    world.run()
    member = Member(world)
    world.shards += await member.own(0, 1)
    assert (member.state(0), member.state(1)) == (PartitionState.REFUSED, PartitionState.READY)
    detail = member.assignment.partitions[0].detail
    assert f"transcription.journal, partition 0, offset {offset}" in detail
    assert "its format is 3, and this version of Scribe reads 2" in detail
    written = len(later.log)
    await world.clock.sleep(600)
    assert world.seen.ends() == {"r1/0/0": "result"}
    assert (len(later.log), member.state(0)) == (written, PartitionState.REFUSED)
    later.roll_back()
    await world.clock.sleep(60)
    world.shards.append(member.shard(0))
    await world.clock.sleep(600)
    assert sorted(world.seen.ends()) == ["r0/0/0", "r1/0/0"]
    assert set(world.seen.ends().values()) == {"result"}
    assert len(world.provider.submits) == 2, "nothing is billed twice"
