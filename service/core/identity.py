"""What names things: a request and its jobs, a submission, and a record in Kafka.

Users know a job by its `JobKey`; the journal knows it by where its request's record lies, because an id may
be used again and a place may not.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Origin(NamedTuple):
    """Where a request's record lies in its partition: the identity of the request, and its journal key.

    `generation` counts how often the request topic was started over.
    """

    generation: int
    offset: int

    def __str__(self) -> str:
        return f"r/{self.generation}.{self.offset}"


class JobRef(NamedTuple):
    """The identity of a job inside its shard, and its journal key."""

    origin: Origin
    file_index: int

    def __str__(self) -> str:
        return f"j/{self.origin.generation}.{self.origin.offset}/{self.file_index}"


class SubmissionKey(NamedTuple):
    """The identity of a submission inside its shard, and its journal key: later ones are greater."""

    epoch: int
    number: int

    def __str__(self) -> str:
        return f"s/{self.epoch}.{self.number}"


MOST = 2**53
"""Numbers of a key are smaller."""
RecordKey = Origin | JobRef | SubmissionKey


def read_key(text: str) -> RecordKey:
    """The identity that a journal key spells; raises `ValueError` for one that spells none."""
    kind, _, rest = text.partition("/")
    pair, _, index = rest.partition("/")
    first, _, second = pair.partition(".")
    numbers = (int(first), int(second))
    key: RecordKey
    match kind:
        case "r":
            key = Origin(*numbers)
        case "j":
            key = JobRef(Origin(*numbers), int(index))
        case "s":
            key = SubmissionKey(*numbers)
        case _:
            raise ValueError("no journal key of ours")
    if str(key) != text or not all(0 <= number < MOST for number in numbers):
        raise ValueError("no journal key of ours")
    return key


class RequestKey(NamedTuple):
    """How users name a request."""

    request_id: str
    replay: int


class JobKey(NamedTuple):
    """How users name a job: the `ce_id` of its outcome."""

    request_id: str
    replay: int
    file_index: int

    def __str__(self) -> str:
        return f"{self.request_id}/{self.replay}/{self.file_index}"

    @property
    def request(self) -> RequestKey:
        """The request the job belongs to."""
        return RequestKey(self.request_id, self.replay)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record lies in Kafka, and its timestamp there; None where it has none that can be used."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
