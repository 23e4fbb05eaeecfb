"""Reads the whole journal, other members' partitions too, for what it says of tasks; it writes nothing."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.core.survey import Survey
from service.errors import RestoreError
from service.kafka.client import ClusterConfig, reader
from service.kafka.lasting import LastingReader
from service.kafka.reading import Span, read
from service.kafka.tail import stamp_of
from service.kafka.translation import translated


@dataclass(frozen=True, slots=True)
class JournalSurveyor:
    """Access to the whole journal topic."""

    cluster: ClusterConfig
    topic: str
    watermarks: LastingReader
    """Sees uncommitted records too: it tells where a partition really ends."""
    fetch_max_wait_ms: int

    async def survey(self, wanted: Set[str]) -> Sequence[Survey]:
        """What each partition says of these tasks, and the submits it knows no end of.

        Raises `ClusterError` or `RestoreError` when some partition cannot be read whole.
        """
        numbers = await self.watermarks.partitions_of(self.topic)
        surveys = [Survey(number, wanted) for number in numbers]
        # What is not committed is no intent: nobody has posted for it.
        async with reader(self.cluster, self.fetch_max_wait_ms, "read_committed") as consumer:
            partitions = [TopicPartition(self.topic, number) for number in numbers]
            with translated():
                consumer.assign(partitions)
                consumer.pause(*partitions)
            for partition, survey in zip(partitions, surveys, strict=True):
                await self._fold(consumer, partition, survey)
        return surveys

    async def _fold(self, consumer: AIOKafkaConsumer, partition: TopicPartition, survey: Survey) -> None:
        def take(record: ConsumerRecord) -> None:
            # Half a character in a key is no key of ours, and `add` says so.
            key = (record.key or b"").decode(errors="replace")
            survey.add(record.offset, key, record.value, stamp_of(record))

        begin = await self.watermarks.begin_offset(partition)
        end = await self.watermarks.end_offset(partition)
        with translated():
            consumer.resume(partition)
        unreadable = await read(consumer, Span(partition, begin, end), take)
        with translated():
            consumer.pause(partition)
        if unreadable is not None:
            raise RestoreError(
                f"the journal record at partition {partition.partition}, offset {unreadable} is damaged"
            )
