"""Reads the whole journal, other members' partitions too, for what it says of tasks; it writes nothing."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.core.survey import Survey
from service.errors import RestoreError
from service.kafka.client import ClusterConfig, reader, translated
from service.kafka.reading import Span, read
from service.kafka.tail import stamp_of


@dataclass(frozen=True, slots=True)
class JournalSurveyor:
    """Access to the whole journal topic."""

    cluster: ClusterConfig
    topic: str
    watermarks: AIOKafkaConsumer
    """Sees uncommitted records too: it tells where a partition really ends."""
    fetch_max_wait_ms: int

    async def survey(self, wanted: Set[str]) -> Sequence[Survey]:
        """What each partition says of these tasks, and the submits it knows no end of.

        Raises `ClusterError` or `RestoreError` when some partition cannot be read whole.
        """
        with translated():
            numbers = await self._partitions()
        surveys = [Survey(number, wanted) for number in numbers]
        # What is not committed is no intent: nobody has posted for it.
        async with reader(self.cluster, self.fetch_max_wait_ms, "read_committed") as consumer:
            with translated():
                partitions = [TopicPartition(self.topic, number) for number in numbers]
                consumer.assign(partitions)
                consumer.pause(*partitions)
                for partition, survey in zip(partitions, surveys, strict=True):
                    await self._fold(consumer, partition, survey)
        return surveys

    async def _partitions(self) -> list[int]:
        # Asked for an offset, aiokafka learns what partitions the topic has.
        await self.watermarks.beginning_offsets([TopicPartition(self.topic, 0)])
        return sorted(self.watermarks.partitions_for_topic(self.topic) or ())

    async def _fold(self, consumer: AIOKafkaConsumer, partition: TopicPartition, survey: Survey) -> None:
        def take(record: ConsumerRecord) -> None:
            # Half a character in a key is no key of ours, and `add` says so.
            key = (record.key or b"").decode(errors="replace")
            survey.add(record.offset, key, record.value, stamp_of(record))

        begin: int = (await self.watermarks.beginning_offsets([partition]))[partition]
        end: int = (await self.watermarks.end_offsets([partition]))[partition]
        consumer.resume(partition)
        unreadable = await read(consumer, Span(partition, begin, end), take)
        consumer.pause(partition)
        if unreadable is not None:
            raise RestoreError(
                f"the journal record at partition {partition.partition}, offset {unreadable} is damaged"
            )
