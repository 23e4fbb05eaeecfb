"""Large journals are restored one after another, small ones at once."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from service.errors import RestoreError
from service.kafka.journal.journal import Journal
from service.pipeline.assignment.restore_turns import LARGE_RECORDS
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import World


@pytest.mark.parametrize(("records", "at_once"), [(LARGE_RECORDS, 3), (LARGE_RECORDS + 1, 1)])
async def test_large_journals_are_restored_one_after_another(
    world: World, records: int, at_once: int
) -> None:
    member = Member(world)
    member.journal.records = records
    gates = [member.journal.hang(partition) for partition in range(3)]
    member.assignment.assigned(range(3))
    for done, gate in enumerate(gates):
        await world.clock.sleep(0.1)
        assert len(member.journal.reading) == max(at_once, done + 1)
        gate.set()
    await world.clock.sleep(1)
    assert {shard.partition for shard in member.assignment.open_shards()} == {0, 1, 2}


async def test_a_restore_that_fails_or_is_cancelled_gives_its_turn_back(world: World) -> None:
    member = Member(world)
    member.journal.records = LARGE_RECORDS + 1
    member.journal.hang(0)
    member.journal.refusals.append(RestoreError("unreadable"))
    member.assignment.assigned([0, 1, 2])
    await world.clock.sleep(0.1)
    assert member.journal.reading == [0]
    revoking = asyncio.ensure_future(member.assignment.revoked([0]))
    await world.clock.sleep(60)
    await revoking
    assert {shard.partition for shard in member.assignment.open_shards()} == {1, 2}


async def test_a_large_restore_proves_again_after_its_turn_that_the_partition_is_ours(world: World) -> None:
    """The process may have slept while it waited, and must not fence the rightful owner."""
    member = Member(world)
    member.journal.records = LARGE_RECORDS + 1
    gate = member.journal.hang(0)
    member.assignment.assigned([0, 1])
    await world.clock.sleep(0.1)
    member.delivery.is_owner = False
    gate.set()
    await world.clock.sleep(0.1)
    assert member.journal.reading == [0]
    assert [shard.partition for shard in member.assignment.open_shards()] == [0]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_takeover_that_waits_for_its_turn_holds_no_slot(is_cancelled: bool) -> None:
    slots, turn = asyncio.Semaphore(1), asyncio.Event()
    journal = Journal.__new__(Journal)
    object.__setattr__(journal, "takeover_slots", slots)

    async def wait(_records: int) -> None:
        await turn.wait()

    async with AsyncExitStack() as slot:
        await slot.enter_async_context(slots)
        waiting = asyncio.ensure_future(journal._wait_without_slot(slot, wait, 1))
        await asyncio.sleep(0)
        assert not slots.locked()
        (waiting.cancel if is_cancelled else turn.set)()
        await asyncio.wait({waiting})
        assert slots.locked() is not is_cancelled
    # One slot, whatever happened.
    await slots.acquire()
    assert slots.locked()
