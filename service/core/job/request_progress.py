"""The progress of one request: its open jobs, how the others ended, and their summary."""

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType

from service.contract.outcome import RequestSummary
from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest
from service.frozen import dataclass

_NONE: Mapping[int, FileEnd] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestProgress:
    """The progress of the jobs of one open request, by file index.

    A job is `open` until its outcome is durable. Its end is in `ends` once it is decided, and the job is in
    `written` once the group with its outcome is queued. `recorded` are the jobs with a record of their own.
    """

    job_count: int
    open: tuple[int, ...]
    ends: Mapping[int, FileEnd] = field(default_factory=lambda: _NONE)
    written: frozenset[int] = frozenset()
    recorded: frozenset[int] = frozenset()
    finished: FinishedRequest | None = None
    """The request's short form, set once its last outcome is queued."""

    @staticmethod
    def begun(request: AcceptedRequest) -> "RequestProgress":
        """The progress of a request whose jobs are all open.

        Requests of one file share it.
        """
        indexes = tuple(file.index for file in request.files)
        return ONE_OPEN_FILE if indexes == ONE_OPEN_FILE.open else RequestProgress(request.job_count, indexes)

    @property
    def is_decided(self) -> bool:
        """Whether every job's ending is decided."""
        return len(self.ends) >= self.job_count

    @property
    def is_written(self) -> bool:
        """Whether every job's outcome is queued."""
        return len(self.written) >= self.job_count

    def with_end(self, end: FileEnd) -> "RequestProgress":
        """With a job's ending, decided or corrected."""
        return replace(self, ends={**self.ends, end.file_index: end})

    def without_end(self, file_index: int) -> "RequestProgress":
        """Without a job's ending, which must be decided again."""
        return replace(self, ends={index: end for index, end in self.ends.items() if index != file_index})

    def with_written(self, file_index: int) -> "RequestProgress":
        """With a job's outcome queued."""
        return replace(self, written=self.written | {file_index})

    def with_record(self, file_index: int) -> "RequestProgress":
        """With a job that has a record of its own."""
        return self if file_index in self.recorded else replace(self, recorded=self.recorded | {file_index})

    def without_open(self, file_index: int) -> "RequestProgress":
        """Without a job whose outcome is durable."""
        return replace(self, open=tuple(index for index in self.open if index != file_index))

    def all_ends(self) -> tuple[FileEnd, ...]:
        """The ends so far, in the order of the file index."""
        return tuple(self.ends[index] for index in sorted(self.ends))

    def summary(self) -> RequestSummary:
        """The sum of the ends so far."""
        ends = self.ends.values()
        succeeded = sum(end.succeeded for end in ends)
        billed = sum(end.billed_seconds or 0 for end in ends)
        return RequestSummary(succeeded=succeeded, failed=len(ends) - succeeded, billed_seconds=billed)


ONE_OPEN_FILE = RequestProgress(1, (0,))
"""The progress of a request of one file whose job is open."""
