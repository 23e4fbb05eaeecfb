"""`python -m tests.watch.worker run`: the real service, with faults that a file turns on while it exists.

The folder is in STORM_SWITCHES. The service's code has no hook for this: parts of it are replaced.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from service.cli import commands
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.events import Fetched, FetchFailed
from service.errors import ClusterUnavailable, ConfigError
from service.kafka.client.clients import KafkaProducer
from service.kafka.group.consumer import RequestConsumer
from service.kafka.group.partition_offsets import PartitionOffsets
from service.kafka.group.record_fetcher import RecordFetcher
from service.kafka.journal.journal import Journal
from service.kafka.journal.takeover import BeforeReading, RestoredShard, at_once
from service.kafka.writing.producer_record import ProducerRecord, SendResult
from service.kafka.writing.transactional_producer import Transactions
from service.pipeline.collect import CollectStage, ResultFile

SWITCHES = "STORM_SWITCHES"
BUG, FORGET, STICK = "bug", "forget", "stick"
LATE_RESTORE, REFUSED, UNSURE = "late restore", "refused", "unsure"
LOOK_SECONDS = 0.1


def is_on(name: str) -> bool:
    """Whether the fault is turned on."""
    return Path(os.environ[SWITCHES], name).exists()


_event, _queue, _ask = CollectStage._event, CollectStage.queue, PartitionOffsets.ask
_take_over, _transact = Journal.take_over, Transactions._transact
_poll, _start = RecordFetcher.poll, RequestConsumer.start


async def faulty_event(
    self: CollectStage, file: ResultFile, request: AcceptedRequest, held: AsyncExitStack
) -> Fetched | FetchFailed | None:
    """Read a result with a fault of ours."""
    if is_on(BUG):
        raise ZeroDivisionError("a fault of ours, made for this test")
    return await _event(self, file, request, held)


def forgetful_queue(self: CollectStage, file: ResultFile, due_ms: int) -> None:
    """Lose track of results."""
    if not is_on(FORGET):
        _queue(self, file, due_ms)


async def sticking_ask(self: PartitionOffsets) -> None:
    """Stand still, without an end of its own."""
    while is_on(STICK):
        await asyncio.sleep(LOOK_SECONDS)
    await _ask(self)


async def late_take_over(
    self: Journal, partition: int, group_offset: int | None, before_reading: BeforeReading = at_once
) -> RestoredShard:
    """Read no journal yet, as if it were very large."""
    while is_on(LATE_RESTORE):
        await asyncio.sleep(LOOK_SECONDS)
    return await _take_over(self, partition, group_offset, before_reading)


async def unsure_transact(
    self: Transactions, producer: KafkaProducer, records: Sequence[ProducerRecord]
) -> list[SendResult]:
    """Write the batch, and lose the broker's word of it."""
    answers = await _transact(self, producer, records)
    if is_on(UNSURE):
        raise ClusterUnavailable("an answer is lost, for this test")
    return answers


async def refused_poll(self: RecordFetcher) -> None:
    """The group's client stops."""
    if is_on(REFUSED):
        raise ClusterUnavailable("the client has stopped, for this test")
    await _poll(self)


async def refused_start(self: RequestConsumer) -> None:
    """No other client is let in, as after the permission for the group was taken away."""
    if is_on(REFUSED):
        raise ConfigError("the group is refused, for this test")
    await _start(self)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


if __name__ == "__main__":
    _replace(CollectStage, "_event", faulty_event)
    _replace(CollectStage, "queue", forgetful_queue)
    _replace(PartitionOffsets, "ask", sticking_ask)
    _replace(Journal, "take_over", late_take_over)
    _replace(Transactions, "_transact", unsure_transact)
    _replace(RecordFetcher, "poll", refused_poll)
    _replace(RequestConsumer, "start", refused_start)
    commands.main()
