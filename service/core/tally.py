"""How far one request has come: which of its jobs are open, how the others ended, and the sum of it."""

from dataclasses import dataclass, field, replace

from service.core.entry import Marker
from service.messages import Action, RequestSummary


@dataclass(slots=True)
class Tally:
    """How far the jobs of one request have come.

    A job is `open` until its outcome is durable, and has `ended` once its ending is decided. One that is
    neither did not become durable before a crash: its record will be read again.
    """

    digest: str
    job_count: int
    origin_offset: int | None = None
    """Where the record lies that opened it: read again after a crash, it is no repeat."""
    ended: dict[int, Marker] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    answered_ms: dict[Action, int] | None = None
    """When a repeat, or a cancel, was last told that the request has ended; most never are."""

    @property
    def is_complete(self) -> bool:
        """Whether every job's ending is decided."""
        return len(self.ended) >= self.job_count

    @property
    def is_whole(self) -> bool:
        """Whether every job is known."""
        return len(self.open | self.ended.keys()) >= self.job_count

    @property
    def has_ended(self) -> bool:
        """Whether every job's outcome is durable."""
        return self.is_complete and not self.open

    @property
    def finished_ms(self) -> int | None:
        """When the last ending so far was decided."""
        return max((marker.finished_ms for marker in self.ended.values()), default=None)

    def summary_with(self, last: Marker) -> RequestSummary | None:
        """The request's summary, if this ending completes it."""
        ended = {**self.ended, last.key.file_index: last}.values()
        if len(ended) < self.job_count:
            return None
        succeeded = sum(marker.succeeded for marker in ended)
        billed = sum(marker.billed_seconds or 0 for marker in ended)
        return RequestSummary(succeeded=succeeded, failed=len(ended) - succeeded, billed_seconds=billed)

    def copy(self) -> "Tally":
        """One that goes its own way."""
        return replace(self, ended=dict(self.ended), open=set(self.open))
