"""What assigned partitions need, with the journal's port."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from service.core.limits.price import Price
from service.core.outcome.build import OutcomeRules
from service.core.shard.state import Window
from service.frozen import dataclass
from service.kafka.journal.tail import Tail
from service.kafka.journal.takeover import BeforeReading, RestoredShard
from service.kafka.writing.writer_port import Writer
from service.pipeline.accept import AcceptStage
from service.pipeline.guards.call_limiter import CallLimiter
from service.pipeline.shard.observer import Observer
from service.pipeline.shard.shard_runner import RunnerDeps
from service.pipeline.shard.spawn import Spawn


class ShardJournal(Protocol):
    """What the shards need from the journal."""

    @property
    def tail(self) -> Tail:
        """The reader of the shards' own journal partitions."""
        ...

    async def take_over(
        self, partition: int, group_offset: int | None, before_reading: BeforeReading
    ) -> RestoredShard:
        """Claim a partition and read it back; raises `RestoreError` or `ClusterError`."""
        ...

    def writer(self, partition: int, taken: RestoredShard, is_owner: Callable[[], Awaitable[bool]]) -> Writer:
        """The writer of a shard that was taken over; `is_owner` asks the group."""
        ...


@dataclass(frozen=True, slots=True)
class AssignmentDeps:
    """What serving a shard needs."""

    journal: ShardJournal
    accept: AcceptStage
    """Receives the records of served partitions."""
    runner: RunnerDeps
    """What each shard's loop needs."""
    spawn: Spawn
    """Starts a task whose fault ends the process."""
    observer: Observer
    window: Window
    """For how long, and how many, ended requests are remembered."""
    outcomes: OutcomeRules
    prices: Mapping[str, Price]
    """The operator's prices, by model."""
    files_per_task: int | None
    """Files of one request that may share a task; None: the model table's number."""
    open_jobs: int
    """Above this number of open jobs in the process, requests wait in Kafka."""
    max_shards: int
    """Shards that the process may serve; further partitions are refused."""
    limiter: CallLimiter
    """Is told which partitions are served, since their time slots are ours."""
