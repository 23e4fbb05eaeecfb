"""What names things: a job, and a record in Kafka."""

from dataclasses import dataclass
from typing import NamedTuple


class JobKey(NamedTuple):
    """The identity of a job, and the `ce_id` of its outcome."""

    request_id: str
    replay: int
    file_index: int

    def __str__(self) -> str:
        return f"{self.request_id}/{self.replay}/{self.file_index}"

    @property
    def request(self) -> tuple[str, int]:
        """The request the job belongs to: its id and replay number."""
        return (self.request_id, self.replay)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record lies in Kafka, and its timestamp there; None where it has none that can be used."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
