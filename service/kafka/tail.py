"""The tail of the journal: one consumer per process that reads its own shards' partitions back.

It is the fence of `at_least_once`: before a POST the owner waits until the tail has read past its intent,
and posts only if no higher claim came first. It also meets what strangers write behind a claim.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from service.clock import Clock
from service.core.entry import OWNER_KEY, STAMP_HEADER, Stamp

RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Followed:
    """One shard's partition in the tail."""

    epoch: int
    position: int
    on_fenced: Callable[[], None]
    on_stranger: Callable[[str], None]
    fenced: bool = False
    waiting: list[tuple[int, "asyncio.Future[None]"]] = field(default_factory=list)


class Tail:
    """Follows the journal partitions of the shards this process owns."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, clock: Clock) -> None:
        self._consumer = consumer
        self._topic = topic
        self._clock = clock
        self._followed: dict[int, Followed] = {}

    def follow(self, partition: int, followed: Followed) -> None:
        """Read the partition from `followed.position` on."""
        self._followed[partition] = followed
        self._assign()

    def leave(self, partition: int) -> None:
        """Read the partition no more; whoever waits for it is told that the shard is gone."""
        followed = self._followed.pop(partition, None)
        if followed is not None:
            _release(followed, fenced=True)
            self._assign()

    async def proves(self, partition: int, offset: int) -> bool:
        """Wait until the tail has read past `offset`; False when a higher claim came first.

        Not bounded: the caller knows how long its intent is worth.
        """
        followed = self._followed.get(partition)
        if followed is None:
            return False
        if not followed.fenced and followed.position <= offset:
            arrived = asyncio.get_running_loop().create_future()
            followed.waiting.append((offset, arrived))
            await arrived
        return not followed.fenced

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Read until cancelled; a cluster that is away is waited for."""
        while True:
            on_turn()
            if not self._followed:
                await self._clock.sleep(0.05)
                continue
            try:
                batches = await self._consumer.getmany(timeout_ms=500)
            except KafkaError:
                await self._clock.sleep(RETRY_SECONDS)
                continue
            for partition, records in batches.items():
                self._take(partition.partition, records)

    def _assign(self) -> None:
        """aiokafka forgets all positions when the assignment changes, so they are set again."""
        if not self._followed:
            self._consumer.unsubscribe()
            return
        self._consumer.assign([TopicPartition(self._topic, partition) for partition in self._followed])
        for partition, followed in self._followed.items():
            self._consumer.seek(TopicPartition(self._topic, partition), followed.position)

    def _take(self, partition: int, records: list[ConsumerRecord]) -> None:
        followed = self._followed.get(partition)
        if followed is None:
            return
        for record in records:
            if record.offset >= followed.position:
                followed.position = record.offset + 1
                _meet(followed, record)
        _release(followed, fenced=followed.fenced)


def stamp_of(record: ConsumerRecord) -> bytes | None:
    """The stamp of a journal record, if it has one."""
    return next((value for name, value in record.headers if name == STAMP_HEADER), None)


def _meet(followed: Followed, record: ConsumerRecord) -> None:
    try:
        epoch = Stamp.decode(stamp_of(record) or b"").epoch
    except ValueError:
        return
    key = (record.key or b"").decode()
    if epoch > followed.epoch and key == OWNER_KEY and not followed.fenced:
        followed.fenced = True
        followed.on_fenced()
    elif epoch < followed.epoch:
        followed.on_stranger(key)


def _release(followed: Followed, *, fenced: bool) -> None:
    followed.fenced = fenced
    reached = [future for offset, future in followed.waiting if fenced or followed.position > offset]
    followed.waiting = [(o, f) for o, f in followed.waiting if not (fenced or followed.position > o)]
    for future in reached:
        if not future.done():
            future.set_result(None)
