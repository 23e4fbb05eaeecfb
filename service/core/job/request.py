"""A request: what a record asked for, written once, and what is left of it when its last job has ended.

All times are trusted time in milliseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue

from service.contract.output_formats import OutputFormat
from service.core.job.identity import JobKey, JobRef, Origin, Position, RequestKey

NO_OPTIONS: Mapping[str, JsonValue] = {}
"""One for all requests without options: there may be a hundred thousand of them."""


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A file that is to be transcribed, and its place among the files of the request."""

    index: int
    url: str


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """An open request; its jobs share it.

    `files` are those that are transcribed, in order; `file_count` counts all that the record names.
    `options` are validated and in the contract's form. `headers` are the ones an outcome repeats, values in
    latin-1 so that any byte fits. `digest` covers what makes a repeat the same work: model, options, URLs
    without their queries, formats and `file_indexes`.
    """

    origin: Origin
    position: Position
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
    """Whether the deadline is a time that the record names: the same record has the same one again."""
    duplicates_detected: bool = True

    @property
    def key(self) -> RequestKey:
        """How users name it."""
        return RequestKey(self.request_id, self.replay)

    @property
    def job_count(self) -> int:
        """How many jobs it has."""
        return len(self.files)

    def ref(self, file_index: int) -> JobRef:
        """The job for one of its files."""
        return JobRef(self.origin, file_index)

    def job_key(self, file_index: int) -> JobKey:
        """How users name that job."""
        return JobKey(self.request_id, self.replay, file_index)

    def url(self, file_index: int) -> str:
        """The URL of one of its files; raises `KeyError` for a file that it does not have."""
        for file in self.files:
            if file.index == file_index:
                return file.url
        raise KeyError(file_index)


class FileEnd(NamedTuple):
    """How the job of one file ended, as it counts for the summary, the spend limit and a repeat."""

    file_index: int
    succeeded: bool
    billed_seconds: int | None = None
    cost: float = 0.0
    """By the prices in force when it ended."""


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """What is left of a request when its last job has ended: enough to know it again, nothing of its content.

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
        """How users name it."""
        return RequestKey(self.request_id, self.replay)

    @property
    def job_count(self) -> int:
        """How many jobs it had."""
        return len(self.ends)
