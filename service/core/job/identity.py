"""Identities of a request, its jobs, a submission and a Kafka record.

Users know a job by its `JobKey`. The journal identifies it by the offset of its request's record, because a
request id may be used again and an offset may not.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple


class Origin(NamedTuple):
    """The offset of a request's record: the request's identity and its journal key.

    `generation` counts how often reading the request topic has started over.
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
    """The identity of a submission inside its shard, and its journal key.

    Later submissions are greater.
    """

    epoch: int
    number: int

    def __str__(self) -> str:
        return f"s/{self.epoch}.{self.number}"


NOWHERE = SubmissionKey(0, 0)
"""The key for a job that is in no submission yet."""
MOST = 2**53
"""Exclusive upper bound of the numbers in a key."""
_NUMBER = "(0|[1-9][0-9]{0,15})"
_KEY = re.compile(rf"([rsj])/{_NUMBER}\.{_NUMBER}(?:/{_NUMBER})?")
RecordKey = Origin | JobRef | SubmissionKey


def read_key(text: str) -> RecordKey:
    """Parse a journal key; raises `ValueError` for text that is none."""
    spelled = _KEY.fullmatch(text)
    if spelled is None:
        raise ValueError("no journal key of ours")
    kind, first, second = spelled[1], int(spelled[2]), int(spelled[3])
    index = None if spelled[4] is None else int(spelled[4])
    if max(first, second, index or 0) >= MOST or (index is None) == (kind == "j"):
        raise ValueError("no journal key of ours")
    if kind == "s":
        return SubmissionKey(first, second)
    origin = Origin(first, second)
    return origin if index is None else JobRef(origin, index)


class RequestKey(NamedTuple):
    """The key by which users know a request."""

    request_id: str
    replay: int

    @property
    def compact(self) -> "CompactKey":
        """The same key with less memory: the id alone for a request that is no replay, as nearly all are."""
        return self if self.replay else self.request_id


CompactKey = str | RequestKey


class JobKey(NamedTuple):
    """The key by which users know a job: the `ce_id` of its outcome."""

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
    """Where a record lies in Kafka, and its timestamp there.

    None if that is missing or unusable.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
