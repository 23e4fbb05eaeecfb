"""The tail: the proof that nobody else claimed a shard before our intent, and the ear for strangers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from operator import attrgetter

import pytest
from aiokafka.errors import CorruptRecordException

from service.clock import SystemClock
from service.core.journal.entries import OwnerEntry, encode_owner
from service.core.journal.stamp import STAMP_HEADER, Stamp, cursor_key, owner_key
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal import tail
from service.kafka.journal.tail import Followed, Tail
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord
from tests.brokers import TopicNames, create_topics
from tests.contract.cluster import (
    FETCH_WAIT_MS,
    BreakableEmbedded,
    breakable_embedded,
    eventually,
    producer_for,
    publish_unreadable,
)

FAR_SECONDS = 30.0
SHORT_SECONDS = 0.15
PARTITIONS = 4


class QuickClock(SystemClock):
    """A clock that waits a twentieth of the time: for the pauses between two tries."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


@dataclass
class Ear:
    """What an owner is told."""

    fenced: int = 0
    strangers: list[str] = field(default_factory=list)

    def on_fenced(self) -> None:
        self.fenced += 1


@dataclass
class World:
    """A journal of four partitions, with a tail that runs."""

    bootstrap: str
    topic: str
    producer: Producer
    reader: ReconnectingReader
    tail: Tail
    running: "asyncio.Task[None]"

    async def write(self, epoch: int, key: str = "r/0.7", partition: int = 0, value: bytes = b"{}") -> int:
        """Write as the owner with that epoch; returns the offset."""
        headers = ((STAMP_HEADER, Stamp(epoch, 1).encode()),)
        return await self._send(ProducerRecord(self.topic, key.encode(), value, partition, headers))

    async def claim(self, epoch: int, partition: int = 0) -> int:
        return await self.write(epoch, owner_key(epoch), partition, encode_owner(OwnerEntry(epoch, "m")))

    async def write_foreign(self, key: bytes, stamp: bytes | None, partition: int = 0) -> int:
        headers = () if stamp is None else ((STAMP_HEADER, stamp),)
        return await self._send(ProducerRecord(self.topic, key, b"?", partition, headers))

    async def own(self, epoch: int, partition: int = 0) -> Ear:
        """Claim and follow."""
        ear = Ear()
        offset = await self.claim(epoch, partition)
        self.tail.follow(partition, Followed(epoch, offset, ear.on_fenced, ear.strangers.append))
        return ear

    async def proves(self, offset: int, partition: int = 0) -> bool:
        async with asyncio.timeout(FAR_SECONDS):
            return await self.tail.proves(partition, offset)

    async def _send(self, record: ProducerRecord) -> int:
        [answer] = await self.producer.send([record])
        assert isinstance(answer, int), answer
        return answer


@pytest.fixture
async def world(bootstrap: str, broker_name: str, topic_names: TopicNames) -> AsyncIterator[World]:
    (topic,) = topic_names("journal")
    await create_topics(bootstrap, {topic: PARTITIONS})
    async with a_world(bootstrap, topic, producer_for(bootstrap, broker_name)) as made:
        yield made


@asynccontextmanager
async def a_world(bootstrap: str, topic: str, producer: Producer) -> AsyncIterator[World]:
    async with ReconnectingReader(ClusterConfig(bootstrap), FETCH_WAIT_MS, "read_committed") as reader:
        made = Tail(reader, topic, QuickClock())
        running = asyncio.create_task(made.run(lambda: None))
        yield World(bootstrap, topic, producer, reader, made, running)
        running.cancel()
        await asyncio.wait({running}, timeout=FAR_SECONDS)
    await producer.kill()


async def is_out(proving: "asyncio.Future[bool]") -> bool:
    """Whether it is still undecided after a moment."""
    done, _ = await asyncio.wait({proving}, timeout=SHORT_SECONDS)
    return not done


async def test_an_intent_is_proven_once_it_has_been_read_back(world: World) -> None:
    ear = await world.own(1)
    assert await world.proves(await world.write(1))
    assert (ear.fenced, ear.strangers) == (0, [])


async def test_nothing_is_proven_before_the_tail_has_read_past_it(world: World) -> None:
    await world.own(1)
    offset = await world.write(1)
    proving = asyncio.ensure_future(world.tail.proves(0, offset + 1))
    assert await is_out(proving)
    await world.write(1)
    async with asyncio.timeout(FAR_SECONDS):
        assert await proving


async def test_a_higher_claim_before_the_intent_disproves_it(world: World) -> None:
    ear = await world.own(1)
    await world.claim(2)
    assert not await world.proves(await world.write(1))
    assert ear.fenced == 1


async def test_a_higher_claim_behind_the_intent_comes_too_late_to_disprove_it(world: World) -> None:
    ear = await world.own(1)
    offset = await world.write(1)
    assert await world.proves(offset)
    await world.claim(2)
    await eventually(lambda: ear.fenced == 1)
    assert not await world.proves(offset)  # and yet: once fenced, nothing more goes out


async def test_an_entry_of_a_higher_epoch_fences_even_when_compaction_took_its_claim(world: World) -> None:
    ear = await world.own(1)
    await world.write(3)
    assert not await world.proves(await world.write(1))
    assert ear.fenced == 1


async def test_a_claim_of_the_same_epoch_that_came_later_changes_nothing(world: World) -> None:
    ear = await world.own(2)
    await world.claim(2)
    assert await world.proves(await world.write(2))
    assert ear.fenced == 0


async def test_the_tail_reports_one_fence_for_any_number_of_claims(world: World) -> None:
    ear = await world.own(1)
    for epoch in (2, 3, 4):
        await world.claim(epoch)
    assert not await world.proves(await world.write(1))
    await world.write(4)
    assert ear.fenced == 1


async def test_a_partition_that_is_not_followed_proves_nothing(world: World) -> None:
    assert not await world.proves(await world.write(1))


async def test_pending_proofs_fail_when_the_shard_is_left(world: World) -> None:
    await world.own(1)
    proving = [asyncio.ensure_future(world.tail.proves(0, offset)) for offset in (100, 200)]
    assert await is_out(proving[0])
    world.tail.unfollow(0)
    async with asyncio.timeout(FAR_SECONDS):
        assert await asyncio.gather(*proving) == [False, False]
    world.tail.unfollow(0)  # twice is no harm


async def test_one_who_gave_up_waiting_is_forgotten(world: World) -> None:
    await world.own(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT_SECONDS):
            await world.tail.proves(0, 5)
    assert await world.proves(await world.write(1))


async def test_shards_come_and_go_while_a_poll_is_out(world: World) -> None:
    """aiokafka forgets all positions when the assignment changes: none may be skipped or read twice."""
    ears = {0: await world.own(1, 0)}
    offsets = {0: await world.write(1, partition=0)}
    for partition in (1, 2, 3):
        proving = [asyncio.ensure_future(world.tail.proves(p, offset)) for p, offset in offsets.items()]
        ears[partition] = await world.own(1, partition)
        async with asyncio.timeout(FAR_SECONDS):
            assert all(await asyncio.gather(*proving))
        for p in ears:
            offsets[p] = await world.write(1, partition=p)
    await world.claim(2, 1)
    offsets[1] = await world.write(1, partition=1)
    world.tail.unfollow(3)
    assert [await world.proves(offsets[p], p) for p in range(4)] == [True, False, True, False]
    assert [ears[p].fenced for p in range(4)] == [0, 1, 0, 0]


async def test_a_shard_that_comes_back_is_followed_from_its_new_claim(world: World) -> None:
    await world.own(1)
    assert await world.proves(await world.write(1))
    world.tail.unfollow(0)
    await asyncio.sleep(SHORT_SECONDS)  # the poll that was out comes back to nothing
    await world.claim(2)
    ear = await world.own(3)
    assert await world.proves(await world.write(3))
    assert (ear.fenced, ear.strangers) == (0, [])


async def test_a_stale_owners_write_behind_the_claim_is_reported_by_its_key(world: World) -> None:
    ear = await world.own(5)
    await world.write(4, "j/0.7/1")
    await world.write(5, "s/5.1")
    await world.write(3, cursor_key(3))
    await world.claim(4)
    assert await world.proves(await world.write(5))
    assert ear.strangers == ["j/0.7/1", cursor_key(3)]
    assert ear.fenced == 0


async def test_a_claim_of_a_later_format_fences(world: World) -> None:
    ear = await world.own(2)
    await world.write_foreign(b"~owner/3", b"3.0.99")
    assert not await world.proves(await world.write(2))
    assert ear.fenced == 1


async def test_what_is_none_of_ours_stops_nothing_and_is_not_reported(world: World) -> None:
    ear = await world.own(2)
    await world.write_foreign(b"r/0.7", None)
    await world.write_foreign(b"r/0.7", b"nonsense")
    await world.write_foreign(b"r/0.7", b"-9.9.9")
    await world.write_foreign(b"\xff\xfe", Stamp(1, 1).encode())
    await world.write_foreign(b"a key of others", Stamp(1, 1).encode())
    assert await world.proves(await world.write(2))
    assert (ear.fenced, ear.strangers) == (0, [])


async def test_a_record_that_the_client_cannot_read_hides_no_claim(world: World) -> None:
    ears = [await world.own(1, 0), await world.own(1, 1)]
    await publish_unreadable(world.bootstrap, world.topic, 0)
    await publish_unreadable(world.bootstrap, world.topic, 0)
    await world.claim(2, 1)
    assert await world.proves(await world.write(1, partition=0), 0)
    assert not await world.proves(await world.write(1, partition=1), 1)
    await world.claim(2, 0)
    assert not await world.proves(await world.write(1, partition=0), 0)
    assert [ear.fenced for ear in ears] == [1, 1]


async def test_a_write_before_the_claim_it_follows_is_fenced_for_the_journal_was_made_anew(
    world: World,
) -> None:
    await world.write(1)
    ear = await world.own(2)
    assert not await world.proves(0)
    assert ear.fenced == 1


async def test_a_batch_without_a_journal_record_needs_no_reading(world: World) -> None:
    await world.own(1)
    assert await world.proves(-1)


@pytest.mark.parametrize(
    "error", [CorruptRecordException(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")]
)
async def test_a_poll_that_fails_is_repeated_from_where_the_tail_stood(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """aiokafka may raise for one partition after it has taken records of another: a claim would be missed."""
    consumer = await world.reader.consumer()
    poll = consumer.getmany
    armed, failed = asyncio.Event(), asyncio.Event()

    async def take_and_fail(*partitions: object, **options: object) -> object:
        taken = await poll(*partitions, **options)
        if taken and armed.is_set() and not failed.is_set():
            failed.set()
            raise error
        return taken

    monkeypatch.setattr(consumer, "getmany", take_and_fail)
    ear = await world.own(1)
    assert await world.proves(await world.write(1))
    armed.set()
    await world.claim(2)
    async with asyncio.timeout(FAR_SECONDS):
        await failed.wait()
    assert not await world.proves(await world.write(1))
    assert ear.fenced == 1


async def test_records_from_before_the_claim_are_not_judged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka goes back to the beginning where its position is not there any more."""
    await world.write(1)
    await world.claim(9)
    ear = await world.own(5)  # such a journal is none of ours, but the tail cannot know
    consumer = await world.reader.consumer()
    monkeypatch.setattr(consumer, "seek", lambda *_: None)
    world.tail._assign(consumer)
    assert await world.proves(await world.write(5))
    assert (ear.fenced, ear.strangers) == (0, [])


async def test_a_tail_without_shards_goes_on_turning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who watches its turns must not take it for stuck."""
    monkeypatch.setattr(tail, "POLL_MS", 50)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1

    world.running.cancel()
    running = asyncio.create_task(world.tail.run(turn))
    await world.own(1)
    assert await world.proves(await world.write(1))
    world.tail.unfollow(0)
    await asyncio.sleep(SHORT_SECONDS)  # longer than a poll
    before = turns
    await eventually(lambda: turns > before)
    running.cancel()


@pytest.mark.parametrize("name", ["_fetcher._fetch_task", "_client._sync_task"])
async def test_a_client_that_has_died_does_not_end_the_tail(world: World, name: str) -> None:
    """aiokafka's tasks end of errors that it did not expect, as while a cluster starts again."""
    ear = await world.own(1)
    dead = await world.reader.consumer()
    attrgetter(name)(dead).cancel()
    assert await world.proves(await world.write(1))
    await eventually(lambda: world.tail._consumer not in (None, dead))
    assert await world.proves(await world.write(1))
    await world.claim(2)
    assert not await world.proves(await world.write(1))
    assert (ear.fenced, world.running.done()) == (1, False)


# -- a broker that goes away ----------------------------------------------------------------------------


@pytest.fixture
def embedded() -> Iterator[BreakableEmbedded]:
    with breakable_embedded() as broker:
        yield broker


async def test_a_frozen_broker_is_waited_for(embedded: BreakableEmbedded, topic_names: TopicNames) -> None:
    (topic,) = topic_names("journal")
    await create_topics(embedded.bootstrap, {topic: PARTITIONS})
    async with a_world(embedded.bootstrap, topic, producer_for(embedded.bootstrap, "embedded")) as world:
        ear = await world.own(1)
        await world.claim(2)
        embedded.freeze()
        proving = asyncio.ensure_future(world.tail.proves(0, 1))
        await is_out(proving)
        embedded.thaw()
        async with asyncio.timeout(FAR_SECONDS):
            assert not await proving
        assert ear.fenced == 1


async def test_a_broker_that_is_started_again_is_read_on(
    embedded: BreakableEmbedded, topic_names: TopicNames
) -> None:
    (topic,) = topic_names("journal")
    await create_topics(embedded.bootstrap, {topic: PARTITIONS})
    producer = producer_for(embedded.bootstrap, "embedded", bound_seconds=2.0)
    async with a_world(embedded.bootstrap, topic, producer) as world:
        await world.own(1)
        embedded.kill()
        await asyncio.sleep(SHORT_SECONDS)
        embedded.restart()
        await create_topics(embedded.bootstrap, {topic: PARTITIONS})
        assert not world.running.done()
        world.tail.unfollow(0)
        await world.producer.kill()
        ear = await world.own(1)
        assert await world.proves(await world.write(1))
        await world.claim(2)
        assert not await world.proves(await world.write(1))
        assert ear.fenced == 1
