"""Who counts and logs what the pipeline does: ports whose methods decide nothing and raise nothing."""

from typing import Protocol

from service.core.job.uncertainty import UncertainOutcome
from service.core.outcome.build import Outcome
from service.core.shard.admission import Admission
from service.pipeline.shard.stage_breaker import StageName


class Faults(Protocol):
    """Who counts and logs faults of our own."""

    def internal_error(self, boundary: str, subject: str, error: Exception) -> None:
        """A border (record, job or answer) kept an error inside; `subject` names whose it was."""
        ...


class Admissions(Faults, Protocol):
    """Who counts what becomes of records."""

    def admitted(self, admission: Admission) -> None:
        """A request record was taken."""
        ...


class CommitObserver(Protocol):
    """Who counts and logs what becomes of batches."""

    def committed(self, records: int, seconds: float) -> None:
        """A batch became durable."""
        ...

    def retried(self, partition: int, reason: str) -> None:
        """A batch was not acknowledged and is sent again."""
        ...

    def fenced(self, partition: int, reason: str) -> None:
        """The shard is another's: its effects end here."""
        ...


class Observer(Faults, CommitObserver, Protocol):
    """Who counts and logs what a shard does."""

    def published(self, outcome: Outcome) -> None:
        """An outcome and its journal record are durable."""
        ...

    def uncertain(self, uncertain_outcome: UncertainOutcome) -> None:
        """A submission became uncertain, or how that ended; told once for each of its jobs."""
        ...


class StageObserver(Protocol):
    """Who alerts operators of a stage that is stopped."""

    def stage_stopped(self, stage: StageName, is_stopped: bool) -> None:
        """A stage was stopped for faults of our own, or goes on."""
        ...

    def work_restored(self, count: int) -> None:
        """The audit found so many jobs and submissions that nothing would have gone on with."""
        ...
