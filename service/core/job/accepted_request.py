"""An accepted request, written once, and the short form that remains when its last job has ended.

All times are trusted time in milliseconds since the epoch.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue

from service.contract.output_formats import OutputFormat
from service.core.job.identity import JobKey, JobRef, Origin, Position, RequestKey
from service.frozen import dataclass

NO_OPTIONS: Mapping[str, JsonValue] = {}
"""Shared by all requests without options: there may be a hundred thousand of them."""


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A file to transcribe, and its index among the files of the request."""

    index: int
    url: str


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """An open request; its jobs share it."""

    origin: Origin
    """Generation and offset of its record: its identity in the shard."""
    topic: str
    partition: int
    timestamp_ms: int | None
    """The record's timestamp in Kafka; None if that is missing or unusable."""
    request_id: str
    replay: int
    digest: str
    """Covers what makes a repeat the same work.

    Model, options, URLs without their queries, formats and `file_indexes`.
    """
    model: str
    files: tuple[RequestFile, ...]
    """The files to transcribe, in order."""
    file_count: int
    """How many files the record names, also those that `file_indexes` leaves out."""
    deadline_ms: int
    """When its open jobs end as `deadline_exceeded`."""
    accepted_ms: int
    options: Mapping[str, JsonValue]
    """Validated, in the contract's form."""
    metadata: Mapping[str, JsonValue] | None = None
    """The user's own; every outcome repeats it."""
    headers: tuple[tuple[str, str], ...] = ()
    """Those that outcomes repeat, decoded as latin-1 so that any byte fits."""
    formats: tuple[OutputFormat, ...] = ()
    """The renderings that the result holds."""
    has_fixed_deadline: bool = False
    """Whether the record names the deadline as a time: a repeat then has the same deadline."""
    duplicates_detected: bool = True
    """Whether the record's key is the request id; if not, repeats may go to other partitions."""

    @property
    def key(self) -> RequestKey:
        """The key by which users know the request."""
        return RequestKey(self.request_id, self.replay)

    @property
    def position(self) -> Position:
        """Where its record lies in Kafka."""
        return Position(self.topic, self.partition, self.origin.offset, self.timestamp_ms)

    @property
    def job_count(self) -> int:
        """Number of jobs in the request."""
        return len(self.files)

    def ref(self, file_index: int) -> JobRef:
        """The job for one of its files."""
        return JobRef(self.origin, file_index)

    def job_key(self, file_index: int) -> JobKey:
        """The key by which users know that job."""
        return JobKey(self.request_id, self.replay, file_index)

    def url(self, file_index: int) -> str:
        """The URL of one of its files; raises `KeyError` for a file that it does not have."""
        for file in self.files:
            if file.index == file_index:
                return file.url
        raise KeyError(file_index)


class FileEnd(NamedTuple):
    """How the job of one file ended: input for the summary, the spend limit and a repeat."""

    file_index: int
    succeeded: bool
    billed_seconds: int | None = None
    cost: float = 0.0
    """At the prices in force when the job ended."""


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """The short form of a request whose last job has ended: it recognises repeats and holds no content.

    `ends` are in the order of the file index.
    """

    origin: Origin
    request_id: str
    replay: int
    digest: str
    ends: tuple[FileEnd, ...]
    finished_ms: int

    @property
    def key(self) -> RequestKey:
        """The key by which users know the request."""
        return RequestKey(self.request_id, self.replay)

    @property
    def job_count(self) -> int:
        """Number of jobs in the request."""
        return len(self.ends)
