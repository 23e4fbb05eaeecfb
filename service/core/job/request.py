"""An accepted request, written once, and the short form that remains when its last job has ended.

All times are trusted time in milliseconds since the epoch.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue

from service.contract.output_formats import OutputFormat
from service.core.job.identity import JobKey, JobRef, Origin, Position, RequestKey
from service.dataclasses import dataclass

NO_OPTIONS: Mapping[str, JsonValue] = {}
"""Shared by all requests without options: there may be a hundred thousand of them."""


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A file to transcribe, and its index among the files of the request."""

    index: int
    url: str


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """An open request; its jobs share it.

    `files` are those to transcribe, in order; `file_count` counts all files that the record names.
    `options` are validated and in the contract's form. `headers` are those that outcomes repeat, decoded as
    latin-1 so that any byte fits. `digest` covers what makes a repeat the same work: model, options, URLs
    without their queries, formats and `file_indexes`.
    """

    origin: Origin
    topic: str
    partition: int
    timestamp_ms: int | None
    """The record's timestamp in Kafka; None if that is missing or unusable."""
    request_id: str
    replay: int
    digest: str
    model: str
    files: tuple[RequestFile, ...]
    file_count: int
    deadline_ms: int
    accepted_ms: int
    options: Mapping[str, JsonValue]
    metadata: Mapping[str, JsonValue] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    formats: tuple[OutputFormat, ...] = ()
    has_fixed_deadline: bool = False
    """Whether the record names the deadline as a time: a repeat then has the same deadline."""
    duplicates_detected: bool = True

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
