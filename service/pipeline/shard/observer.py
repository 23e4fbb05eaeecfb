"""Ports for counting and logging the pipeline's work; their methods decide nothing and never raise."""

from enum import StrEnum
from typing import Protocol

from service.core.job.uncertainty import UncertainOutcome
from service.core.outcome.build import Outcome
from service.core.polling.list_trust import PageSource
from service.core.shard.admission import Admission
from service.pipeline.shard.stage_breaker import StageName


class BoundaryName(StrEnum):
    """Where a fault of our own is isolated."""

    RECORD = "record"
    """The handling of one request record."""
    JOB = "job"
    """The handling of one event of a job or submission."""
    ANSWER = "answer"
    """The reading of one answer of the provider."""


class ShardChange(StrEnum):
    """What happened to a shard in this process."""

    TAKEN = "taken"
    """It was taken over and restored."""
    RESUMED = "resumed"
    """It was suspended, was assigned again, and continues without a restore."""
    REFUSED = "refused"
    """It could not be taken over, or this process serves as many shards as it may."""
    LOST = "lost"
    """The group no longer accepts us as its owner."""
    FENCED = "fenced"
    """Another owner has it."""
    CLOSED = "closed"
    """This process no longer serves it."""


class Faults(Protocol):
    """Counts and logs our own faults."""

    def internal_error(self, boundary: BoundaryName, subject: str, error: Exception) -> None:
        """The boundary caught an error; `subject` names what was being handled."""
        ...


class Observer(Faults, Protocol):
    """Counts and logs what happens to shards, their batches and their jobs, and alerts operators."""

    def admitted(self, admission: Admission) -> None:
        """A request record was admitted."""
        ...

    def committed(self, records: int, seconds: float) -> None:
        """A batch became durable."""
        ...

    def retried(self, partition: int, reason: str) -> None:
        """A batch was not acknowledged and is sent again."""
        ...

    def fenced(self, partition: int, reason: str) -> None:
        """Another owner has the shard: its effects in this process end."""
        ...

    def published(self, outcome: Outcome) -> None:
        """An outcome and its journal record are durable."""
        ...

    def uncertain(self, uncertain_outcome: UncertainOutcome) -> None:
        """A submission became uncertain, or its uncertainty ended.

        Called once for each of its jobs.
        """
        ...

    def stage_stopped(self, stage: StageName, is_stopped: bool) -> None:
        """A stage was stopped because of our own faults, or resumed."""
        ...

    def work_restored(self, count: int) -> None:
        """The audit found `count` jobs and submissions that no stage held."""
        ...

    def shard(self, change: ShardChange, partition: int, detail: str = "") -> None:
        """The shard of the partition changed."""
        ...

    def rebalanced(self) -> None:
        """The group has made an assignment, perhaps of no partition."""
        ...

    def served(self, change: ShardChange, seconds: float) -> None:
        """A shard is served, so long after its take-over (TAKEN) or its resumption (RESUMED) began."""
        ...

    def requests_lost(self, partition: int, count: int) -> None:
        """The request topic's retention removed requests before they were read."""
        ...

    def duplicate_member(self, detail: str) -> None:
        """Another process uses our name in the group."""
        ...

    def group_lost(self, detail: str) -> None:
        """We have no client in the group, for this reason."""
        ...

    def group_regained(self) -> None:
        """We have a client in the group again."""
        ...


class HintResult(StrEnum):
    """What the query of a task says of the list's statement about it."""

    RIGHT = "right"
    """The list said that the task had ended, and it has."""
    WRONG = "wrong"
    """The task runs, or the list shows it as running long after a query showed that it has ended."""


class PageResult(StrEnum):
    """Where a page of the list came from."""

    OWN = "own"
    """Read here, in a time slot of this process."""
    SHARED = "shared"
    """Read by another replica, and used here."""
    UNUSED = "unused"
    """Read by another replica, and not used: it is late, unreadable or not trusted."""


class ListObserver(Protocol):
    """Counts and logs how the list is used; its methods decide nothing and never raise."""

    def list_swept(self, seconds: float) -> None:
        """A sweep took `seconds`; 0 means that tasks are polled by schedule alone."""
        ...

    def list_hint(self, result: HintResult) -> None:
        """A query confirmed or refuted what the list said of its task."""
        ...

    def list_distrusted(self, source: PageSource, seconds: float) -> None:
        """The list, or what others tell of it, misled too often and is not used for `seconds`."""
        ...

    def list_page(self, result: PageResult) -> None:
        """A page of the list was read here, or came from another replica."""
        ...
