"""Identities of a request, its jobs, a submission and a Kafka record.

Users know a job by its `JobKey`. The journal identifies it by the offset of its request's record, because a
request id may be used again and an offset may not.
"""

import re
from typing import NamedTuple, Self

from service.frozen import dataclass

_BITS = 53
MOST = 2**_BITS
"""Exclusive upper bound of the numbers in a key."""


class _Pair(int):
    """Two numbers in one, ordered by the first: a tuple of both takes two to three times the memory."""

    __slots__ = ()

    def __new__(cls, first: int, second: int) -> Self:
        return super().__new__(cls, first << _BITS | second)

    def __reduce__(self) -> tuple[type[Self], tuple[int, int]]:
        return type(self), (self._first, self._second)  # to be copied

    def __bool__(self) -> bool:
        return True  # also of the first record of a topic

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._first}, {self._second})"

    @property
    def _first(self) -> int:
        return self >> _BITS

    @property
    def _second(self) -> int:
        return int(self & MOST - 1)


class Origin(_Pair):
    """The offset of a request's record in its partition: the request's identity and its journal key.

    `generation` counts how often reading the request topic has started over.
    """

    __slots__ = ()

    @property
    def generation(self) -> int:
        """How often reading had started over."""
        return self._first

    @property
    def offset(self) -> int:
        """Where the record lies in its partition."""
        return self._second

    def __str__(self) -> str:
        return f"r/{self.generation}.{self.offset}"


class JobRef(NamedTuple):
    """The identity of a job inside its shard, and its journal key."""

    origin: Origin
    file_index: int

    def __str__(self) -> str:
        return f"j/{self.origin.generation}.{self.origin.offset}/{self.file_index}"


class SubmissionKey(_Pair):
    """The identity of a submission inside its shard, and its journal key; later submissions are greater."""

    __slots__ = ()

    @property
    def epoch(self) -> int:
        """The epoch of the owner that made it."""
        return self._first

    @property
    def number(self) -> int:
        """Its number within that epoch."""
        return self._second

    def __str__(self) -> str:
        return f"s/{self.epoch}.{self.number}"


NOWHERE = SubmissionKey(0, 0)
"""The key for a job that is in no submission yet."""
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
