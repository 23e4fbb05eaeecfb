"""The jobs in a replayed journal partition, as an operator may see them; it decides nothing.

Rules this module guarantees:

1. A job is in the highest-numbered submission that lists it, as in `core.shard.loading`.
2. A job whose outcome is durable is listed as long as its request is open.
"""

from collections.abc import Iterator

from service.core.job.accepted_request import AcceptedRequest, FileEnd
from service.core.job.ending import FailureEnding
from service.core.job.identity import JobKey, JobRef
from service.core.job.job import JobState
from service.core.job.submission import Submission, SubmissionState
from service.core.journal.entries import JobEntry
from service.core.journal.replay import Restore
from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One job of an open request; `submission` is None if it was never tried."""

    request: AcceptedRequest
    file_index: int
    submission: Submission | None = None
    cancelled: bool = False
    is_result: bool = False
    ending: FailureEnding | None = None
    end: FileEnd | None = None

    @property
    def key(self) -> JobKey:
        """The key by which users know the job."""
        return self.request.job_key(self.file_index)

    @property
    def state(self) -> str:
        """The job's state, or, before its ending is decided, its submission's.

        The journal does not tell fetching a result from the task before it.
        """
        if self.end is not None:
            return JobState.DONE.value
        if self.ending is not None or self.is_result:
            return JobState.FINISHING.value
        return (SubmissionState.WAITING if self.submission is None else self.submission.state).value

    @property
    def submits(self) -> int:
        """How often it was submitted."""
        return 0 if self.submission is None else self.submission.counters.submits


def listed_jobs(restored: Restore) -> Iterator[ListedJob]:
    """Each job of each open request, in the order of the topic."""
    entries = restored.jobs()
    home: dict[JobRef, Submission] = {}
    for submission in restored.submissions().values():
        home.update(dict.fromkeys(submission.jobs, submission))
    for request in restored.requests().values():
        for file in request.files:
            ref = request.ref(file.index)
            entry = entries.get(ref) or JobEntry(ref)
            yield ListedJob(
                request, file.index, home.get(ref), entry.cancelled, entry.is_result, entry.ending, entry.end
            )
