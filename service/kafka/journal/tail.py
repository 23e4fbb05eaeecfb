"""The tail of the journal: one consumer per process that reads its own shards' partitions back.

It is the fence of a POST in both modes, and of outcomes in `at_least_once`: the owner waits until the tail
has read past its record, and goes on only if no higher claim came first. It also detects foreign writes
behind a claim.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from service.clock import Clock
from service.core.job.identity import read_key
from service.core.journal.stamp import CURSOR_PREFIX, SPEND_PREFIX, STAMP_HEADER, epoch_of
from service.errors import ClusterError, UnreadableRecord
from service.kafka.client.clients import ConsumerRecord, KafkaConsumer, TopicPartition
from service.kafka.client.error_translation import translated
from service.kafka.client.reader import ReconnectingReader

POLL_MS = 500
"""A poll returns as soon as there are records; without any the loop turns this often."""
ONE_MS = 50
"""Poll timeout of a single partition, used while some partition's records cannot be read."""
RECORDS_PER_POLL = 500
"""Of these only stamp and key are read, in one turn of the event loop."""
RETRY_SECONDS = 1.0
"""The wait after an error of the client, which has retried by itself."""
IDLE_SECONDS = 0.05
"""How soon a first shard is followed: its first intent waits for the tail."""


@dataclass(slots=True)
class Followed:
    """One shard's partition in the tail.

    The first `position` is the offset of its claim.
    """

    epoch: int
    position: int
    on_fenced: Callable[[], None]
    on_foreign_write: Callable[[str], None]
    """Called with a key of ours that an owner of a lower epoch wrote behind our claim."""
    fenced: bool = False
    since: int = field(init=False)
    waiting: list[tuple[int, "asyncio.Future[None]"]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.since = self.position

    def fence(self) -> None:
        """Another member has the shard: call `on_fenced` once."""
        if not self.fenced:
            self.fenced = True
            self.on_fenced()

    def wake(self) -> None:
        """Wake waiters whose offset has been read, or all if the shard is fenced."""
        reached = [future for offset, future in self.waiting if self._is_reached(offset)]
        self.waiting = [(offset, future) for offset, future in self.waiting if not self._is_reached(offset)]
        for future in reached:
            if not future.done():
                future.set_result(None)

    def _is_reached(self, offset: int) -> bool:
        return self.fenced or self.position > offset


class Tail:
    """Follows the journal partitions of the shards this process owns."""

    def __init__(self, reader: ReconnectingReader, topic: str, clock: Clock) -> None:
        self._reader = reader
        self._topic = topic
        self._clock = clock
        self._followed: dict[int, Followed] = {}
        self._consumer: KafkaConsumer | None = None
        """The consumer that has the current assignment; None if the next turn must assign."""

    def follow(self, partition: int, followed: Followed) -> None:
        """Read the partition from `followed.position` on."""
        self._followed[partition] = followed
        self._reassign()

    def unfollow(self, partition: int) -> None:
        """Stop reading the partition; pending calls of `proves` for it return False."""
        followed = self._followed.pop(partition, None)
        if followed is not None:
            followed.fenced = True
            followed.wake()
            self._reassign()

    async def proves(self, partition: int, offset: int) -> bool:
        """Wait until the tail has read past `offset`; False if a higher claim comes first.

        It has no timeout: the caller knows how long its intent is valid.
        """
        followed = self._followed.get(partition)
        if followed is None:
            return False
        if 0 <= offset < followed.since:
            # The offset lies before our claim: that happens only if the journal was recreated.
            followed.fence()
        if not followed.fenced and followed.position <= offset:
            arrived = asyncio.get_running_loop().create_future()
            followed.waiting.append((offset, arrived))
            await arrived
        return not followed.fenced

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Read until cancelled; while the cluster is unreachable, retry."""
        while True:
            on_tick()
            if not self._followed:
                await self._clock.sleep(IDLE_SECONDS)
                continue
            try:
                consumer = await self._reader.consumer()
                if consumer is not self._consumer:
                    self._assign(consumer)
                await self._poll(consumer)
            except ClusterError:
                # The failed poll dropped records of other partitions, perhaps a claim: read them again.
                self._consumer = None
                await self._clock.sleep(RETRY_SECONDS)

    async def _poll(self, consumer: KafkaConsumer) -> None:
        try:
            with translated():
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL)
        except UnreadableRecord:
            self._assign(consumer)
            await self._poll_one_by_one(consumer)
            return
        for partition, records in batches.items():
            self._take(partition.partition, records)

    async def _poll_one_by_one(self, consumer: KafkaConsumer) -> None:
        """Skip a record whose header name is not UTF-8, which aiokafka cannot read.

        Claims and entries never have such a header, so no fence is missed.
        """
        for partition in list(self._followed):
            topic_partition = TopicPartition(self._topic, partition)
            try:
                with translated():
                    batches = await consumer.getmany(topic_partition, timeout_ms=ONE_MS, max_records=1)
            except UnreadableRecord:
                self._skip_one(partition)
                continue
            except ClusterError:
                self._assign(consumer)
                continue
            self._take(partition, batches.get(topic_partition, []))

    def _skip_one(self, partition: int) -> None:
        followed = self._followed.get(partition)
        if followed is not None:
            followed.position += 1
            followed.wake()
            self._reassign()

    def _reassign(self) -> None:
        """Assign the followed partitions now; if that fails, in the next turn."""
        try:
            if self._consumer is not None:
                self._assign(self._consumer)
        except ClusterError:
            self._consumer = None

    def _assign(self, consumer: KafkaConsumer) -> None:
        """Assign and seek: aiokafka forgets all positions when the assignment changes."""
        with translated():
            if self._followed:
                consumer.assign([TopicPartition(self._topic, partition) for partition in self._followed])
            else:
                # If unsubscribed, aiokafka would request the metadata of all topics of the cluster.
                consumer.pause(*consumer.assignment())
            for partition, followed in self._followed.items():
                consumer.seek(TopicPartition(self._topic, partition), followed.position)
        self._consumer = consumer

    def _take(self, partition: int, records: list[ConsumerRecord]) -> None:
        followed = self._followed.get(partition)
        if followed is None:
            return
        for record in records:
            if record.offset >= followed.position:
                followed.position = record.offset + 1
                _check_epoch(followed, record)
        followed.wake()


def stamp_of(record: ConsumerRecord) -> bytes | None:
    """The stamp of a journal record, if it has one."""
    return next((value for name, value in record.headers if name == STAMP_HEADER), None)


def _check_epoch(followed: Followed, record: ConsumerRecord) -> None:
    """Check one record's epoch.

    Foreign records are left for the next restore, which rejects them.

    A claim counts in every format: the epoch comes first in a stamp.
    """
    try:
        epoch = epoch_of(stamp_of(record) or b"")
    except ValueError:
        return
    if epoch > followed.epoch:
        followed.fence()
    elif epoch < followed.epoch and (key := _key_of_ours(record)) is not None:
        # Compaction keeps a key's last record, whoever wrote it.
        followed.on_foreign_write(key)


def _key_of_ours(record: ConsumerRecord) -> str | None:
    key = (record.key or b"").decode(errors="replace")
    if key.startswith((CURSOR_PREFIX, SPEND_PREFIX)):
        return key
    try:
        return str(read_key(key))
    except ValueError:
        return None
