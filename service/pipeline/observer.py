"""Who counts and logs what the pipeline does: ports whose methods decide nothing and raise nothing."""

from typing import Protocol

from service.core.admission import Admission
from service.core.moment import Doubt
from service.core.outcomes import Outcome


class Faults(Protocol):
    """Who counts and logs faults of our own."""

    def internal_error(self, border: str, subject: str, error: Exception) -> None:
        """A border (record, job or answer) kept an error inside; `subject` names whose it was."""
        ...


class Admissions(Faults, Protocol):
    """Who counts what becomes of records."""

    def admitted(self, admission: Admission) -> None:
        """A request record was taken."""
        ...


class Observer(Faults, Protocol):
    """Who counts and logs what a shard does."""

    def committed(self, moves: int, seconds: float) -> None:
        """A batch became durable."""
        ...

    def retried(self, partition: int, reason: str) -> None:
        """A batch was not acknowledged and is sent again."""
        ...

    def fenced(self, partition: int, reason: str) -> None:
        """The shard is another's: its effects end here."""
        ...

    def published(self, outcome: Outcome) -> None:
        """An outcome and its marker are durable."""
        ...

    def doubted(self, word: Doubt) -> None:
        """A job's submit became uncertain, or how that ended."""
        ...
